"""Patch embeddings in gallery files and on the page: kept to their shapes, drawn as they are, shown once."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.gallery import Gallery, Picture, gallery_name, read_gallery
from robench.evidence.patch_embedding import CUT, FILTERS, IMAGE, TOKENS, Embedding, fits
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.report import patch_embeddings, render_report
from robench_leaderboard.report.patch_embeddings import (
    SIDE,
    filter_picture,
    patch_picture,
    shown_embeddings,
    token_picture,
)
from robench_leaderboard.report.pictures import HEAT
from robench_leaderboard.report.report_data import Report

MakeCard = Callable[..., Card]


def tensors(**change: Any) -> dict[str, Any]:
    """Return a gallery of the factory's card (1x8x8, two classes) whose model takes 3x12x12 and cuts 4 by 4."""
    rng = np.random.default_rng(0)
    found = {
        "clean": rng.random((2, 1, 8, 8), dtype=np.float32),
        "adversarial": rng.random((2, 1, 8, 8), dtype=np.float32),
        "labels": np.zeros(2, dtype=np.int64),
        "indices": np.arange(2, dtype=np.int64),
        "predictions": np.tile(np.array([[0, 1]], dtype=np.int64), (2, 1)),
        "confidence": np.full((2, 2), 0.5, dtype=np.float32),
        IMAGE: rng.random((3, 12, 12), dtype=np.float32),
        FILTERS: rng.random((5, 3, 4, 4), dtype=np.float32),
        CUT: np.array([4, 4], dtype=np.int64),
    }
    found.update(change)
    return {name: value for name, value in found.items() if value is not None}


def saved(folder: Path, card: Card, content: dict[str, Any]) -> Path:
    path = folder / gallery_name(card)
    save_file(content, path, {"robench": json.dumps({"card": card.id})})
    return path


# The file


def test_what_goes_in_comes_out(make_card: MakeCard, tmp_path: Path):
    content = tensors()
    found = read_gallery(saved(tmp_path, make_card(), content), make_card())
    assert len(found.pictures) == 2
    embedding = found.embedding
    assert embedding is not None
    assert (embedding.kernel, embedding.stride, embedding.grid) == (4, 4, (3, 3))
    assert np.array_equal(embedding.image, content[IMAGE])
    assert np.array_equal(embedding.filters, content[FILTERS])
    assert np.array_equal(embedding.patch(2, 1), content[IMAGE][:, 8:12, 4:8])


def test_patches_that_overlap(make_card: MakeCard, tmp_path: Path):
    content = tensors(**{CUT: np.array([4, 3], dtype=np.int64)})
    embedding = read_gallery(saved(tmp_path, make_card(), content), make_card()).embedding
    assert embedding is not None
    assert embedding.grid == (3, 3)
    assert np.array_equal(embedding.patch(1, 2), content[IMAGE][:, 3:7, 6:10])


def test_tokens_come_out_and_are_drawn_a_column_each(make_card: MakeCard, tmp_path: Path):
    values = np.linspace(0, 1, 40, dtype=np.float32).reshape(10, 4)
    embedding = read_gallery(saved(tmp_path, make_card(), tensors(**{TOKENS: values})), make_card()).embedding
    assert embedding is not None
    assert np.array_equal(embedding.tokens, values)
    drawn = token_picture(values)
    assert drawn.shape == (4, 10, 3)
    assert drawn[0, 0].tolist() == list(HEAT[0])
    assert drawn[3, 9].tolist() == list(HEAT[-1])


@pytest.mark.parametrize(
    ("tokens", "why"),
    [
        (np.zeros((8, 4), dtype=np.float32), "'embedding_tokens' has 8 tokens for 9 patches"),
        (np.zeros(40, dtype=np.float32), "its tokens have the shape (40,)"),
        (np.full((9, 4), 1.5, dtype=np.float32), "'embedding_tokens' has values outside their range"),
        (np.zeros((9, 4), dtype=np.float64), "'embedding_tokens' must be F32 (9, 4)"),
    ],
)
def test_tokens_that_no_model_has_are_refused(make_card: MakeCard, tmp_path: Path, tokens: Any, why: str):
    path = saved(tmp_path, make_card(), tensors(**{TOKENS: tokens}))
    with pytest.raises(CardError, match=re.escape(why)):
        read_gallery(path, make_card())


def test_an_older_file_has_none(make_card: MakeCard, tmp_path: Path):
    path = saved(tmp_path, make_card(), tensors(**dict.fromkeys((IMAGE, FILTERS, CUT))))
    found = read_gallery(path, make_card())
    assert found.embedding is None
    assert len(found.pictures) == 2


