"""A transformers folder answers as transformers itself does, in the dataset's order of classes, or says why not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from robench import Classifier, SpecError, Task, WeightsError, ZeroShotClassifier
from robench_builtins.models.hf import HuggingFace
from robench_builtins.models.hf_dir import HfDir

NAMES = ("cat", "dog", "old bird")


def task(classes=NAMES, side=32):
    return Task(classes=classes, shape=(3, side, side), seed=0)


def vit(folder, **changes):
    """Write a tiny ViT whose answers depend on the image, and its processor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    labels = dict(enumerate(changes.pop("labels", NAMES)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ViTForImageClassification(ViTConfig(image_size=24, patch_size=8, id2label=labels, **sizes)).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=0.3)
    model.save_pretrained(folder)
    ViTImageProcessor(**{"size": {"height": 24, "width": 24}, **changes}).save_pretrained(folder)
    return model


def photos(count=6, side=32):
    """Return smooth, colourful byte images (N, 3, side, side)."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    images = [np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)) for pixels in small]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def theirs(folder, model, images):
    """Return what transformers gives for the same bytes, through PIL."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    seen = processor([Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images], return_tensors="pt")
    with torch.no_grad():
        return seen["pixel_values"], model(**seen).logits


PROCESSORS = {
    "vit": {},
    "bicubic, other statistics": {"resample": 3, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    "not normalised": {"do_normalize": False},
}


@pytest.mark.parametrize("case", PROCESSORS)
def test_logits_are_those_of_transformers_on_the_same_bytes(tmp_path, case):
    model = vit(tmp_path, **PROCESSORS[case])
    images = photos()
    pixels, logits = theirs(tmp_path, model, images)
    victim = HfDir(path=str(tmp_path)).load(task())
    ours = images.float() / 255
    # Their processor rounds to bytes after resizing: half a grey level, over the standard deviation.
    assert (victim.preprocess(ours) - pixels).abs().max() < 1.5 / 255 / 0.4
    assert (victim(ours) - logits).abs().max() < 0.05 * logits.abs().max()
    assert torch.equal(victim(ours).argmax(1), logits.argmax(1))
    assert len(set(logits.argmax(1).tolist())) > 1


def test_resize_then_crop_as_a_resnet_is_evaluated(tmp_path):
    from transformers import ConvNextImageProcessor

    model = vit(tmp_path)
    ConvNextImageProcessor(size={"shortest_edge": 24}, crop_pct=0.75).save_pretrained(tmp_path)
    pixels, _ = theirs(tmp_path, model, photos())
    seen = HfDir(path=str(tmp_path)).load(task()).preprocess(photos().float() / 255)
    assert seen.shape == pixels.shape == (6, 3, 24, 24)
    assert (seen - pixels).abs().max() < 1.5 / 255 / 0.2


def test_logits_are_put_into_the_datasets_order_where_the_names_agree(tmp_path):
    vit(tmp_path / "a")
    images = photos().float() / 255
    first = HfDir(path=str(tmp_path / "a")).load(task())(images)
    other = HfDir(path=str(tmp_path / "a")).load(task(("Old-Bird", "cat", "dog")))(images)
    assert torch.equal(other, first[:, [2, 0, 1]])
    unnamed = HfDir(path=str(tmp_path / "a")).load(task(("x", "y", "z")))(images)
    assert torch.equal(unnamed, first)


def test_gradients_reach_the_pixels(tmp_path):
    vit(tmp_path)
    victim = HfDir(path=str(tmp_path)).load(task()).requires_grad_(False)
    images = (photos().float() / 255).requires_grad_(True)
    (gradient,) = torch.autograd.grad(victim(images).square().sum(), images)
    assert (gradient.abs().amax((1, 2, 3)) > 0).all()


def test_a_clip_folder_is_used_zero_shot():
    from robench_builtins.datasets.digits import Digits
    from robench_builtins.models.tiny_clip import WEIGHTS, TinyClip

    digits = Digits()
    served = Task(classes=digits.classes(), templates=digits.templates, shape=(3, 32, 32), seed=0)
    victim = HfDir(path=str(WEIGHTS)).load(served)
    assert isinstance(victim, ZeroShotClassifier)
    images = next(digits.load("test")[:20].batches(20)).images
    assert torch.equal(victim(images), TinyClip().load(served)(images))
    assert not torch.equal(HfDir(path=str(WEIGHTS), template="{}").load(served)(images), victim(images))


def test_the_folders_content_is_in_the_fingerprint(tmp_path):
    from robench.evidence.fingerprint import of_component

    vit(tmp_path)
    before = of_component(HfDir(path=str(tmp_path)))["files"]
    stated = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**stated, "image_mean": [0.4, 0.5, 0.5]}))
    assert of_component(HfDir(path=str(tmp_path)))["files"] != before
    assert not HfDir.runs_code


