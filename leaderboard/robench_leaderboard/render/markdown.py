"""Render rankings as LEADERBOARD.md, escaped for Markdown and for the HTML inside it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import across_datasets
from robench_leaderboard.ranking.board import Board, boards
from robench_leaderboard.ranking.evidence_rule import EVERYTHING, EvidenceRule
from robench_leaderboard.ranking.row import Row, per_image
from robench_leaderboard.render import datasets_table, formatting, page_limits, published_table, templates
from robench_leaderboard.render.legend import TERMS
from robench_leaderboard.render.page_limits import Total, shorten

if TYPE_CHECKING:
    from jinja2 import Template

#: A backslash is enough for these; what matters to HTML, tables, code spans or math becomes an entity.
_PUNCTUATION = re.compile(r"([\\*_\[\]#~])")
_ENTITIES = str.maketrans({"|": "&#124;", "`": "&#96;", "$": "&#36;", "@": "&#64;"})


class Safe(str):
    """Mark text that is Markdown or HTML already; everything else a template prints is escaped."""

    __slots__ = ()


def render_markdown(cards: Iterable[Card]) -> str:
    """Return the page of these cards."""
    return markdown_of(boards(cards))


def markdown_of(found: Sequence[Board], rule: EvidenceRule = EVERYTHING) -> str:
    """Return the page of rankings that are made already."""
    shown = shorten(found, page_limits.MARKDOWN)
    tables = across_datasets(found)
    return _template().render(boards=shown, total=Total.of(found), terms=TERMS, tables=tables, rule=Safe(rule.words))


def escape(text: object, limit: int = 300) -> Safe:
    """Return ``text`` as one line that Markdown and HTML show literally."""
    if isinstance(text, Safe):
        return text
    literal = _PUNCTUATION.sub(r"\\\1", plain(text, limit))
    literal = html.escape(literal, quote=False).translate(_ENTITIES)
    # GitHub turns bare addresses into links.
    return Safe(re.sub(r"(?i)(?<=www)\.", "&#46;", literal.replace("://", "&#58;//")))


def escape_html(text: object, limit: int = 300) -> Safe:
    """Return ``text`` for the inside of an HTML element, where Markdown is not read."""
    return Safe(html.escape(plain(text, limit)))


@lru_cache(maxsize=1)
def _template() -> Template:
    # Not jinja2's autoescape: that knows HTML only, and this is Markdown.
    environment = templates.environment("robench_leaderboard.render", escape, html=False, trailing_newline=True)
    # No control or HTML character comes from numbers, so these are safe as they are.
    shown: dict[str, Callable[[Any], str]] = {
        "percent": formatting.percent,
        "rate": formatting.rate,
        "robust": formatting.robust,
        "gain": formatting.gain_interval,
        "tax": formatting.tax_interval,
        "spread": formatting.spread,
        "front": formatting.front,
        "decimal": formatting.decimal,
        "megabytes": formatting.megabytes,
        "trainable": formatting.trainable,
    }
    environment.filters |= {name: _safe(show) for name, show in shown.items()}
    environment.filters |= {
        "parameters": formatting.parameters,
        "html": escape_html,
        "title": formatting.title,
        "victim": formatting.victim,
        "named_on": formatting.named_on,
        "whole_victim": formatting.whole_victim,
        "shared": formatting.shared,
        "short": plain,
        "long": _long,
    }
    environment.filters |= {
        "caption": datasets_table.caption,
        "heads": lambda table: _cells(datasets_table.heads(table)),
        "words": lambda table, row: _cells(datasets_table.words(table, row)),
        "aligned": lambda table: Safe("--:|:--|" + "--:|" * (len(datasets_table.heads(table)) - 2)),
        "legend": datasets_table.legend,
    }
    environment.filters |= published_table.FILTERS
    environment.filters |= {"cells": _cells}
    environment.globals |= published_table.GLOBALS
    environment.globals |= {
        "transfers": _transfers,
        "software": formatting.software,
        "per_image": per_image,
        "FEWER": Safe(formatting.FEWER),
    }
    return environment.get_template("LEADERBOARD.md.j2")


def _cells(words: Sequence[str]) -> Safe:
    return Safe(" | ".join(map(escape, words)))


def _safe(show: Callable[[Any], str]) -> Callable[[Any], Safe]:
    return lambda value: Safe(show(value))


def _long(text: object) -> Safe:
    return escape(text, 800)


def _transfers(row: Row) -> Safe:
    """Return a line per surrogate, for one table cell."""
    lines = (f"{escape(via, 60)}: {formatting.percent(score)}" for via, score in row.transfer.items())
    return Safe("<br>".join(lines) or formatting.NONE)
