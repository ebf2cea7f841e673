"""CLIP ViT-B/32 against transformers itself, on random weights of the true architecture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, CLIPConfig, CLIPModel

from robench import Preprocess, Task, WeightsError, ZeroShotClassifier, input_gradient
from robench_builtins.models.clip_vit_b32 import ClipVitB32
from robench_builtins.models.shared.tiny_clip_training import build_tokenizer
from robench_builtins.models.shared.transformers_clip import CLIP_MEAN, CLIP_STD, ClipImageTower, zero_shot

CLASSES = ("cat", "dog", "truck")
TEMPLATES = ("a photo of a {}", "a blurry photo of a {}")
TASK = Task(classes=CLASSES, templates=TEMPLATES, shape=(3, 32, 32))


def tiny_model(**vision: int) -> tuple[CLIPModel, object]:
    tokenizer = build_tokenizer([*CLASSES, *TEMPLATES])
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, **ids, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id},
        vision_config={**small, "image_size": 16, "patch_size": 8, **vision},
        projection_dim=8,
    )
    torch.manual_seed(0)
    return CLIPModel(config).eval(), tokenizer


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint folder of the ViT-B/32 image tower with random weights, made once a session."""
    folder = tmp_path_factory.mktemp("vit-b32")
    tokenizer = build_tokenizer([*CLASSES, *TEMPLATES])
    config = CLIPConfig(  # the defaults are ViT-B/32; only the vocabulary differs
        text_config={
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
    )
    torch.manual_seed(0)
    model = CLIPModel(config)
    model.logit_scale.data.fill_(4.6052)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def texts(model: CLIPModel, tokenizer: object, template: str) -> torch.Tensor:
    tokens = tokenizer([template.format(name) for name in CLASSES], padding=True, return_tensors="pt")  # type: ignore[operator]
    with torch.no_grad():
        return F.normalize(model.get_text_features(**tokens).pooler_output, dim=1)


def test_logits_are_those_of_transformers(checkpoint: Path) -> None:
    from transformers import AutoTokenizer

    victim = ClipVitB32(checkpoint=str(checkpoint)).load(TASK)
    assert isinstance(victim, ZeroShotClassifier)
    model, tokenizer = CLIPModel.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wide = F.interpolate(images, (32, 224), mode="bicubic", antialias=True).clamp(0, 1)
    large = F.interpolate(wide, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    pixels = (large - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    tokens = tokenizer([f"a photo of a {name}" for name in CLASSES], padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model(pixel_values=pixels, **tokens).logits_per_image
        ours = victim(images)
    # Measured: 3e-5 at logits near 100 times a cosine, which is float32 rounding in another order.
    assert (ours - theirs).abs().max() < 2e-4
    assert victim.logit_scale == pytest.approx(100.0, rel=1e-3)


def test_the_architecture_is_vit_b32(checkpoint: Path) -> None:
    victim = ClipVitB32(checkpoint=str(checkpoint)).load(TASK)
    assert isinstance(victim, ZeroShotClassifier)
    tower = victim.image_tower
    assert isinstance(tower, ClipImageTower)
    assert sum(p.numel() for p in tower.parameters()) == 87_849_216
    assert tower.visual_projection.weight.shape == (512, 768)
    assert not victim.training
    assert {p.dtype for p in victim.parameters()} == {torch.float32}
    assert ClipVitB32(checkpoint=str(checkpoint)).files() == (checkpoint,)


def test_pixel_gradients_are_those_of_finite_differences() -> None:
    model, tokenizer = tiny_model()
    victim = zero_shot(model, tokenizer, Preprocess(CLIP_MEAN, CLIP_STD, size=16), TASK, TEMPLATES[:1]).double()
    victim.requires_grad_(False)
    # Away from 0 and 1, where the clamp after bicubic resizing has its kinks.
    images = 0.3 + 0.4 * torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 2])

    def loss(pixels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(victim(pixels), labels, reduction="none")

    _, gradient = input_gradient(loss, images)
    step = 1e-6
    for place in torch.randint(0, images.numel(), (40,), generator=torch.Generator().manual_seed(2)).tolist():
        nudge = torch.zeros(images.numel(), dtype=torch.float64)
        nudge[place] = step
        nudge = nudge.view_as(images)
        slope = (loss(images + nudge) - loss(images - nudge)).sum() / (2 * step)
        assert gradient.flatten()[place].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8)


def test_the_ensemble_averages_normalised_text_features() -> None:
    model, tokenizer = tiny_model()
    victim = zero_shot(model, tokenizer, Preprocess(CLIP_MEAN, CLIP_STD, size=16), TASK, TEMPLATES)
    mean = (texts(model, tokenizer, TEMPLATES[0]) + texts(model, tokenizer, TEMPLATES[1])) / 2
    assert torch.allclose(victim.get_buffer("text_features"), F.normalize(mean, dim=1), atol=1e-6)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    model, tokenizer = tiny_model()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    return tmp_path


def test_template_and_ensemble_choose_the_prompts(small: Path) -> None:
    model, tokenizer = tiny_model()

    def features(**parameters: object) -> torch.Tensor:
        return ClipVitB32(checkpoint=str(small), **parameters).load(TASK).get_buffer("text_features")  # type: ignore[arg-type]

    first, second = (texts(model, tokenizer, template) for template in TEMPLATES)
    assert torch.allclose(features(), first, atol=1e-6)
    assert torch.allclose(features(template=TEMPLATES[1]), second, atol=1e-6)
    assert torch.allclose(features(ensemble=True), F.normalize(first + second, dim=1), atol=1e-6)


def test_other_prompts_can_be_encoded_later(small: Path) -> None:
    victim = ClipVitB32(checkpoint=str(small)).load(TASK)
    assert isinstance(victim, ZeroShotClassifier)
    assert victim.encode_text is not None
    features = victim.encode_text(["a photo of a cat", "anything " * 100])
    assert features.shape == (2, 8)
    assert not features.requires_grad
    assert torch.allclose(F.normalize(features[:1], dim=1), victim.get_buffer("text_features")[:1], atol=1e-6)
    copied = victim.inference_copy()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(copied(images), victim(images))


def test_the_checkpoints_own_preprocessing_is_used(small: Path) -> None:
    stated = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {"shortest_edge": 16}}
    (small / "preprocessor_config.json").write_text(json.dumps(stated))
    preprocess = ClipVitB32(checkpoint=str(small)).load(TASK).preprocess
    assert isinstance(preprocess, Preprocess)
    assert preprocess.get_buffer("mean").flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert preprocess.get_buffer("std").flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert (preprocess.size, preprocess.interpolation) == (16, "bicubic")


def test_offline_says_what_to_download_and_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError) as caught:
        ClipVitB32(checkpoint="nobody/no-such-clip").load(TASK)
    message = str(caught.value)
    assert message.startswith("checkpoint 'nobody/no-such-clip' cannot be loaded (")
    assert "of https://huggingface.co/nobody/no-such-clip into a folder DIR" in message
    assert message.endswith("pass -p victim.checkpoint=DIR.")
    assert "\n" not in message