def f32(*shape: int, value: float = 0.5) -> Any:
    return np.full(shape, value, dtype=np.float32)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({IMAGE: None}, "its tensors are not those of a gallery"),
        ({FILTERS: None}, "its tensors are not those of a gallery"),
        ({CUT: None}, "its tensors are not those of a gallery"),
        ({IMAGE: None, FILTERS: None}, "its tensors are not those of a gallery"),
        ({IMAGE: f32(12, 12)}, "its patch embedding has an image (12, 12) and filters (5, 3, 4, 4)"),
        ({IMAGE: f32(1, 12, 12)}, "its patch embedding has an image"),
        ({IMAGE: f32(4, 12, 12), FILTERS: f32(5, 4, 4, 4)}, "its patch embedding has an image"),
        ({IMAGE: f32(3, 2000, 12)}, "its patch embedding has an image"),
        ({IMAGE: f32(3, 3, 12)}, "its patch embedding has an image"),
        ({IMAGE: f32(3, 0, 0)}, "its patch embedding has an image"),
        ({IMAGE: f32()}, "its patch embedding has an image ()"),
        ({FILTERS: f32(29, 3, 4, 4)}, "and filters (29, 3, 4, 4)"),
        ({FILTERS: f32(0, 3, 4, 4)}, "and filters (0, 3, 4, 4)"),
        ({FILTERS: f32(5, 3, 3, 3)}, "and filters (5, 3, 3, 3)"),
        ({FILTERS: f32(5, 3, 4, 5)}, "and filters (5, 3, 4, 5)"),
        ({FILTERS: f32()}, "and filters ()"),
        ({FILTERS: f32(5, 3, 4)}, "and filters (5, 3, 4)"),
        ({IMAGE: np.zeros((3, 12, 12))}, "'embedding_image' must be F32 (3, 12, 12)"),
        ({FILTERS: np.zeros((5, 3, 4, 4))}, "'embedding_filters' must be F32"),
        ({CUT: f32(2)}, "'embedding_cut' must be I64 (2,)"),
        ({CUT: np.array([4, 4, 4], dtype=np.int64)}, "'embedding_cut' must be I64 (2,)"),
        ({CUT: np.array([4], dtype=np.int64)}, "'embedding_cut' must be I64 (2,)"),
        ({CUT: np.array([4, 0], dtype=np.int64)}, "'embedding_cut' is not how its filters cut its image"),
        ({CUT: np.array([4, 1], dtype=np.int64)}, "'embedding_cut' is not how its filters cut its image"),
        ({CUT: np.array([4, 5], dtype=np.int64)}, "'embedding_cut' is not how its filters cut its image"),
        ({CUT: np.array([5, 4], dtype=np.int64)}, "'embedding_cut' is not how its filters cut its image"),
        ({CUT: np.array([4, -4], dtype=np.int64)}, "'embedding_cut' has values outside their range"),
        ({CUT: np.array([4, 1 << 62], dtype=np.int64)}, "'embedding_cut' has values outside their range"),
        ({IMAGE: f32(3, 12, 12, value=1.01)}, "'embedding_image' has values outside their range"),
        ({IMAGE: f32(3, 12, 12, value=np.nan)}, "'embedding_image' has values outside their range"),
        ({FILTERS: f32(5, 3, 4, 4, value=-0.1)}, "'embedding_filters' has values outside their range"),
        ({FILTERS: f32(5, 3, 4, 4, value=np.inf)}, "'embedding_filters' has values outside their range"),
    ],
)
def test_a_corrupted_file_is_a_sentence(make_card: MakeCard, tmp_path: Path, change: dict[str, Any], reason: str):
    path = saved(tmp_path, make_card(), tensors(**change))
    with pytest.raises(CardError) as raised:
        read_gallery(path, make_card())
    assert str(raised.value).startswith(f"gallery {path} is not what robench writes (")
    assert reason in str(raised.value)
    assert str(raised.value).endswith("; remove it to go without its pictures.")


@pytest.mark.parametrize(
    ("stride", "good"), [(4, True), (3, True), (2, True), (1, False), (5, False), (0, False), (-4, False)]
)
def test_patches_overlap_by_half_at_most_and_leave_nothing_out(stride: int, good: bool):
    assert fits((3, 12, 12), (5, 3, 4, 4), stride) is good


# The drawings


def embedding(kernel: int = 4, stride: int = 4, height: int = 12, width: int = 12, count: int = 9) -> Embedding:
    rng = np.random.default_rng(1)
    return Embedding(
        kernel,
        stride,
        np.float32(rng.integers(0, 256, (3, height, width)) / 255),
        np.float32(rng.integers(0, 256, (count, 3, kernel, kernel)) / 255),
    )


def test_patches_are_drawn_apart_and_as_they_are():
    one = embedding(height=8, width=12)
    drawn, pixels = patch_picture(one), np.rint(one.image * 255).astype(int).transpose(1, 2, 0)
    assert drawn.shape == (4 + 1 + 4, 4 + 1 + 4 + 1 + 4, 3)
    assert np.array_equal(drawn[5:9, 10:14], pixels[4:8, 8:12])
    assert (drawn[4] == 255).all()
    assert (drawn[:, [4, 9]] == 255).all()


def test_what_two_patches_share_is_in_both():
    one = embedding(stride=2, height=4, width=6)
    drawn, pixels = patch_picture(one), np.rint(one.image * 255).astype(int).transpose(1, 2, 0)
    assert drawn.shape == (4, 9, 3)
    assert np.array_equal(drawn[:, :4], pixels[:, :4])
    assert np.array_equal(drawn[:, 5:], pixels[:, 2:])


