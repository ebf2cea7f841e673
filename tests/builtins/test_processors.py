"""Image processors of transformers: answers agree with the library's own pipeline on every image, or a sentence."""

from __future__ import annotations

import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from robench import Task, WeightsError
from robench_builtins.models.hf import HuggingFace
from robench_builtins.models.hf_dir import HfDir
from robench_builtins.models.shared import library_pixels
from robench_builtins.models.shared.library_pixels import CentreCrop, Recipe, held_to, preprocessing
from robench_builtins.models.shared.transformers_processor import KNOWN

NAMES = ("cat", "dog", "old bird")
WIDE = {"image_mean": [0.2, 0.4, 0.6], "image_std": [0.3, 0.25, 0.2]}


def task(height=40, width=None, channels=3):
    return Task(classes=NAMES, shape=(channels, height, width or height), seed=0)


def images(height=40, width=None, channels=3, count=40):
    """Return images with structure at every scale, as bytes: coarse fields of colour under noise."""
    chance = torch.Generator().manual_seed(7)
    shape = (height, width or height)
    coarse = torch.nn.functional.interpolate(torch.rand(count, channels, 4, 4, generator=chance), shape, mode="bicubic")
    noise = 0.3 * torch.rand(count, channels, *shape, generator=chance)
    return (255 * (0.8 * coarse + noise).clamp(0, 1)).round().to(torch.uint8)


def config(kind, **changes):
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {name: place for place, name in enumerate(NAMES)}}
    return getattr(transformers, f"{kind}Config")(**SIZES[kind], **changes, **labels)


ATTENTION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES = {
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1]},
    "ViT": {"image_size": 24, "patch_size": 8, **ATTENTION},
    "DeiT": {"image_size": 24, "patch_size": 8, **ATTENTION},
    "Beit": {"image_size": 24, "patch_size": 8, **ATTENTION},
    "ConvNext": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
    "Levit": {
        "image_size": 32,
        "hidden_sizes": [16, 32, 48],
        "num_attention_heads": [1, 2, 3],
        "depths": [1, 1, 1],
        "key_dim": [4, 4, 4],
    },
    "MobileViT": {
        "image_size": 32,
        "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [8, 8, 16, 24, 32, 32, 64],
        "num_attention_heads": 2,
    },
    "EfficientNet": {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
    "Perceiver": {
        "num_latents": 4,
        "d_latents": 16,
        "num_blocks": 1,
        "num_self_attends_per_block": 1,
        "image_size": 24,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1,
    },
    "PoolFormer": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
    "Pvt": {
        "image_size": 64,
        "hidden_sizes": [8, 8, 8, 8],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 1, 1],
    },
    "Segformer": {
        "hidden_sizes": [8, 8, 8, 8],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 1, 1],
        "decoder_hidden_size": 8,
    },
    "MobileNetV1": {"image_size": 32, "depth_multiplier": 0.25},
    "MobileNetV2": {"image_size": 32, "depth_multiplier": 0.25},
    "Bit": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "embedding_size": 8, "num_groups": 1},
    "Siglip": {"vision_config": {"image_size": 24, "patch_size": 8, **ATTENTION}, "text_config": dict(ATTENTION)},
    "CLIP": {"vision_config": {"image_size": 24, "patch_size": 8, **ATTENTION}, "text_config": dict(ATTENTION)},
}


#: Scale of the drawn weights at which a network neither forgets its image nor makes noise of it.
GAINS = {"EfficientNet": 1.5}


