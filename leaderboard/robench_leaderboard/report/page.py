"""Render a report as one HTML file that reaches for nothing: the same cards and pictures give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from robench.evidence.card import Outcome
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.attack_outcome import AttackOutcome, Score
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render import filters, formatting, published_table, svg_drawing, templates
from robench_leaderboard.report import (
    confusion_matrices,
    dataset_plots,
    model_accuracy,
    patch_embeddings,
    plots,
    provenance,
    results_table,
    training_plots,
)
from robench_leaderboard.report.pictures import ShownPicture, magnification, show
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.statistics import class_averages

if TYPE_CHECKING:
    from jinja2 import Template

PACKAGE = "robench_leaderboard.report"

#: Pixels of clean images on one page; with more cells, fewer images of each are shown, but at least one.
PIXELS = 2_000_000
#: Cards that get a page of their own, and galleries; the table has them all.
MOST_PAGES = 300
#: Letters of one text of a card.
LONGEST = 600


@dataclass(frozen=True)
class CardPage:
    """Gather what the page says about one card."""

    attack: AttackOutcome
    row: Row
    anchor: str
    pictures: list[ShownPicture]
    stored: int
    featured: bool

    #: The victim and the images, in short.
    subject: str

    @property
    def title(self) -> str:
        """Return the cell in a line."""
        cell = self.attack.card.cell
        attack = f"{plain(self.attack.description, 120)}, {plots.radius(cell.threat)}"
        return f"{formatting.title(self.row)} on {self.subject}, n = {cell.n:,}: {attack}"


def render_report(report: Report) -> str:
    """Return the page."""
    style = templates.template_text(templates.SHARED, "shared.css") + templates.template_text(PACKAGE, "report.css")
    script = templates.template_text(templates.SHARED, "tables.js") + templates.template_text(PACKAGE, "report.js")
    pages = list(card_pages(report))
    return _template().render(
        report=report,
        title=_page_title(report),
        style=style,
        script=script,
        # Only this script may run, whatever else got into the page; and nothing may be fetched.
        hash=templates.csp_hash(script),
        pages=pages,
        anchors={shown.anchor for shown in pages},
        left_out=len(report.cells) - len(pages),
        patch_embeddings=list(patch_embeddings.shown_embeddings(report)),
        charts=charts(report),
        results=results_table.results(report),
        published=report.published,
        claims=list(results_table.claims(report)),
    )


def _page_title(report: Report) -> str:
    """Say what was measured on what; of many victims or datasets, the first three."""
    victims = (report.brief(row.victim) for _, row in report.rows)
    datasets = (report.brief(board.setting.dataset) for board in report.boards)
    return f"Adversarial robustness of {_first(victims)} on {_first(datasets)}"


def _first(names: Iterable[str]) -> str:
    known = sorted(set(names))
    return ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")


def card_pages(report: Report) -> Iterator[CardPage]:
    """Yield the cards that get a page, in the order of the table."""
    cells = [(row, attack) for _, row in report.rows for attack in row.attacks][:MOST_PAGES]
    featured = _featured(report)
    illustrated = sum(attack.card.id in report.galleries for _, attack in cells)
    for row, attack in cells:
        card = attack.card
        gallery = report.galleries.get(card.id)
        pictures = gallery.pictures if gallery is not None else []
        area = card.data.shape[1] * card.data.shape[2]
        count = max(1, PIXELS // (illustrated * area)) if pictures else 0
        factor = magnification(pictures)
        shown = [show(picture, factor) for picture in pictures[:count]]
        subject = f"{report.brief(row.victim)}, {report.brief(card.cell.dataset.label)}"
        yield CardPage(attack, row, anchor(attack), shown, len(pictures), attack in featured, subject)


def _featured(report: Report) -> list[AttackOutcome]:
    """Return the cells whose pictures are open: the first board's first and undefended rows, most hurt in white-box."""
    rows = report.boards[0].rows
    chosen = [rows[0], *(row for row in rows[1:] if row.undefended)]
    found = [[cell for cell in row.white_box if cell.card.id in report.galleries] for row in chosen]
    return [min(cells, key=lambda cell: cell.score.correct) for cells in found if cells]


def anchor(attack: AttackOutcome) -> str:
    """Return the address of a card on the page."""
    return f"card-{attack.card.id[:12]}"


def charts(report: Report) -> dict[str, Any]:
    """Return the plots by section."""
    return {
        "datasets": list(dataset_plots.over_datasets(report)),
        "trade_offs": list(plots.trade_offs(report)),
        "curves": list(plots.curves(report)),
        "pareto": {name: found for name, found in plots.pareto(report).items() if found},
        "models": list(model_accuracy.model_accuracy(report)),
        "training": list(training_plots.training(report)),
        "transfer": list(results_table.transfer_tables(report)),
    }


def _shown(value: Any) -> Any:
    """Take control and direction characters out of whatever text a card put here; autoescape does the rest."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    harmless = len(value) <= LONGEST and value.isascii() and value.isprintable()  # most of 5,000 cards' words
    return value if harmless else plain(value, LONGEST)


def _accuracy(outcome: Outcome) -> str:
    """Return the accuracy with its interval and, for six classes or more, the top-5 accuracy."""
    top5 = Score.top5_of(outcome)
    found = formatting.percent(Score(outcome.correct, outcome.n))
    return found if top5 is None else f"{found}, top-5 {formatting.rate(top5)}"


FILTERS: dict[str, Callable[..., Any]] = {
    **filters.NUMBERS,
    **filters.TEXTS,
    "accuracy": _accuracy,
    "draw": svg_drawing.draw,
    "swatch": svg_drawing.swatch,
    "long": lambda text: escape(plain(text, 20_000)),
    "ours": Markup,  # the package's own style, script and pictures; never anything from a card
}
GLOBALS: dict[str, Any] = {
    **published_table.GLOBALS,
    "anchor": anchor,
    "board_title": plots.board_title,
    "both_averages": class_averages.both,
    "class_scores": confusion_matrices.class_scores,
    "confusion": confusion_matrices.confusion,
    "provenance": provenance.provenance,
    "repeat_command": provenance.repeat_command,
    "share": confusion_matrices.share,
    "tones": svg_drawing.TONES,
    "zip": zip,
}


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = templates.environment(PACKAGE, _shown, html=True, trailing_newline=False)
    environment.filters |= FILTERS
    environment.globals |= GLOBALS
    return environment.get_template("report.html.j2")
