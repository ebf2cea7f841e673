"""How models and defenses were trained: plots of a report."""

from __future__ import annotations

from collections.abc import Iterator

from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.render.chart import Axis, Mark, Plot, Series
from robench_leaderboard.render.formatting import decimal
from robench_leaderboard.report.report_data import Report

#: What a quantity of the validation images is called, beside that of the training images.
VALIDATION = "validation_"


def training(report: Report) -> Iterator[Plot]:
    """Yield a plot for each quantity that the fits logged: a line for each fit, dashed on its validation images."""
    fits = {
        (row.victim, card.model.defended): (row, history)
        for _, row in report.rows
        for card in row.cards
        if (history := logged(card))
    }
    lines: dict[str, list[Series]] = {}
    steps: dict[str, str] = {}
    for row, history in fits.values():
        step = next((name for name in ("epoch", "step") if all(name in entry for entry in history)), "")
        metrics = {name for entry in history for name in entry} - {step}
        for metric in sorted(metrics, key=lambda name: (name.removeprefix(VALIDATION), name.startswith(VALIDATION))):
            plain_name = metric.removeprefix(VALIDATION)
            beside = plain_name != metric and plain_name in metrics
            marks = tuple(
                Mark(entry[step] if step else place + 1.0, entry[metric])
                for place, entry in enumerate(history)
                if metric in entry
            )
            name = f"{report.name(row)}, validation" if beside else report.name(row)
            series = Series(name, report.tone(row), marks, int(beside), joined=True)
            lines.setdefault(plain_name if beside else metric, []).append(series)
            steps.setdefault(plain_name if beside else metric, step or "logged point")
    # One point is no curve.
    drawn = {metric: series for metric, series in lines.items() if any(len(one.marks) > 1 for one in series)}
    for place, (metric, found) in enumerate(sorted(drawn.items())):
        name = plain(metric, 60).replace("_", " ")
        ends = ", ".join(f"{one.name} ends at {decimal(one.marks[-1].y)}" for one in found[:8])
        key = f"training-{place + 1}"
        yield Plot(key, "Training", name, f"{ends}.", Axis(steps[metric]), Axis(name), tuple(found))


def logged(card: Card) -> list[dict[str, float]]:
    """Return the curves of the defense's fit; of an undefended victim, those of its own training."""
    own = card.model.training.history if card.model.training is not None and card.cell.undefended else []
    return card.training.history or own
