"""Render rankings as index.html: one file, no library, nothing fetched; everything from a card is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.across_datasets import across_datasets
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.evidence_rule import EVERYTHING, EvidenceRule
from robench_leaderboard.ranking.row import per_image
from robench_leaderboard.render import filters, formatting, page_limits, published_table, svg_drawing, templates
from robench_leaderboard.render.card_addresses import CardAddress, no_address
from robench_leaderboard.render.chart import Plot
from robench_leaderboard.render.clean_robust_plot import clean_robust
from robench_leaderboard.render.legend import terms_of
from robench_leaderboard.render.page_limits import ShownBoard, Total, shorten

if TYPE_CHECKING:
    from jinja2 import Environment


PACKAGE = "robench_leaderboard.render"


def html_of(found: Sequence[Board], rule: EvidenceRule = EVERYTHING, address: CardAddress = no_address) -> str:
    """Return the page of these rankings; ``address`` is where a card can be read."""
    return (
        environment()
        .get_template("index.html.j2")
        .render(
            boards=shorten(found, page_limits.HTML),
            total=Total.of(found),
            terms=terms_of(found),
            tables=across_datasets(found),
            rule=rule.words,
            subject=_subject(found),
            address=address,
            trade_off=_trade_off,
        )
    )


def _subject(found: Sequence[Board]) -> str:
    """Name the datasets of a page for its title; of many, the first three."""
    names = list(dict.fromkeys(plain(board.setting.dataset.partition("[")[0], 60) for board in found))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _trade_off(shown: ShownBoard, number: int) -> Plot | None:
    """Return the clean-against-robust plot of the rows that a board shows at once; None with fewer than two."""
    board = shown.board
    one = len(board.victims) == 1
    # Grey is the undefended victim; of several victims, each row has a colour of its own.
    titles = sorted({(row.title, row.victim) for row in board.rows if not (one and row.undefended)})
    rows = [
        (
            row,
            formatting.title(row) if one else formatting.named_on(row),
            0 if one and row.undefended else titles.index((row.title, row.victim)) + 1,
        )
        for row in shown.visible
    ]
    return clean_robust(f"clean-robust-{number}", formatting.heading(board), rows)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Return the templates' environment: all text is escaped, and cut to a line that obeys nothing."""
    found = templates.environment(PACKAGE, _line, html=True, trailing_newline=True)
    found.filters |= filters.NUMBERS | filters.TEXTS
    found.filters |= {"key": _sort_key, "draw": svg_drawing.draw, "swatch": svg_drawing.swatch}
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


def _inline(*names: str) -> Any:
    """Return files of ours as they are, joined; a script comes with the digest that the page's policy allows."""
    from markupsafe import Markup

    text = "".join(templates.template_text(PACKAGE, name) for name in names)
    # Only files of this package come here, never a card's text.
    return {"text": Markup(text), "digest": templates.csp_hash(text)}  # noqa: S704


def _sort_key(value: float | None) -> str:
    """Return what a column sorts by; rows without a value go last."""
    return "" if value is None else f"{value:.6g}"
