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
from robench_leaderboard.render import datasets_table, filters, formatting, page_limits, published_table, templates
from robench_leaderboard.render.card_addresses import CardAddress, no_address
from robench_leaderboard.render.legend import terms_of
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


def markdown_of(found: Sequence[Board], rule: EvidenceRule = EVERYTHING, address: CardAddress = no_address) -> str:
    """Return the page of rankings that are made already; ``address`` is where a card can be read."""
    return _template().render(
        boards=shorten(found, page_limits.MARKDOWN),
        total=Total.of(found),
        terms=terms_of(found),
        tables=across_datasets(found),
        rule=Safe(rule.words),
        address=lambda card: Safe(address(card)),
    )


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
    environment.filters |= {name: _safe(show) for name, show in filters.NUMBERS.items()}
    environment.filters |= filters.TEXTS
    environment.filters |= {
        "html": escape_html,
        "long": _long,
        "heads": lambda table: _cells(datasets_table.heads(table)),
        "words": lambda table, row: _cells(datasets_table.words(table, row)),
        "aligned": lambda table: Safe("--:|:--|" + "--:|" * (len(datasets_table.heads(table)) - 2)),
    }
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
