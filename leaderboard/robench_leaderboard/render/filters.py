"""The filters that every page's templates share: numbers, names, tables over datasets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.certified_share import described
from robench_leaderboard.render import datasets_table, formatting, published_table

#: What comes of these are digits, signs and words of ours: no text of a card.
NUMBERS: dict[str, Callable[..., str]] = {
    "percent": formatting.percent,
    "rate": formatting.rate,
    "robust": formatting.robust,
    "gain": formatting.gain_interval,
    "tax": formatting.tax_interval,
    "change": formatting.change,
    "spread": formatting.spread,
    "seed_mean": formatting.seed_mean,
    "front": formatting.front,
    "decimal": formatting.decimal,
    "megabytes": formatting.megabytes,
    "trainable": formatting.trainable,
}
#: What comes of these holds texts of cards, which the page has to escape.
TEXTS: dict[str, Callable[..., Any]] = {
    "heading": formatting.heading,
    "parameters": formatting.parameters,
    "title": formatting.title,
    "victim": formatting.victim,
    "named_on": formatting.named_on,
    "whole_victim": formatting.whole_victim,
    "shared": formatting.shared,
    "short": plain,
    "certificate": described,
    **datasets_table.FILTERS,
    **published_table.FILTERS,
}
