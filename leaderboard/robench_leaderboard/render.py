"""Render cards as LEADERBOARD.md: the same cards give the same bytes."""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.errors import StoreError
from robench.evidence.atomic import write_whole
from robench.evidence.card import Card
from robench_leaderboard import wording
from robench_leaderboard.rank import boards
from robench_leaderboard.rows import Row, per_image

if TYPE_CHECKING:
    from jinja2 import Template

FILE_NAME = "LEADERBOARD.md"

#: A backslash is enough for these; what matters to HTML, tables, code spans or math becomes an entity.
_PUNCTUATION = re.compile(r"([\\*_\[\]#~])")
_ENTITIES = str.maketrans({"|": "&#124;", "`": "&#96;", "$": "&#36;", "@": "&#64;"})


class Safe(str):
    """Mark text that is Markdown or HTML already; everything else a template prints is escaped."""

    __slots__ = ()


def render_markdown(cards: Iterable[Card]) -> str:
    """Return the page."""
    return _template().render(boards=boards(cards))


def write_leaderboard(cards: Iterable[Card], folder: Path) -> Path:
    """Write the page into ``folder``, atomically, unless the same bytes are there; return its path."""
    path = folder / FILE_NAME
    write_whole(path, render_markdown(cards).encode())
    return path


def check_leaderboard(cards: Iterable[Card], file: Path) -> str:
    """Return the difference between the page in ``file`` and what the cards give; empty if there is none."""
    try:
        # Text mode: a checkout that turned line ends into CRLF is no difference.
        committed = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    except OSError as error:
        raise StoreError(f"{file} cannot be read ({error.strerror}).") from None
    lines = committed.split("\n"), render_markdown(cards).split("\n")
    return "\n".join(difflib.unified_diff(*lines, f"{file} (committed)", f"{file} (from the cards)", lineterm=""))


def escape(text: object, limit: int = 300) -> Safe:
    """Return ``text`` as one line that Markdown and HTML show literally."""
    if isinstance(text, Safe):
        return text
    literal = _PUNCTUATION.sub(r"\\\1", wording.plain(text, limit))
    literal = html.escape(literal, quote=False).translate(_ENTITIES)
    # GitHub turns bare addresses into links.
    return Safe(re.sub(r"(?i)(?<=www)\.", "&#46;", literal.replace("://", "&#58;//")))


def escape_html(text: object, limit: int = 300) -> Safe:
    """Return ``text`` for the inside of an HTML element, where Markdown is not read."""
    return Safe(html.escape(wording.plain(text, limit)))


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Not jinja2's autoescape: that knows HTML only, and this is Markdown.
    environment = Environment(  # noqa: S701
        loader=PackageLoader("robench_leaderboard"),
        finalize=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # No control or HTML character comes from numbers, so these are safe as they are.
    shown: dict[str, Callable[[Any], str]] = {
        "percent": wording.percent,
        "robust": wording.robust,
        "gain": wording.gain,
        "decimal": wording.decimal,
        "megabytes": wording.megabytes,
    }
    environment.filters |= {name: _safe(show) for name, show in shown.items()}
    environment.filters |= {
        "parameters": wording.parameters,
        "html": escape_html,
        "title": wording.title,
        "short": wording.plain,
        "long": _long,
    }
    environment.globals |= {
        "transfers": _transfers,
        "software": _software,
        "per_image": per_image,
        "FEWER": Safe(wording.FEWER),
    }
    return environment.get_template("LEADERBOARD.md.j2")


def _safe(show: Callable[[Any], str]) -> Callable[[Any], Safe]:
    return lambda value: Safe(show(value))


def _long(text: object) -> Safe:
    return escape(text, 800)


def _transfers(row: Row) -> Safe:
    """Return a line per surrogate, for one table cell."""
    lines = (f"{escape(via, 60)}: {wording.percent(score)}" for via, score in row.transfer.items())
    return Safe("<br>".join(lines) or wording.NONE)


def _software(row: Row) -> list[str]:
    return sorted({wording.software(card) for card in row.cards})
