"""Gallery files: what goes in comes out, and what a stranger made of one is a sentence."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.gallery import KIND, gallery_key, gallery_name, read_gallery, write_gallery
from robench.evidence.store import Store

MakeCard = Callable[..., Card]


def tensors(count: int = 3, **change: Any) -> dict[str, Any]:
    """Return a gallery of the factory's card: 1x8x8 images, two classes, 8 images."""
    rng = np.random.default_rng(0)
    found = {
        "clean": rng.random((count, 1, 8, 8), dtype=np.float32),
        "adversarial": rng.random((count, 1, 8, 8), dtype=np.float32),
        "labels": np.zeros(count, dtype=np.int64),
        "indices": np.arange(count, dtype=np.int64) + 4,
        "predictions": np.tile(np.array([[0, 1]], dtype=np.int64), (count, 1)),
        "confidence": np.tile(np.array([[0.75, 0.5]], dtype=np.float32), (count, 1)),
        "saliency_clean": rng.random((count, 8, 8), dtype=np.float32),
        "saliency_adversarial": 40 * rng.random((count, 8, 8), dtype=np.float32),
    }
    found.update(change)
    return {name: value for name, value in found.items() if value is not None}


def saved(folder: Path, card: Card, content: dict[str, Any], owner: Any = None) -> Path:
    path = folder / gallery_name(card)
    save_file(content, path, {"robench": json.dumps({"card": card.id} if owner is None else owner)})
    return path


def test_what_goes_in_comes_out(make_card: MakeCard, tmp_path: Path):
    card, content = make_card(), tensors()
    found = read_gallery(saved(tmp_path, card, content), card).pictures
    assert [picture.index for picture in found] == [4, 5, 6]
    assert [picture.label for picture in found] == [0, 0, 0]
    assert found[1].predictions == (0, 1)
    assert found[1].confidence == (0.75, 0.5)
    assert found[1].flipped
    assert np.array_equal(found[2].clean, content["clean"][2])
    assert np.array_equal(found[2].adversarial, content["adversarial"][2])
    assert np.array_equal(found[2].saliency[1], content["saliency_adversarial"][2])


@pytest.mark.parametrize(("before", "after", "flipped"), [(0, 1, True), (0, 0, False), (1, 1, False), (1, 0, False)])
def test_only_a_right_answer_can_flip(make_card: MakeCard, tmp_path: Path, before: int, after: int, flipped: bool):
    content = tensors(1, predictions=np.array([[before, after]], dtype=np.int64))
    (picture,) = read_gallery(saved(tmp_path, make_card(), content), make_card()).pictures
    assert picture.flipped is flipped


def test_a_gallery_without_saliency(make_card: MakeCard, tmp_path: Path):
    content = tensors(saliency_clean=None, saliency_adversarial=None)
    found = read_gallery(saved(tmp_path, make_card(), content), make_card())
    assert [picture.saliency for picture in found.pictures] == [None] * 3


def test_the_store_s_gallery_is_kept_beside_the_card(make_card: MakeCard, tmp_path: Path):
    card, store = make_card(), Store(tmp_path / "store")
    assert write_gallery(store, card, tmp_path / "gallery") is None
    content = tensors()
    store.put(KIND, gallery_key(card.id), {}, {name: torch.from_numpy(value) for name, value in content.items()})
    path = write_gallery(store, card, tmp_path / "gallery")
    assert path is not None
    assert path.stem == Path(card.file_name).stem
    found = read_gallery(path, card).pictures
    assert np.array_equal(found[0].clean, content["clean"][0])
    before = path.read_bytes()
    path.unlink()
    write_gallery(store, card, tmp_path / "gallery")
    assert path.read_bytes() == before


# Strangers' files