def save(folder, kind, processor, **fields):
    """Write a tiny checkpoint whose answers depend on the image, and its processor; return its model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = config(kind)
        if kind == "CLIP":
            model = transformers.CLIPForImageClassification(made)
        elif kind == "Perceiver":
            model = transformers.PerceiverForImageClassificationLearned(made)
        else:
            made.architectures = [f"{kind}ForImageClassification"]  # two kinds of DeiT and LeViT classify
            model = AutoModelForImageClassification.from_config(made)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=GAINS.get(kind, 1.0) * parameter[0].numel() ** -0.5)
    model.eval().save_pretrained(folder)
    getattr(transformers, processor)(**fields).save_pretrained(folder)
    return model


def theirs(folder, model, given):
    """Return the pixels and logits that the library's own pipeline gives for the same bytes."""
    processor = AutoImageProcessor.from_pretrained(folder)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in given]
    seen = processor(pictures, return_tensors="pt")["pixel_values"].float()
    with torch.no_grad():
        return seen, model(pixel_values=seen).logits


def agrees(folder, model, height=40, width=None, **parameters):
    """Assert that robench's victim answers every image as the library's pipeline does."""
    given = images(height, width)
    seen, logits = theirs(folder, model, given)
    victim = HfDir(path=str(folder), **parameters).load(task(height, width))
    with torch.no_grad():
        ours, answers = victim.preprocess(given.float() / 255), victim(given.float() / 255)
    assert ours.shape == seen.shape
    assert torch.allclose(victim.network(seen), logits, atol=1e-5)
    # A bias and a scale, taken from the library's own logits, let a random network choose every class.
    clean, answers = ((each - logits.mean(0)) / logits.std(0) for each in (logits, answers))
    # It also amplifies the rounding to bytes, so an image counts if its margin is more than that.
    clear = clean.topk(2).values.diff().abs().flatten() > 2 * (answers - clean).abs().amax(1)
    assert clear.sum() >= 30
    assert torch.equal(answers.argmax(1)[clear], clean.argmax(1)[clear])
    assert len(set(clean.argmax(1).tolist())) >= 3  # every class; of PVT, which keeps a thousand, as many
    return victim


