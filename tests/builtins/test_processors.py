"""Image processors of transformers: answers agree with the library's own pipeline on every image, or a sentence."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from robench import Task, WeightsError
from robench_builtins.models.hf_dir import HfDir
from robench_builtins.models.hf_model import HuggingFace
from robench_builtins.models.shared import pixels
from robench_builtins.models.shared.pixels import CentreCrop, Recipe, held_to, preprocessing
from robench_builtins.models.shared.processors import KNOWN

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
        "image_size": 32, "hidden_sizes": [16, 32, 48], "num_attention_heads": [1, 2, 3], "depths": [1, 1, 1],
        "key_dim": [4, 4, 4],
    },
    "MobileViT": {
        "image_size": 32, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 24, 32, 32, 64],
        "num_attention_heads": 2,
    },
    "EfficientNet": {"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
    "Perceiver": {
        "num_latents": 4, "d_latents": 16, "num_blocks": 1, "num_self_attends_per_block": 1, "image_size": 24,
        "num_self_attention_heads": 2, "num_cross_attention_heads": 1,
    },
    "PoolFormer": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1]},
    "Pvt": {"image_size": 64, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]},
    "Segformer": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1], "decoder_hidden_size": 8},
    "MobileNetV1": {"image_size": 32, "depth_multiplier": 0.25},
    "MobileNetV2": {"image_size": 32, "depth_multiplier": 0.25},
    "Bit": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "embedding_size": 8, "num_groups": 1},
    "Siglip": {"vision_config": {"image_size": 24, "patch_size": 8, **ATTENTION}, "text_config": dict(ATTENTION)},
    "CLIP": {"vision_config": {"image_size": 24, "patch_size": 8, **ATTENTION}, "text_config": dict(ATTENTION)},
}  # fmt: skip


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
            model = AutoModelForImageClassification.from_config(made)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=1.5 * parameter[0].numel() ** -0.5)
            elif "bias" in name:
                parameter.data.zero_()
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
    spread = logits.amax(0) - logits.amin(0)
    assert (answers - logits).abs().max() < 0.08 * spread.max()
    clear = logits.topk(2).values.diff().abs().flatten() > 2 * (answers - logits).abs().max()
    assert clear.float().mean() > 0.5
    assert torch.equal(answers.argmax(1)[clear], logits.argmax(1)[clear])
    assert (answers.argmax(1) == logits.argmax(1)).sum() >= 39
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
    "Perceiver": ("PerceiverImageProcessor", {"size": {"height": 24, "width": 24}, "crop_size": {"height": 28, "width": 28}}),
    "PoolFormer": ("PoolFormerImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    "Pvt": ("PvtImageProcessor", {"size": {"height": 64, "width": 64}}),
    "Segformer": ("SegformerImageProcessor", {"size": {"height": 32, "width": 32}}),
    "MobileNetV1": ("MobileNetV1ImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}),
    "MobileNetV2": ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}),
    "Bit": ("BitImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}),
    "Siglip": ("SiglipImageProcessor", {"size": {"height": 24, "width": 24}}),
    "CLIP": ("CLIPImageProcessor", {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_answers_as_its_library_does(tmp_path, kind):
    processor, fields = ARCHITECTURES[kind]
    agrees(tmp_path, save(tmp_path, kind, processor, **fields))