def refusal(path: Path, card: Card) -> str:
    with pytest.raises(CardError) as raised:
        read_gallery(path, card)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clean": np.zeros((3, 3, 8, 8), dtype=np.float32)}, "'clean' must be F32 (3, 1, 8, 8), as its card has it"),
        ({"adversarial": np.zeros((2, 1, 8, 8), dtype=np.float32)}, "'adversarial' must be F32 (3, 1, 8, 8)"),
        ({"clean": np.zeros((3, 1, 8, 8), dtype=np.float64)}, "'clean' must be F32"),
        ({"labels": np.zeros((3,), dtype=np.int32)}, "'labels' must be I64 (3,)"),
        ({"labels": np.zeros((), dtype=np.int64)}, "is not what robench writes"),
        ({"labels": np.zeros(0, dtype=np.int64)}, "its tensors are not those of a gallery"),
        ({"labels": None}, "its tensors are not those of a gallery"),
        ({"extra": np.zeros(3, dtype=np.float32)}, "its tensors are not those of a gallery"),
        ({"saliency_clean": None}, "its tensors are not those of a gallery"),
        ({"saliency_clean": np.zeros((3, 9, 9), dtype=np.float32)}, "'saliency_clean' must be F32 (3, 8, 8)"),
        ({"saliency_clean": np.full((3, 8, 8), -1, dtype=np.float32)}, "'saliency_clean' has values outside"),
        ({"saliency_clean": np.full((3, 8, 8), np.inf, dtype=np.float32)}, "'saliency_clean' has values outside"),
        ({"clean": np.full((3, 1, 8, 8), np.nan, dtype=np.float32)}, "'clean' has values outside their range"),
        ({"clean": np.full((3, 1, 8, 8), 1.5, dtype=np.float32)}, "'clean' has values outside their range"),
        ({"labels": np.full(3, 2, dtype=np.int64)}, "'labels' has values outside their range"),
        ({"labels": np.full(3, -1, dtype=np.int64)}, "'labels' has values outside their range"),
        ({"predictions": np.full((3, 2), 9, dtype=np.int64)}, "'predictions' has values outside their range"),
        ({"indices": np.full(3, 8, dtype=np.int64)}, "'indices' has values outside their range"),
        ({"confidence": np.full((3, 2), 1.1, dtype=np.float32)}, "'confidence' has values outside their range"),
    ],
)
def test_what_is_no_gallery_of_this_card(make_card: MakeCard, tmp_path: Path, change: dict[str, Any], reason: str):
    path = saved(tmp_path, make_card(), tensors(**change))
    assert reason in refusal(path, make_card())
    assert "remove it to go without its pictures." in refusal(path, make_card())


@pytest.mark.parametrize("owner", [{"card": "f" * 64}, {}, [], "x", 5, {"card": ["a"]}])
def test_a_gallery_of_another_card(make_card: MakeCard, tmp_path: Path, owner: Any):
    card = make_card()
    path = saved(tmp_path, card, tensors(), owner)
    assert f"it does not belong to card {card.id[:8]}" in refusal(path, card)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "nonsense"])
def test_metadata_that_is_no_json(make_card: MakeCard, tmp_path: Path, text: str):
    path = tmp_path / "gallery.safetensors"
    save_file(tensors(), path, {"robench": text})
    assert "it does not belong to card" in refusal(path, make_card())


def test_no_metadata_at_all(make_card: MakeCard, tmp_path: Path):
    save_file(tensors(), tmp_path / "gallery.safetensors")
    assert "it does not belong to card" in refusal(tmp_path / "gallery.safetensors", make_card())


def header(entries: dict[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"not safetensors at all, but long enough to have a header",
        struct.pack("<Q", 1 << 62) + b"{}",
        header({"clean": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        header({"clean": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\x00" * 4),
        header({"__metadata__": {"robench": 5}}),
        b"\x80\x04\x95cos\nsystem\n(S'echo owned'\ntR.",
    ],
    ids=range(8),
)
def test_what_is_no_safetensors_file(make_card: MakeCard, tmp_path: Path, content: bytes):
    path = tmp_path / "gallery.safetensors"
    path.write_bytes(content)
    assert "is not what robench writes" in refusal(path, make_card())


def test_a_truncated_file(make_card: MakeCard, tmp_path: Path):
    path = saved(tmp_path, make_card(), tensors())
    path.write_bytes(path.read_bytes()[:-10])
    assert "is not what robench writes" in refusal(path, make_card())


def test_images_without_pixels(make_card: MakeCard, tmp_path: Path):
    card, empty = make_card(shape=(1, 0, 8)), np.zeros((3, 1, 0, 8), dtype=np.float32)
    flat = np.zeros((3, 0, 8), dtype=np.float32)
    content = tensors(clean=empty, adversarial=empty, saliency_clean=flat, saliency_adversarial=flat)
    assert "its card's images have no pixels" in refusal(saved(tmp_path, card, content), card)


def test_too_many_pictures(make_card: MakeCard, tmp_path: Path):
    assert "its tensors are not those of a gallery" in refusal(saved(tmp_path, make_card(), tensors(65)), make_card())


def test_a_huge_file_is_not_read(make_card: MakeCard, tmp_path: Path):
    path = tmp_path / "gallery.safetensors"
    with path.open("wb") as file:
        file.truncate(300_000_000)  # a hole: no space is used
    assert "it has more than 256 MB" in refusal(path, make_card())


def test_a_file_that_is_not_there(make_card: MakeCard, tmp_path: Path):
    path = tmp_path / "gone.safetensors"
    assert refusal(path, make_card()) == f"gallery {path} cannot be read (No such file or directory)."


def test_a_folder_in_place_of_the_file(make_card: MakeCard, tmp_path: Path):
    (tmp_path / "gallery.safetensors").mkdir()
    refusal(tmp_path / "gallery.safetensors", make_card())
