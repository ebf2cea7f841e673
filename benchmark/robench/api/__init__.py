"""The public API: run a grid, evaluate a module, rank cards, say what a run would do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from robench.api.device import choose_device as choose_device
from robench.api.device import go_offline as go_offline
from robench.api.device import is_offline as is_offline
from robench.api.evaluation import evaluate as evaluate
from robench.api.grid import CellsFailed as CellsFailed
from robench.api.grid import comparison_groups as comparison_groups
from robench.api.grid import run as run
from robench.evidence.card import Card
from robench.plan.arguments import spec_from as spec_from

if TYPE_CHECKING:
    from robench_leaderboard.render.json_schema import Leaderboard


def leaderboard(cards: Iterable[Card]) -> Leaderboard:
    """Return the rankings of these cards, as in ``leaderboard.json``: boards of rows, best first.

    Names and sentences in it are cut to length and have no control characters; they are not escaped.
    """
    from robench_leaderboard.render.to_json import publish

    return publish(cards)
