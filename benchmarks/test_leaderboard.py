"""What a leaderboard of 5,000 cards costs, from files to pages, beside reading the same files as bare JSON.

    python -m pytest benchmarks/test_leaderboard.py -s --benchmark-disable-gc

No time is asserted; that the pages stay small is (GitHub shows Markdown up to half a megabyte).
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest

from robench.evidence.card import Card
from robench.evidence.card_file import read, write
from robench.evidence.statistics import pack_bits, proportion
from robench_leaderboard import boards, read_cards
from robench_leaderboard.render.html import html_of
from robench_leaderboard.render.markdown import markdown_of
from robench_leaderboard.render.to_json import of_boards, render_json

from .interleave import interleave, ratios, report, timed_rows

REAL = Path(__file__).resolve().parents[1] / "leaderboard" / "cards"
DEFENSES, EPS, ATTACKS = 250, (2, 4, 8, 16), ("fgsm", "pgd", "apgd", "square", "fab")


def changed(record, **values):
    return msgspec.structs.replace(record, **values)


def outcome(like, draw, rate):
    """Return an outcome on as many images, whose tables agree with its bits."""
    mask = [draw.random() < rate for _ in range(like.n)]
    low, high = proportion(sum(mask), like.n)
    per_class = [[1.0, sum(mask) / like.n, 0.5, float(like.n)]] + [[0.0] * 4] * (len(like.per_class) - 1)
    values = {"correct": sum(mask), "low": low, "high": high, "bits": pack_bits(mask), "per_class": per_class}
    return changed(like, **values, macro_f1=0.5, confusion=None, top5=like.n)


def synthetic(card: Card, defense: int, eps: int, attack: str, draw: random.Random) -> Card:
    """Return a card of a defense, radius and attack that never were, as large as a real one."""
    parts = {
        "defense": changed(card.cell.defense, name=f"defense-{defense}"),
        "attack": changed(card.cell.attack, name=attack),
        "threat": changed(card.cell.threat, eps=eps / 255),
    }
    robust = outcome(card.robust, draw, 0.9 - 0.03 * eps - 0.001 * defense)
    key = f"{defense:032x}{eps:016x}{ATTACKS.index(attack):016x}"
    return changed(card, id=key, cell=changed(card.cell, **parts), robust=robust)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of 5,000 cards made from a real one."""
    real, draw = read(next(REAL.glob("digits-tiny-clip-vpt-pgd-Linf-4*"))), random.Random(0)
    root = tmp_path_factory.mktemp("cards")
    for defense in range(DEFENSES):
        for eps in EPS:
            for attack in ATTACKS:
                write(synthetic(real, defense, eps, attack, draw), root)
    return root


def test_five_thousand_cards(benchmark, folder):
    cards = read_cards([folder])
    assert len(cards) == 5000
    found = boards(cards)
    contestants = {
        "bare JSON": lambda: [json.loads(path.read_bytes()) for path in folder.glob("*.json")],
        "read and check": lambda: read_cards([folder]),
        "rank": lambda: boards(read_cards([folder])),
        "LEADERBOARD.md": lambda: markdown_of(found),
        "index.html": lambda: html_of(found),
        "leaderboard.json": lambda: render_json(of_boards(found)),
    }
    seconds = benchmark.pedantic(interleave, (contestants, 3), rounds=1, iterations=1)
    table = ratios(seconds, "bare JSON")
    benchmark.extra_info.update(ratio_to_bare_json=table, seconds=seconds)
    report("5,000 cards, median of 3 rounds", [("", "to bare JSON", "seconds"), *timed_rows(seconds, table)])
    assert len(markdown_of(found)) < 500_000
    assert len(html_of(found)) < 5_000_000
