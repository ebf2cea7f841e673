"""Rank cards, for Python and for exporters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from robench.evidence.card import Card

if TYPE_CHECKING:
    from robench_leaderboard.published import Leaderboard


def leaderboard(cards: Iterable[Card]) -> Leaderboard:
    """Return the rankings of these cards, as in ``leaderboard.json``: boards of rows, best first.

    Names and sentences in it are cut to length and have no control characters; they are not escaped.
    """
    from robench_leaderboard.publish import publish

    return publish(cards)