def test_another_kind_of_model_is_named(tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"holds a model of type 'bert', not a CLIP model; give a folder"):
        ClipVitB32(checkpoint=str(tmp_path)).load(TASK)


def test_a_folder_without_config_says_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read as a CLIP checkpoint \(.*must hold config.json, model"):
        ClipVitB32(checkpoint=str(tmp_path)).load(TASK)


def test_missing_tensors_are_not_drawn_at_random(small: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(small / "model.safetensors")
    del state["visual_projection.weight"]
    save_file(state, small / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 of CLIP's tensors .* such as visual_projection.weight; it is"):
        ClipVitB32(checkpoint=str(small)).load(TASK)


def test_the_default_is_the_hubs_and_depends_on_no_local_file() -> None:
    assert ClipVitB32().checkpoint == "openai/clip-vit-base-patch32"
    assert ClipVitB32().files() == ()
    low, high = (ClipVitB32.reference["cifar10"] + sign * ClipVitB32.reference_tolerance for sign in (-1, 1))
    assert low < 0.8765 < 0.8906 < high
    assert low > 0.8281  # QuickGELU forgotten


def test_a_folder_without_a_tokenizer_takes_one_from_elsewhere_and_is_never_read_without(
    small: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = ClipVitB32(checkpoint=str(small)).load(TASK)
    bare, elsewhere = (tmp_path_factory.mktemp(name) for name in ("bare", "elsewhere"))
    for file in small.iterdir():
        place = bare if file.name in ("config.json", "model.safetensors") else elsewhere
        shutil.copy(file, place / file.name)
    with pytest.raises(WeightsError) as refused:
        ClipVitB32(checkpoint=str(bare)).load(TASK)
    assert f"'{bare}' holds no tokenizer, without which prompts cannot be read" in str(refused.value)
    assert "pass -p victim.processor=openai/clip-vit-base-patch32" in str(refused.value)

    chosen = ClipVitB32(checkpoint=str(bare), processor=str(elsewhere))
    assert chosen.files() == (bare, elsewhere)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(chosen.load(TASK)(images), whole(images))


def test_a_processor_with_more_words_than_the_text_tower_is_refused(small: Path, tmp_path: Path) -> None:
    build_tokenizer(["considerably many more and longer words than those of the checkpoint"]).save_pretrained(
        tmp_path / "larger"
    )
    with pytest.raises(WeightsError, match=r"the tokenizer of '\S+larger' knows \d+ words, and the text tower"):
        ClipVitB32(checkpoint=str(small), processor=str(tmp_path / "larger")).load(TASK)
