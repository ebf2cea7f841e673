"""Radii as people read them: pixels of L0 and severities of corruptions are never written as a length."""

from __future__ import annotations

import re

import pytest

from robench_leaderboard import render_markdown
from robench_leaderboard.compare.comparison import compare_cards
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.render.html import html_of
from robench_leaderboard.report import render_report
from robench_leaderboard.report.report_data import Report


def cards_of(make_card, norm, attack, *radii):
    return [make_card(norm=norm, attack=attack, eps=eps, defense=name) for eps in radii for name in ("none", "tecoa")]


@pytest.mark.parametrize(
    ("norm", "attack", "radii", "words"),
    [
        ("L0", "sparse-rs", (8.0, 24.0), ("L0 8 px", "L0 24 px")),
        ("patch", "patch", (3.0, 5.0), ("patch 3 px", "patch 5 px")),
        ("corruption", "corruption", (1.0, 3.0), ("corruption severity 1", "corruption severity 3")),
        ("Linf", "pgd", (4 / 255, 8 / 255), ("Linf 4/255", "Linf 8/255")),
    ],
)
def test_every_page_says_what_a_radius_counts(make_card, norm, attack, radii, words):
    cards = cards_of(make_card, norm, attack, *radii)
    pages = (render_markdown(cards), html_of(boards(cards)), render_report(Report(tuple(boards(cards)), {})))
    for page in pages:
        for said in words:
            assert said in page
        if norm != "Linf":
            assert not re.search(r"\b(24|8|3|1)/255", page)
            assert not re.search(rf"{norm} \d+,", page)


def test_a_comparison_says_what_a_radius_counts(make_card):
    first, second = (make_card(norm="L0", attack="sparse-rs", eps=eps) for eps in (8.0, 24.0))
    (pair,) = compare_cards(first, second).pairs
    assert "eps: L0 8 px, L0 24 px" in pair.differs
