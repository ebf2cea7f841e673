"""The figures of the ledger beside a ranking's rows, as the pages and leaderboard.json show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench.plan.published_rows import Pairing
from robench_leaderboard.ranking.attack_outcome import AttackOutcome
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.published_beside import (
    COLUMNS,
    LEGEND,
    Line,
    beside_cards,
    lines,
    measured,
    notes,
)
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render import json_schema

#: Lines of one ranking that a page shows; leaderboard.json has all.
MOST_LINES = 100


def published(board: Board) -> list[Pairing]:
    """Return the published figures that stand beside a ranking's rows."""
    return beside_cards(card for row in board.rows for card in row.cards)


def shown_lines(pairings: Sequence[Pairing]) -> list[Line]:
    """Return the lines that a page shows."""
    return lines(pairings)[:MOST_LINES]


def in_json(row: Row) -> list[json_schema.PublishedFigure]:
    """Return the published figures of a row, each beside what every card of it measured."""
    return figures(beside_cards(row.cards))


def figures(pairings: Sequence[Pairing]) -> list[json_schema.PublishedFigure]:
    """Return published figures, each beside what every card that it is a figure of measured."""
    return [_figure(pairing, card) for pairing in pairings for card in pairing.cards]


def _figure(pairing: Pairing, card: Card) -> json_schema.PublishedFigure:
    entry, found = pairing.published, measured(pairing, card)
    low, high = (None, None) if found is None or found.interval is None else found.interval
    attack = AttackOutcome(card) if pairing.figure.startswith("robust") else None
    return json_schema.PublishedFigure(
        figure=pairing.figure,
        percent=entry.figures[pairing.figure],
        measured=None if found is None else round(found.rate, 6),
        low=None if low is None else round(low, 6),
        high=None if high is None else round(high, 6),
        attack="" if attack is None else plain(attack.label, 300),
        surrogate="" if attack is None else plain(attack.surrogate, 300),
        name=plain(entry.name, 300),
        source=plain(entry.source, 300),
        place=plain(entry.place, 300),
        split=entry.split,
        note=plain(entry.note, 800),
    )


FILTERS: dict[str, Callable[..., Any]] = {
    "published": published,
    "published_lines": shown_lines,
    "published_notes": notes,
}
GLOBALS: dict[str, Any] = {"PUBLISHED_COLUMNS": COLUMNS, "PUBLISHED_LEGEND": LEGEND}