def refused(folder, served=None, **parameters):
    with pytest.raises((WeightsError, SpecError)) as caught:
        HfDir(path=str(folder), **parameters).load(served or task())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_that_are_none(tmp_path):
    assert refused("") == "hf-dir needs a folder; write hf-dir:FOLDER."
    assert f"hf-dir: {tmp_path / 'gone'} is no folder; name the folder that save_pre" in refused(tmp_path / "gone")
    assert f"hf-dir: {tmp_path} holds no config.json; name the folder" in refused(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read as a transformers checkpoint (" in refused(tmp_path)


def test_another_number_of_classes(tmp_path):
    vit(tmp_path)
    said = refused(tmp_path, task(("a", "b")))
    assert f"{tmp_path} tells 3 classes apart (cat, dog, old bird, ...), but the dataset has 2; bring a model" in said


def test_another_kind_of_model(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    assert "holds a model of type 'bert', which is neither an image classifier nor CLIP; wrap it" in refused(tmp_path)


def test_a_head_that_was_never_trained_is_not_drawn_at_random(tmp_path):
    from safetensors.torch import load_file, save_file

    vit(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["classifier.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    said = refused(tmp_path)
    assert f"{tmp_path} lacks 1 of the model's tensors or has them in other shapes, such as classifier.weight; " in said


def test_a_folder_without_its_processor(tmp_path):
    vit(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    said = refused(tmp_path)
    assert f"{tmp_path} holds no image processor that can be read (" in said
    assert "processor.save_pretrained, or name the folder or id that has it with -p victim.processor, since" in said


def test_a_processor_that_lies_elsewhere(tmp_path):
    from robench.evidence.fingerprint import of_component

    whole, bare = tmp_path / "whole", tmp_path / "bare"
    vit(whole, image_mean=[0.1, 0.2, 0.3])
    shutil.copytree(whole, bare)
    (bare / "preprocessor_config.json").unlink()
    images = photos() / 255
    wanted = HfDir(path=str(whole)).load(task())(images)
    for victim in (
        HfDir(path=str(bare), processor=str(whole)),
        HuggingFace(model=str(bare), processor=str(whole)),
        HuggingFace(model="org/name", checkpoint=str(bare), processor=str(whole)),
    ):
        assert torch.equal(victim.load(task())(images), wanted)
        assert victim.files() == (bare, whole)
        assert not victim.missing()
    assert HuggingFace(model="org/name", processor=str(whole)).missing()  # the weights
    before = of_component(victim)["files"]
    stated = json.loads((whole / "preprocessor_config.json").read_text())
    (whole / "preprocessor_config.json").write_text(json.dumps({**stated, "image_mean": [0.4, 0.5, 0.5]}))
    assert of_component(victim)["files"] != before


def test_a_clips_tokenizer_and_processor_that_lie_elsewhere(tmp_path):
    from robench_builtins.datasets.digits import Digits
    from robench_builtins.models.tiny_clip import WEIGHTS, TinyClip

    for name in ("config.json", "model.safetensors"):
        shutil.copy(WEIGHTS / name, tmp_path)
    digits = Digits()
    served = Task(classes=digits.classes(), templates=digits.templates, shape=(3, 32, 32), seed=0)
    images = next(digits.load("test")[:8].batches(8)).images
    wanted = TinyClip().load(served)(images)
    assert "'" + str(tmp_path) + "' holds no tokenizer" in refused(tmp_path, served)
    for victim in (
        HfDir(path=str(tmp_path), processor=str(WEIGHTS)),
        HuggingFace(model=str(tmp_path), processor=str(WEIGHTS)),
    ):
        assert torch.equal(victim.load(served)(images), wanted)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"resample": 0},
            "'s processor resizes with PIL's filter 0, which has no differentiable counterpart here; add -p",
        ),
        (
            {"size": {"height": 24, "width": 32}},
            "'s processor resizes to 24 x 32, and robench resizes to squares; wrap",
        ),
        (
            {"do_pad": True, "pad_size": {"height": 48, "width": 48}},
            "'s ViTImageProcessor has do_pad=True, and robench does not pad; wrap",
        ),
    ],
)
def test_a_processor_that_cannot_be_expressed(tmp_path, changes, sentence):
    vit(tmp_path, **changes)
    assert sentence in refused(tmp_path)


def test_the_interpolation_can_be_chosen(tmp_path):
    vit(tmp_path, resample=0)
    victim = HfDir(path=str(tmp_path), interpolation="bicubic").load(task())
    assert isinstance(victim, Classifier)
    assert victim.preprocess.interpolation == "bicubic"


def test_code_in_the_folder_is_neither_run_nor_asked_about(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}})
    )
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "and need no code of its own." in refused(tmp_path)
    assert not (tmp_path / "ran").exists()