#: Each architecture with the processor that comes with it, at sizes that suit a tiny network.
ARCHITECTURES = {
    "ViT": ("ViTImageProcessor", {"size": {"height": 24, "width": 24}}),
    "DeiT": ("DeiTImageProcessor", {"size": {"height": 28, "width": 28}, "crop_size": {"height": 24, "width": 24}}),
    "Beit": ("BeitImageProcessor", {"size": {"height": 24, "width": 24}}),
    "ConvNext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}}),
    "ResNet": ("ConvNextImageProcessor", {"size": {"shortest_edge": 33}, "crop_pct": 0.9}),
    "Levit": ("LevitImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    "MobileViT": ("MobileViTImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}),
    "EfficientNet": ("EfficientNetImageProcessor", {"size": {"height": 32, "width": 32}}),
    "Perceiver": (
        "PerceiverImageProcessor",
        {"size": {"height": 24, "width": 24}, "crop_size": {"height": 28, "width": 28}},
    ),
    "PoolFormer": (
        "PoolFormerImageProcessor",
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    ),
    "Pvt": ("PvtImageProcessor", {"size": {"height": 64, "width": 64}}),
    "Segformer": ("SegformerImageProcessor", {"size": {"height": 32, "width": 32}}),
    "MobileNetV1": (
        "MobileNetV1ImageProcessor",
        {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}},
    ),
    "MobileNetV2": (
        "MobileNetV2ImageProcessor",
        {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}},
    ),
    "Bit": ("BitImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}),
    "Siglip": ("SiglipImageProcessor", {"size": {"height": 24, "width": 24}}),
    "CLIP": ("CLIPImageProcessor", {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}),
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_answers_as_its_library_does(tmp_path, kind):
    processor, fields = ARCHITECTURES[kind]
    side = 64 if kind == "Pvt" else 40  # a random PVT hears nothing but the rounding of a resized image
    agrees(tmp_path, save(tmp_path, kind, processor, **fields), side)


SQUARE = {"height": 32, "width": 32}
CROP = {"do_center_crop": True, "crop_size": SQUARE}
#: Fields of processors that were once ignored, each on a network that takes images of any side.
FIELDS = {
    "crop larger than resize pads with black": (
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 24}, "crop_size": SQUARE, **WIDE},
    ),
    "crop by an odd border": ("CLIPImageProcessor", {"size": {"shortest_edge": 35}, "crop_size": SQUARE}),
    "crop without resize": ("CLIPImageProcessor", {"do_resize": False, "crop_size": SQUARE}),
    "crop larger than the image, without resize": (
        "CLIPImageProcessor",
        {"do_resize": False, "crop_size": {"height": 64, "width": 64}, **WIDE},
    ),
    "crop to an odd padding": ("CLIPImageProcessor", {"size": {"shortest_edge": 29}, "crop_size": SQUARE}),
    "neither resize nor crop": ("CLIPImageProcessor", {"do_resize": False, "do_center_crop": False}),
    "not normalised": ("ViTImageProcessor", {"size": SQUARE, "do_normalize": False}),
    "not rescaled": (
        "ViTImageProcessor",
        {"size": SQUARE, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    ),
    "neither rescaled nor normalised": (
        "ViTImageProcessor",
        {"size": SQUARE, "do_rescale": False, "do_normalize": False},
    ),
    "rescaled to [0, 2]": ("ViTImageProcessor", {"size": SQUARE, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3}),
    "bicubic": ("ViTImageProcessor", {"size": SQUARE, "resample": 3, **WIDE}),
    "one mean for all channels": ("ViTImageProcessor", {"size": SQUARE, "image_mean": 0.4, "image_std": 0.3}),
    "one size, as a number": ("ViTImageProcessor", {"size": 32}),
    "convnext below 384 resizes, then crops": (
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": 32}, "crop_pct": 0.8},
    ),
    "convnext from 384 takes both sides": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "convnext that also crops": ("ConvNextImageProcessor", {"size": {"shortest_edge": 40}, "crop_pct": 0.8, **CROP}),
    "poolformer crop_pct": (
        "PoolFormerImageProcessor",
        {"size": {"shortest_edge": 32}, "crop_pct": 0.8, "crop_size": SQUARE},
    ),
    "poolformer of a height and a width": (
        "PoolFormerImageProcessor",
        {"size": SQUARE, "crop_pct": 0.9, "crop_size": SQUARE},
    ),
    "levit resizes to 256 / 224": ("LevitImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": SQUARE}),
    "levit of a height and a width": ("LevitImageProcessor", {"size": SQUARE, "do_center_crop": False}),
    "perceiver crops first": ("PerceiverImageProcessor", {"size": SQUARE, "crop_size": {"height": 40, "width": 40}}),
    "perceiver that does not crop": ("PerceiverImageProcessor", {"size": SQUARE, "do_center_crop": False}),
    "efficientnet with its top": ("EfficientNetImageProcessor", {"size": SQUARE, "include_top": True, **WIDE}),
    "efficientnet without its top": ("EfficientNetImageProcessor", {"size": SQUARE, "include_top": False, **WIDE}),
    "efficientnet from -1 to 1": (
        "EfficientNetImageProcessor",
        {"size": SQUARE, "rescale_offset": True, "rescale_factor": 1 / 127.5},
    ),
    "efficientnet, offset, not normalised": (
        "EfficientNetImageProcessor",
        {"size": SQUARE, "rescale_offset": True, "do_normalize": False},
    ),
    "mobilevit flips channels": ("MobileViTImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": SQUARE}),
    "mobilevit that does not flip": (
        "MobileViTImageProcessor",
        {"size": {"shortest_edge": 32}, "crop_size": SQUARE, "do_flip_channel_order": False},
    ),
    "mobilevit pads": ("MobileViTImageProcessor", {"size": {"shortest_edge": 28}, "crop_size": SQUARE}),
    "beit that crops": ("BeitImageProcessor", {"size": {"height": 36, "width": 36}, **CROP}),
    "beit that reduces the labels of masks": ("BeitImageProcessor", {"size": SQUARE, "do_reduce_labels": True}),
    "segformer never crops": ("SegformerImageProcessor", {"size": {"height": 48, "width": 48}}),
    "siglip": ("SiglipImageProcessor", {"size": SQUARE}),
    "pvt": ("PvtImageProcessor", {"size": SQUARE}),
    "blip": ("BlipImageProcessor", {"size": SQUARE}),
    "textnet resizes to a multiple": ("TextNetImageProcessor", {"size": {"shortest_edge": 33}}),
    "rgb asked for": ("ViTImageProcessor", {"size": SQUARE, "do_convert_rgb": True}),
}


