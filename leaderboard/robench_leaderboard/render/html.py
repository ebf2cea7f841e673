"""Render rankings as index.html: one file, no library, nothing fetched; everything from a card is escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import across_datasets
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.evidence_rule import EVERYTHING, EvidenceRule
from robench_leaderboard.ranking.row import per_image
from robench_leaderboard.render import datasets_table, formatting, page_limits, published_table, templates
from robench_leaderboard.render.legend import TERMS
from robench_leaderboard.render.page_limits import Total, shorten

if TYPE_CHECKING:
    from jinja2 import Environment


PACKAGE = "robench_leaderboard.render"


def html_of(found: Sequence[Board], rule: EvidenceRule = EVERYTHING) -> str:
    """Return the page of these rankings."""
    shown = shorten(found, page_limits.HTML)
    tables = across_datasets(found)
    template = environment().get_template("index.html.j2")
    return template.render(boards=shown, total=Total.of(found), terms=TERMS, tables=tables, rule=rule.words)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates' environment: all text is escaped, and cut to a line that obeys nothing."""
    found = templates.environment(PACKAGE, _line, html=True, trailing_newline=True)
    shown: dict[str, Callable[..., Any]] = {
        "percent": formatting.percent,
        "rate": formatting.rate,
        "robust": formatting.robust,
        "gain": formatting.gain_interval,
        "tax": formatting.tax_interval,
        "change": formatting.change,
        "spread": formatting.spread,
        "front": formatting.front,
        "decimal": formatting.decimal,
        "trainable": formatting.trainable,
        "megabytes": formatting.megabytes,
        "parameters": formatting.parameters,
        "title": formatting.title,
        "victim": formatting.victim,
        "named_on": formatting.named_on,
        "whole_victim": formatting.whole_victim,
        "shared": formatting.shared,
        "short": plain,
        "key": _sort_key,
    }
    found.filters |= shown | datasets_table.FILTERS | published_table.FILTERS
    found.globals |= published_table.GLOBALS
    found.globals |= {
        "per_image": per_image,
        "software": formatting.software,
        "FEWER": formatting.FEWER,
        "inline": _inline,
    }
    return found


def _line(value: object) -> object:
    """Cut every text; what templates mark as safe (macros, inlined files) is theirs and stays."""
    return plain(value, 800) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _inline(name: str) -> Any:
    """Return a file of ours as it is; a script comes with the digest that the page's policy allows."""
    from markupsafe import Markup

    text = templates.template_text(PACKAGE, name)
    # Only files of this package come here, never a card's text.
    return {"text": Markup(text), "digest": templates.csp_hash(text)}  # noqa: S704


def _sort_key(value: float | None) -> str:
    """Return what a column sorts by; rows without a value go last."""
    return "" if value is None else f"{value:.6g}"