def test_what_no_patch_holds_is_left_out():
    assert patch_picture(embedding(height=15, width=13)).shape == (14, 14, 3)


def test_filters_are_in_rows_of_seven():
    one = embedding(count=9)
    drawn = filter_picture(one.filters)
    assert drawn.shape == (9, 7 * 4 + 6, 3)
    assert np.array_equal(drawn[5:9, 5:9], np.rint(one.filters[8] * 255).astype(int).transpose(1, 2, 0))
    assert (drawn[5:9, 10:] == 255).all()
    assert filter_picture(one.filters[:3]).shape == (4, 3 * 4 + 2, 3)


# The page


def gallery(one: Embedding | None) -> Gallery:
    flat = np.full((1, 8, 8), 0.5, dtype=np.float32)
    return Gallery([Picture(5, 1, (1, 0), (0.9, 0.8), flat, flat, None)], one)


def report(*cards: Card, one: Embedding | None) -> Report:
    return Report(tuple(boards(cards)), {card.id: gallery(one) for card in cards})


def figures(text: str) -> list[str]:
    return re.findall(
        r'<figure class="strip">\s*<figcaption><b>(.*?)</b>: (.*?)</figcaption>\s*<div class="cut">', text
    )


def test_each_defended_victim_is_shown_once(make_card: MakeCard):
    cards = [
        make_card(defense=name, attack=attack, eps=eps)
        for name in ("none", "tecoa")
        for attack in ("fgsm", "pgd")
        for eps in (4 / 255, 8 / 255)
    ]
    found = list(shown_embeddings(report(*cards, one=embedding())))
    assert sorted(cut.name for cut in found) == ["mlp, none", "mlp, tecoa"]
    text = render_report(report(*cards, one=embedding()))
    assert sorted(figures(text)) == [
        (f"mlp, {name}", "9 patches (3 x 3) of 4 x 4 pixels, side by side") for name in ("none", "tecoa")
    ]


def test_a_defense_that_was_trained_anew_is_shown_again(make_card: MakeCard):
    first, second = (make_card(defense="tecoa", eps=eps) for eps in (4 / 255, 8 / 255))
    second = msgspec.structs.replace(second, model=msgspec.structs.replace(second.model, defended="e" * 64))
    assert len(list(shown_embeddings(report(first, second, one=embedding())))) == 2


def test_the_numbers_and_the_texts_for_who_cannot_see_them(make_card: MakeCard):
    text = render_report(report(make_card(), one=embedding(kernel=8, stride=6, height=64, width=64, count=28)))
    assert figures(text) == [
        ("mlp, none", "100 patches (10 x 10) of 8 x 8 pixels, one every 6 pixels, so that they overlap")
    ]
    (cut,) = re.findall(r'<div class="cut">(.*?)</div>', text, flags=re.DOTALL)
    alts = [unescape(alt) for alt in re.findall(r'alt="(.*?)"', cut)]
    assert alts == [
        "Image 5, 1, as mlp, none cuts it: 100 patches (10 x 10) of 8 x 8 pixels, one every 6 pixels, so that they "
        "overlap",
        "The 28 leading principal components of its embedding filters, 8 x 8 pixels each",
    ]
    assert "the leading principal components of the layer's filters (Dosovitskiy et al. 2021, figure 7)" in text
    for source in re.findall(r'src="data:image/png;base64,(.*?)"', cut):
        assert 200 < max(Image.open(io.BytesIO(base64.b64decode(source))).size) <= SIDE


def test_one_patch_and_one_filter_are_singular(make_card: MakeCard):
    text = render_report(report(make_card(), one=embedding(height=4, width=7, count=1)))
    assert figures(text) == [("mlp, none", "1 patch (1 x 1) of 4 x 4 pixels, side by side")]
    assert "The leading principal component of its embedding filters, 4 x 4 pixels each" in text


def test_without_patches_there_is_no_heading(make_card: MakeCard):
    text = render_report(report(make_card(), one=None))
    assert 'id="patches"' not in text
    assert '<div class="cut">' not in text


def test_hostile_names_add_no_markup(make_card: MakeCard):
    evil = '"><img src=x onerror=alert(1)>'
    card = make_card(defense=evil)
    card = msgspec.structs.replace(card, data=msgspec.structs.replace(card.data, classes=[evil, evil + "2"]))
    text = render_report(report(make_card(), card, one=embedding()))
    assert "<img src=x" not in text
    assert text.count('<div class="cut">') == 2


def test_many_are_cut_short(make_card: MakeCard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patch_embeddings, "MOST_SHOWN", 3)
    assert (
        len(list(shown_embeddings(report(*(make_card(defense=f"d{place}") for place in range(5)), one=embedding()))))
        == 3
    )


def test_a_large_image_is_reduced(make_card: MakeCard):
    (cut,) = shown_embeddings(report(make_card(), one=embedding(kernel=32, stride=32, height=1024, width=512)))
    source = cut.patches.partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(source))).size[1] == SIDE
