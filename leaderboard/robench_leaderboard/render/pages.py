"""Write the three pages, or check that they are what the cards give: the same cards give the same bytes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from robench.errors import StoreError
from robench.evidence.card import Card
from robench.evidence.files import write_whole
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.ranking.evidence_rule import EVERYTHING, EvidenceRule
from robench_leaderboard.render.card_addresses import CardAddress, addresses_in, no_address
from robench_leaderboard.render.html import html_of
from robench_leaderboard.render.markdown import markdown_of
from robench_leaderboard.render.page_places import check_ours, check_rows
from robench_leaderboard.render.to_json import of_boards, render_json

MARKDOWN, HTML, JSON = FILE_NAMES = ("LEADERBOARD.md", "index.html", "leaderboard.json")

#: A difference longer than this says enough with its first lines.
_MOST_LINES = 400


def render_pages(
    cards: Iterable[Card], rule: EvidenceRule = EVERYTHING, address: CardAddress = no_address
) -> dict[str, str]:
    """Return the content of each page by its file name; ``address`` is where a page finds a card's file."""
    found = boards(cards, rule)
    return {
        MARKDOWN: markdown_of(found, rule, address),
        HTML: html_of(found, rule, address),
        JSON: render_json(of_boards(found, rule)),
    }


def write_leaderboard(
    cards: Iterable[Card],
    folder: Path,
    rule: EvidenceRule = EVERYTHING,
    places: Sequence[Path] = (),
    option: str = "-o",
) -> Path:
    """Write the pages into ``folder``, atomically, unless the same bytes are there; return the Markdown page's path.

    The pages link the cards' files that lie in one of the folders ``places`` below ``folder``. ``option`` is what names
    the folder; StoreError if pages of other cards, or somebody else's, would be overwritten.
    """
    check_ours(folder, option)
    pages = render_pages(cards, rule, addresses_in(places, folder))
    check_rows(folder, pages[JSON], places, option)
    for name, content in pages.items():
        write_whole(folder / name, content.encode())
    return folder / MARKDOWN


def check_leaderboard(
    cards: Iterable[Card], folder: Path, rule: EvidenceRule = EVERYTHING, places: Sequence[Path] = ()
) -> str:
    """Return the differences between the pages in ``folder`` and what the cards give; empty if there are none."""
    pages = render_pages(cards, rule, addresses_in(places, folder)).items()
    return "\n".join(difference for name, content in pages if (difference := _compare(folder / name, content)))


def _compare(file: Path, content: str) -> str:
    try:
        # Text mode: a checkout that turned line ends into CRLF is no difference.
        committed = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    except OSError as error:
        raise StoreError(f"{file} cannot be read ({error.strerror}).") from None
    lines = committed.split("\n"), content.split("\n")
    found = list(difflib.unified_diff(*lines, f"{file} (committed)", f"{file} (from the cards)", n=1, lineterm=""))
    more = [f"... and {len(found) - _MOST_LINES:,} more lines"] if len(found) > _MOST_LINES else []
    return "\n".join([*found[:_MOST_LINES], *more])
