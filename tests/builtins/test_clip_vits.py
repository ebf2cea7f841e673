"""The named CLIP transformers share one loader: what holds for ViT-B/32 holds for B/16 and L/14."""

from __future__ import annotations

import re

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from robench import SpecError, Task, ZeroShotClassifier
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.defenses.vpt import VPT
from robench_builtins.models.clip_vit_b16 import ClipVitB16
from robench_builtins.models.clip_vit_b32 import ClipVitB32
from robench_builtins.models.clip_vit_l14 import ClipVitL14
from robench_builtins.models.shared.tiny_clip_training import build_tokenizer

from .small_clip import small_clip

CLASSES = ("cat", "dog", "truck")
TEMPLATES = ("a photo of a {}", "a blurry photo of a {}")
TASK = Task(classes=CLASSES, templates=TEMPLATES, shape=(3, 40, 40))
KINDS = (ClipVitB16, ClipVitB32, ClipVitL14)


@pytest.fixture
def saved(tmp_path):
    """Write a tiny CLIP whose answers depend on the image, and return its model."""
    tokenizer = build_tokenizer([*CLASSES, *TEMPLATES])
    model = small_clip(tokenizer, 16)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return model


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_is_offered_in_both_roles_and_says_where_it_comes_from(kind):
    known = catalog()
    assert known.find("victim", kind.name).component is known.find("surrogate", kind.name).component is kind
    assert kind().checkpoint.startswith("openai/clip-vit-")
    assert kind().files() == ()
    assert "Radford" in kind.source
    assert kind.licence == "MIT"
    assert 0.88 < kind.reference["cifar10"] < 0.96


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_local_checkpoint_answers_as_transformers_does(tmp_path, saved, photos, kind):
    victim = kind(checkpoint=str(tmp_path)).load(TASK)
    assert isinstance(victim, ZeroShotClassifier)
    pixels = victim.preprocess(photos().float() / 255)
    with torch.no_grad():
        features = saved.get_image_features(pixels).pooler_output
        assert torch.allclose(victim.image_tower(pixels), features, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (ClipVitB16, {"patch_size": 16, "projection_dim": 512}),
        (
            ClipVitL14,
            {
                "patch_size": 14,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "projection_dim": 768,
            },
        ),
    ],
)
def test_the_full_towers_have_the_documented_numbers_of_parameters(kind, sizes):
    with torch.device("meta"):
        tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes))
    count = sum(parameter.numel() for parameter in tower.parameters())
    assert re.findall(r"([\d,]+) parameters in the image tower", kind.__doc__) == [f"{count:,}"]


def test_templates_between_bars_are_an_ensemble(tmp_path, saved):
    def features(**parameters):
        return ClipVitB16(checkpoint=str(tmp_path), **parameters).load(TASK).text_features

    first, second = (features(template=template) for template in TEMPLATES)
    mean = torch.nn.functional.normalize(first + second, dim=1)
    assert torch.equal(features(), first)
    assert torch.allclose(features(template="|".join(TEMPLATES)), mean, atol=1e-6)
    assert torch.allclose(features(ensemble=True), mean, atol=1e-6)


def test_a_thousand_prompts_go_through_in_parts(tmp_path, saved):
    names = tuple(f"cat {'dog ' * (number % 3)}truck {number}" for number in range(700))
    rows = ClipVitB16(checkpoint=str(tmp_path)).load(TASK.replace(classes=names)).text_features
    last = ClipVitB16(checkpoint=str(tmp_path)).load(TASK.replace(classes=names[-2:])).text_features
    assert rows.shape == (700, 8)
    assert torch.allclose(rows[-2:], last, atol=1e-5)


def test_positions_are_interpolated_as_transformers_does(tmp_path, saved, photos):
    victim = ClipVitB16(checkpoint=str(tmp_path), resolution=40).load(TASK)
    pixels = victim.preprocess(photos().float() / 255)
    assert pixels.shape == (3, 3, 40, 40)
    with torch.no_grad():
        features = saved.get_image_features(pixels, interpolate_pos_encoding=True).pooler_output
        assert torch.allclose(victim.image_tower(pixels), features, atol=1e-6)
    with pytest.raises(SpecError, match="resolution 42 is no multiple of the tower's patches of 8 pixels; choose one"):
        ClipVitB16(checkpoint=str(tmp_path), resolution=42).load(TASK)


@pytest.mark.parametrize("mode", ["shallow", "deep", "padding"])
def test_prompts_can_be_put_into_a_tower_of_another_side(tmp_path, saved, photos, mode):
    victim = ClipVitB16(checkpoint=str(tmp_path), resolution=40).load(TASK).requires_grad_(False)
    images = photos().float() / 255
    before = victim(images)
    defended = VPT(mode=mode, prompt_size=4).wrap(victim, TASK)
    after = defended(images)
    assert after.shape == before.shape
    assert torch.isfinite(after).all()


def test_a_local_checkpoint_of_another_side_conforms(tmp_path, saved):
    results = check_component(ClipVitL14(checkpoint=str(tmp_path), resolution=24))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert sum(result.status == "passed" for result in results) >= 10
