"""The page as a file: where cards and pictures are found, what it says without any, and that it is always the same."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.card_file import write
from robench.evidence.gallery import gallery_name
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.report import collect, page, render_report
from robench_leaderboard.report.report_data import Report

MakeCard = Callable[..., Card]


class Outline(HTMLParser):
    """Collect tags, attributes and text; a tag left open or closed twice is an error."""

    VOID = frozenset({"meta", "img", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str, **attributes: str) -> int:
        return sum(
            name == tag and all(found.get(key.rstrip("_")) == value for key, value in attributes.items())
            for name, found in self.tags
        )


def render(*cards: Card) -> str:
    return render_report(Report(tuple(boards(cards)), {}))


def keep(folder: Path, *cards: Card, pictures: int = 0, side: int = 8) -> Path:
    """Write cards as a run does, with galleries if asked."""
    rng = np.random.default_rng(0)
    for card in cards:
        write(card, folder / "cards")
        if pictures:
            (folder / "gallery").mkdir(exist_ok=True)
            images = rng.random((pictures, 1, side, side), dtype=np.float32)
            content = {
                "clean": images,
                "adversarial": np.clip(images + np.float32(8 / 255), 0, 1),
                "labels": np.zeros(pictures, dtype=np.int64),
                "indices": np.arange(pictures, dtype=np.int64),
                "predictions": np.tile(np.array([[0, 1]], dtype=np.int64), (pictures, 1)),
                "confidence": np.full((pictures, 2), 0.5, dtype=np.float32),
                "saliency_clean": images[:, 0],
                "saliency_adversarial": images[:, 0],
            }
            metadata = {"robench": json.dumps({"card": card.id})}
            save_file(content, folder / "gallery" / gallery_name(card), metadata)
    return folder


# Where cards and pictures are


@pytest.mark.parametrize("given", ["run", "cards", "files"])
def test_a_run_a_folder_or_files(make_card: MakeCard, tmp_path: Path, given: str):
    cards = [make_card(), make_card(defense="jpeg")]
    folder = keep(tmp_path / "run", *cards, pictures=2)
    paths = {"run": [folder], "cards": [folder / "cards"], "files": sorted((folder / "cards").glob("*.json"))}[given]
    found = collect(paths)
    assert {cell.card.id for cell in found.cells} == set(found.galleries) == {card.id for card in cards}
    assert render_report(found) == render_report(collect([folder]))


def test_a_relative_card_file_finds_its_pictures(make_card: MakeCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    card = make_card()
    keep(tmp_path / "run", card, pictures=1)
    monkeypatch.chdir(tmp_path / "run" / "cards")
    assert set(collect([Path(card.file_name)]).galleries) == {card.id}


def test_two_runs_are_one_report(make_card: MakeCard, tmp_path: Path):
    first, second = make_card(), make_card(defense="jpeg")
    paths = [keep(tmp_path / "a", first, pictures=1), keep(tmp_path / "b", second)]
    found = collect(paths)
    assert {cell.card.id for cell in found.cells} == {first.id, second.id}
    assert set(found.galleries) == {first.id}


def test_no_cards_is_a_sentence(tmp_path: Path):
    with pytest.raises(CardError) as raised:
        collect([tmp_path])
    assert str(raised.value) == (
        f"There are no cards in {tmp_path}; name a folder that robench run wrote (--out), or card files."
    )


def test_a_bad_gallery_is_a_sentence(make_card: MakeCard, tmp_path: Path):
    card = make_card()
    folder = keep(tmp_path, card, pictures=1)
    (folder / "gallery" / gallery_name(card)).write_bytes(b"nonsense")
    with pytest.raises(CardError, match="is not what robench writes"):
        collect([folder])


# What the page says


def test_the_page_is_well_formed_and_complete(zoo: list[Card]):
    text = render(*zoo)
    outline = Outline(text)
    said = " ".join("".join(outline.text).split())
    whole = Report(tuple(boards(zoo)), {})
    assert outline.count("details", class_="card") == len(zoo)
    assert text.count('<tr role="row" class=') == len(whole.rows)
    for words in ("tecoa, seed 0", "It coincides with", "images left the ball", "SUSPECT", "100.0 [98.1, 100.0]"):
        assert words in said
    assert "12 results" in said


def test_old_results_say_that_they_have_no_pictures(make_card: MakeCard):
    text = " ".join(render(make_card()).split())
    assert "These results came without pictures" in text
    assert "data:image" not in text


def test_a_card_with_pictures_and_one_without(make_card: MakeCard, tmp_path: Path):
    keep(tmp_path, make_card(), pictures=2)
    keep(tmp_path, make_card(defense="jpeg"))
    outline = Outline(render_report(collect([tmp_path])))
    assert outline.count("details", class_="gallery") == 1
    assert sum(tag == "img" for tag, _ in outline.tags) == 2 * 5
    assert "These results came without pictures" not in "".join(outline.text)


def test_the_clean_and_undefended_rows_are_open(make_card: MakeCard, tmp_path: Path):
    strong = [True] * 2 + [False] * 6
    cards = [make_card(), make_card(attack="fgsm"), make_card([True] * 7 + [False], defense="tecoa")]
    keep(tmp_path, *cards, make_card(strong, attack="apgd"), pictures=1)
    outline = Outline(render_report(collect([tmp_path])))
    opened = [found["id"] for tag, found in outline.tags if tag == "details" and "open" in found]
    expected = [cards[2].id, make_card(strong, attack="apgd").id]
    assert opened == [f"pictures-card-{one[:12]}" for one in expected]


def test_images_that_held_are_not_called_flipped(make_card: MakeCard, tmp_path: Path):
    card = make_card()
    folder = keep(tmp_path, card, pictures=1)
    path = folder / "gallery" / gallery_name(card)
    from safetensors.numpy import load_file

    content = {**load_file(path), "predictions": np.array([[0, 0]], dtype=np.int64)}
    save_file(content, path, {"robench": json.dumps({"card": card.id})})
    said = " ".join("".join(Outline(render_report(collect([folder]))).text).split())
    assert "1 of 1 kept, 0 flipped" in said
    assert "(held)" in said


def test_many_pictures_are_thinned_and_the_page_says_so(
    make_card: MakeCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(page, "PIXELS", 2 * 3 * 64)
    keep(tmp_path, make_card(), make_card(defense="jpeg"), pictures=6)
    said = " ".join("".join(Outline(render_report(collect([tmp_path]))).text).split())
    assert said.count("3 of 6 kept") == 2


def test_beyond_a_limit_cards_are_in_the_table_only(make_card: MakeCard, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page, "MOST_PAGES", 3)
    cards = [make_card(defense=f"d{place}") for place in range(8)]
    text = render(*cards)
    assert text.count('<details class="card"') == 3
    assert "5 further cards are in the table only" in text
    targets = set(re.findall(r' id="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= targets


def test_a_thousand_cards_make_a_page(make_card: MakeCard):
    cards = [
        make_card([place < 10 + row for place in range(40)], defense=f"d{row}", eps=eps / 255, attack=attack)
        for row in range(25)
        for eps in range(1, 21)
        for attack in ("fgsm", "pgd")
    ]
    text = render(*cards)
    assert text.count('<tr role="row" class=') == 500
    assert text.count('<details class="card"') == page.MOST_PAGES
    assert len(text) < 20_000_000


# What may run, and what is fetched


def test_only_the_package_s_script_may_run_and_nothing_may_be_fetched(zoo: list[Card]):
    text = render(*zoo)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    (policy,) = [
        found["content"]
        for tag, found in Outline(text).tags
        if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not re.search(r"https?://|//[a-z]+\.", text.replace(script, ""))
    assert "@import" not in text
    assert "url(" not in text


def test_the_same_cards_give_the_same_bytes(zoo: list[Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = render(*zoo)
    for seed in range(5):
        assert render(*random.Random(seed).sample(zoo, len(zoo))) == text
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert render(*zoo) == text


EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'); alert(1); ('",
    "</style><b>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe",
    "\x1b[31m\x07",
    "\ud800",
    "a\nb\r\n\tc",
    "x" * 5_000,
    "",
]


def poisoned(card: Card, evil: str) -> Card:
    replace = msgspec.structs.replace
    history = [{evil: 1.0, "epoch": 1.0}]
    return replace(
        card,
        created=evil,
        data=replace(card.data, classes=[evil, evil + "2"]),
        training=replace(card.training, history=history),
        environment=replace(card.environment, platform=evil, revision=evil, python=evil, robench=evil),
        cell=replace(card.cell, given={"n": [evil]}),
        model=replace(card.model, inference=[evil]),
    )


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_hostile_text_adds_no_markup(make_card: MakeCard, evil: str):
    def page_of(text: str) -> Outline:
        name: Any = text[:180]
        card = make_card(
            dataset=name, victim=name, defense=name, attack=name, surrogate=name, access="transfer",
            attack_changed={"why": text}, defense_changed={"how": text}, packages={text: text}, device=text,
            verdict="SUSPECT", checks=[(name, "suspect", text)],
        )  # fmt: skip
        return Outline(render(make_card(), poisoned(make_card(defense="x"), text), poisoned(card, text)))

    found, harmless = page_of(evil), page_of("zz")
    assert sorted(tag for tag, _ in found.tags) == sorted(tag for tag, _ in harmless.tags)
    names = {key for _, attributes in found.tags for key in attributes}
    assert names == {key for _, attributes in harmless.tags for key in attributes}
    text = "".join(found.text)
    for letter in "\u202e\x1b\x07\ud800":
        assert letter not in text
    assert len(text) < 200_000
