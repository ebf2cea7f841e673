"""The shipped CLIP: what it reaches, where it breaks, and that its recipe repeats it to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from robench import Examples, SpecError, Task, WeightsError, ZeroShotClassifier, input_gradient
from robench_builtins.datasets.digits import Digits
from robench_builtins.models.shared.tiny_clip_training import (
    CAPTIONS,
    accuracy,
    build_tokenizer,
    captions_for,
    train_tiny_clip,
)
from robench_builtins.models.tiny_clip import WEIGHTS, TinyClip

DIGITS = Digits()
TASK = Task(classes=DIGITS.classes(), templates=DIGITS.templates, shape=(3, 32, 32))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def victim() -> ZeroShotClassifier:
    victim = TinyClip().load(TASK)
    assert isinstance(victim, ZeroShotClassifier)
    return victim.requires_grad_(False)


def robust_accuracy(victim: ZeroShotClassifier, eps: float, steps: int = 20) -> float:
    images, labels, _ = next(iter(DIGITS.load("test").batches(500)))
    noise = TASK.uniform(images)
    moved = (images + eps * noise).clamp(0, 1)
    standing = victim(images).argmax(1) == labels
    for _ in range(steps):
        _, gradient = input_gradient(
            lambda pixels: torch.nn.functional.cross_entropy(victim(pixels), labels, reduction="none"), moved
        )
        moved = moved + 2.5 * eps / steps * gradient.sign()
        moved = (images + (moved - images).clamp(-eps, eps)).clamp(0, 1)
        standing &= victim(moved).argmax(1) == labels
    return standing.float().mean().item()


def test_it_reaches_the_accuracy_it_states(victim: ZeroShotClassifier) -> None:
    measured = accuracy(victim, DIGITS.load("test"))
    assert measured >= 0.95
    assert measured == pytest.approx(TinyClip.reference["digits"], abs=0.0021)


def test_other_wordings_of_the_prompt_work_too() -> None:
    for template in (*DIGITS.templates, "an old photograph of the letter {}", "I wrote a {} here"):
        assert accuracy(TinyClip(template=template).load(TASK), DIGITS.load("val")) > 0.9, template


def test_undefended_it_loses_most_of_its_accuracy_within_8_255(victim: ZeroShotClassifier) -> None:
    assert robust_accuracy(victim, 0.0, steps=2) == pytest.approx(accuracy(victim, DIGITS.load("test")), abs=1e-6)
    assert robust_accuracy(victim, 4 / 255) < 0.7
    assert robust_accuracy(victim, 8 / 255) < 0.2


def test_the_shipped_files_are_small_and_plain() -> None:
    assert {path.name for path in WEIGHTS.iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 1_000_000
    assert TinyClip().files() == (WEIGHTS,)


def test_logits_are_those_of_transformers(victim: ZeroShotClassifier) -> None:
    images = DIGITS.load("val")[:16].images().float() / 255
    model, tokenizer = CLIPModel.from_pretrained(WEIGHTS), CLIPTokenizer.from_pretrained(WEIGHTS)
    tokens = tokenizer([f"a photo of the digit {name}" for name in TASK.classes], padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model(pixel_values=victim.preprocess(images), **tokens).logits_per_image
        assert (victim(images) - theirs).abs().max() < 1e-5


def test_the_recipe_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    def make(name: str, seed: int) -> dict[str, bytes]:
        train = DIGITS.load("train")[:256]
        train_tiny_clip(TASK.replace(seed=seed), train, tmp_path / name, epochs=2)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    torch.manual_seed(1)
    first = make("first", 0)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert make("again", 0) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert make("other", 1)["model.safetensors"] != first["model.safetensors"]
    assert set(first) == {path.name for path in WEIGHTS.iterdir()}


def test_the_recipe_restores_the_threads_and_shows_its_progress(tmp_path: Path) -> None:
    class Recorder:
        seen: list[tuple[int, str]] = []

        def track(self, items, total, text):
            self.seen.append((total, text))
            return items

        def note(self, text: str) -> None: ...

    torch.set_num_threads(2)
    task = TASK.replace(progress=Recorder(), history=[])
    train_tiny_clip(task, DIGITS.load("train")[:130], tmp_path, epochs=1)
    assert torch.get_num_threads() == 2
    assert Recorder.seen == [(3, "train tiny-clip")]
    assert len(task.history) == 3


def test_train_uses_the_train_split_alone_and_returns_what_it_reached(tmp_path: Path) -> None:
    class Watched(Digits):
        """Remember which splits were asked for."""

        asked: ClassVar[list[str]] = []

        def load(self, split):
            self.asked.append(split)
            return DIGITS.load(split)[:200]

    reached = TinyClip(epochs=1).train(TASK, tmp_path / "made", Watched())
    train_tiny_clip(TASK, DIGITS.load("train")[:200], tmp_path / "alone", epochs=1)
    again = TinyClip(checkpoint=str(tmp_path / "made")).load(TASK)

    assert Watched.asked == ["train", "val", "test"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("made", "alone")]
    assert weights[0] == weights[1]
    assert reached == {split + "_accuracy": accuracy(again, Watched().load(split)) for split in ("val", "test")}


class Shades(Digits):
    """Serve two colours in the shape of the digits, and no validation split."""

    name = "shades"
    templates = ("a patch of {}",)

    def classes(self):
        return ("red", "blue")

    def load(self, split):
        count = {"train": 256, "val": 0, "test": 64}[split]
        labels = torch.arange(count) % 2
        images = torch.randint(0, 60, (count, 3, 32, 32), generator=torch.Generator().manual_seed(count))
        images[torch.arange(count), labels * 2] += 180
        return Examples.from_tensors(images.to(torch.uint8), labels)


def test_another_dataset_is_learnt_from_scratch_with_its_own_classes_and_captions(tmp_path: Path) -> None:
    shades = Shades()
    task = TASK.replace(classes=shades.classes(), templates=shades.templates)
    reached = TinyClip(epochs=4).train(task, tmp_path, shades)

    assert reached == {"test_accuracy": 1.0}
    assert accuracy(TinyClip(checkpoint=str(tmp_path)).load(task), shades.load("test")) == 1.0
    assert captions_for(shades.origin(), shades.templates)[0] == "a patch of {}"
    assert not [caption for caption in captions_for("shades", shades.templates) if "digit" in caption]
    assert captions_for("digits", Digits().templates) == CAPTIONS


def test_the_tokenizer_is_a_clip_tokenizer_for_any_text(tmp_path: Path) -> None:
    tokenizer = build_tokenizer([*TASK.classes, *CAPTIONS])
    words = tokenizer.tokenize("A photo of the digit Seven.")
    assert words == ["a</w>", "photo</w>", "of</w>", "the</w>", "digit</w>", "seven</w>", ".</w>"]
    assert tokenizer.decode(tokenizer("zwölf drôle").input_ids, skip_special_tokens=True) == "zwölf drôle"
    assert tokenizer.unk_token_id not in tokenizer("zwölf ☃").input_ids[1:-1]
    tokenizer.save_pretrained(tmp_path)
    assert CLIPTokenizer.from_pretrained(tmp_path)("the digit zwölf") == tokenizer("the digit zwölf")


def test_a_folder_without_a_checkpoint_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no checkpoint \(config.json is missing\); write one there with"):
        TinyClip(checkpoint=str(tmp_path)).load(TASK)


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    for path in WEIGHTS.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200_000])
    with pytest.raises(WeightsError, match=r"cannot be read as a CLIP checkpoint \("):
        TinyClip(checkpoint=str(tmp_path)).load(TASK)


def test_a_template_without_a_place_for_the_class_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^template 'a photo' has no place for the class name; write one with \{\}"):
        TinyClip(template="a photo").load(TASK)