@pytest.mark.parametrize("side", [57])
@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_done_as_the_library_does_it(tmp_path, field, side):
    processor, fields = FIELDS[field]
    agrees(tmp_path, save(tmp_path, "ResNet", processor, **fields), side)


OBLONG = ["bicubic", "crop by an odd border", "perceiver crops first", "levit resizes to 256 / 224"]


@pytest.mark.parametrize("shape", [(40, 56), (57, 40)])
@pytest.mark.parametrize(
    "field", ["bicubic", "crop by an odd border", "perceiver crops first", "levit resizes to 256 / 224"]
)
def test_images_that_are_not_square(tmp_path, field, shape):
    processor, fields = FIELDS[field]
    agrees(tmp_path, save(tmp_path, "ResNet", processor, **fields), *shape)


def refused(folder, served=None, **parameters):
    with pytest.raises(WeightsError) as caught:
        HfDir(path=str(folder), **parameters).load(served or task())
    assert "\n" not in str(caught.value)
    return str(caught.value)


OWN = "; wrap the model in a function of your own and write FILE.py:NAME."
#: What is refused, by class and field.
REFUSALS = {
    "class": (
        "ImageGPTImageProcessor",
        {},
        "'s ImageGPTImageProcessor, which is none of the processors that robench reads (",
    ),
    "pad": (
        "ViTImageProcessor",
        {"do_pad": True, "pad_size": SQUARE},
        "'s ViTImageProcessor has do_pad=True, and robench does not pad" + OWN,
    ),
    "oblong": (
        "ViTImageProcessor",
        {"size": {"height": 32, "width": 24}},
        "'s processor resizes to 32 x 24, and robench resizes to squares" + OWN,
    ),
    "oblong crop": (
        "CLIPImageProcessor",
        {"crop_size": {"height": 32, "width": 24}},
        "'s CLIPImageProcessor has crop_size={'height': 32, 'width': 24}, and robench crops to squares" + OWN,
    ),
    "longest edge": (
        "ViTImageProcessor",
        {"size": {"shortest_edge": 32, "longest_edge": 64}},
        "'s ViTImageProcessor has size={'longest_edge': 64, 'shortest_edge': 32}, and robench resizes to a "
        "shortest_edge or to a height and width" + OWN,
    ),
    "nearest": (
        "ViTImageProcessor",
        {"size": SQUARE, "resample": 0},
        "'s processor resizes with PIL's filter 0, which has no differentiable counterpart here; add -p "
        "victim.interpolation=bicubic (or bilinear) to use that instead.",
    ),
    "lanczos": (
        "ViTImageProcessor",
        {"size": SQUARE, "resample": 1},
        "'s processor resizes with PIL's filter 1, which has no",
    ),
    "box": (
        "ViTImageProcessor",
        {"size": SQUARE, "resample": 4},
        "'s processor resizes with PIL's filter 4, which has no",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_expressed_is_refused_by_name(tmp_path, case):
    processor, fields, sentence = REFUSALS[case]
    save(tmp_path, "ResNet", processor, **fields)
    assert sentence in refused(tmp_path).replace(" has a Image", "'s Image")


def test_a_processor_that_does_otherwise_than_it_is_read_is_refused(tmp_path, monkeypatch):
    save(tmp_path, "ResNet", "ViTImageProcessor", size=SQUARE)
    monkeypatch.setattr(
        transformers.ViTImageProcessor,
        "normalize",
        lambda self, image, mean, std, **more: (image - mean[0]) / std[0] / 2,
    )
    said = refused(tmp_path)
    assert f"{tmp_path}'s ViTImageProcessor makes other pixels than robench's reading of it: they differ by " in said
    assert " grey levels of 255 on average and " in said
    assert said.endswith(" at most (1 and 3 are rounding)" + OWN)


def test_a_processor_that_fails_on_the_datasets_images_is_told(tmp_path):
    save(tmp_path, "ResNet", "ViTImageProcessor", size=SQUARE, image_mean=[0.5, 0.5])
    assert f"{tmp_path}'s ViTImageProcessor cannot process the dataset's images, 3 x 40 x 40 (" in refused(tmp_path)


def test_a_filter_or_a_side_of_ones_own_leaves_the_rest_to_the_processor(tmp_path):
    model = save(tmp_path, "ResNet", "MobileViTImageProcessor", size={"shortest_edge": 36}, crop_size=SQUARE)
    given = images(48)
    victim = HuggingFace(model=str(tmp_path), resolution=48).load(task(48))
    with torch.no_grad():
        logits = model(pixel_values=given.flip(1).float() / 255).logits
        assert torch.allclose(victim(given.float() / 255), logits, atol=1e-5)
    agrees_filter = HfDir(path=str(tmp_path), interpolation="bicubic").load(task())
    assert agrees_filter.preprocess(images().float() / 255).shape == (40, 3, 32, 32)


def test_grey_images_are_given_as_rgb(tmp_path):
    model = save(tmp_path, "ResNet", "ViTImageProcessor", size=SQUARE, do_normalize=False)
    given = images(channels=1)
    _, logits = theirs(tmp_path, model, given.expand(-1, 3, -1, -1))
    victim = HfDir(path=str(tmp_path)).load(task(channels=1))
    with torch.no_grad():
        answers = victim(given.float() / 255)
    assert (answers - logits).abs().max() < 0.05 * logits.abs().max()


def test_gradients_reach_every_pixel_that_is_not_cropped(tmp_path):
    processor, fields = FIELDS["mobilevit pads"]
    save(tmp_path, "ResNet", processor, **fields)
    given = (images(count=2).float() / 255).requires_grad_(True)
    victim = HfDir(path=str(tmp_path)).load(task()).requires_grad_(False)
    (gradient,) = torch.autograd.grad(victim(given).square().sum(), given)
    assert (gradient != 0).float().mean() > 0.95


def test_the_tolerance_is_above_rounding_and_below_a_shift_of_one_pixel():
    recipe = Recipe((0.5,) * 3, (0.5,) * 3, 48, 40, "bicubic")
    shape = (3, 57, 57)
    ours = preprocessing(recipe, shape)

    def shifted(pictures):
        seen = torch.stack(
            [torch.as_tensor(list(picture.tobytes())).view(57, 57, 3).permute(2, 0, 1) for picture in pictures]
        )
        return ours(seen.roll(1, 3).float() / 255)

    with pytest.raises(WeightsError, match="Other makes other pixels than robench's reading of it"):
        held_to(shifted, ours, recipe, shape, "Other")


@pytest.mark.parametrize(
    ("border", "down", "top"), [(1, True, 0), (3, True, 1), (3, False, 2), (5, False, 2), (4, True, 2)]
)
def test_an_odd_border_is_halved_as_each_library_does(border, down, top):
    rows = torch.arange(8.0 + border).view(1, 1, -1, 1).expand(1, 1, -1, 8)
    assert CentreCrop(8, 8, down=down)(rows)[0, 0, 0, 0] == top


def test_every_class_of_the_allow_list_is_tried_above():
    tried = {processor for processor, _ in [*ARCHITECTURES.values(), *FIELDS.values()]}
    assert tried == set(KNOWN)
    assert library_pixels.MEAN_LEVELS <= 1.0
