"""How models and defenses were trained, and how accurate several models are, trained and tested: plots of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from robench.contracts.parameters import format_value
from robench.evidence.card import Card, ComponentRecord
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render.chart import Axis, Mark, Plot, Series, percentages
from robench_leaderboard.render.formatting import decimal
from robench_leaderboard.report.plots import radius
from robench_leaderboard.report.report_data import Report

#: What a quantity of the validation images is called, beside that of the training images.
VALIDATION = "validation_"
ACCURACY = Axis("accuracy, %", percent=True)
#: Models that are worth a plot of their accuracies.
FEWEST = 3


def training(report: Report) -> Iterator[Plot]:
    """Yield a plot for each quantity that the fits logged: a line for each fit, dashed on its validation images."""
    fits = {
        (row.victim, card.model.defended): (row, history)
        for _, row in report.rows
        for card in row.cards
        if (history := _logged(card))
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


def model_accuracy(report: Report) -> Iterator[Plot]:
    """Yield, for each dataset with several undefended models, their accuracy: trained on, tested on, and attacked."""
    found: dict[tuple[str, str], list[Row]] = {}
    for board, row in report.rows:
        if row.undefended:
            found.setdefault((board.setting.dataset, board.setting.test), []).append(row)
    place = 0
    for (dataset, _), rows in found.items():
        victims = list(dict.fromkeys(row.victim for row in sorted(rows, key=_recorded)))
        if len(victims) < FEWEST:
            continue
        place += 1
        called = _told_apart({row.victim: row.cards[0].cell.victim for row in rows})
        spelled = tuple((float(number + 1), called[victim]) for number, victim in enumerate(victims))
        series = tuple(one for one in _measures(rows, victims) if one.marks)
        listed = ", ".join(f"{number:.0f} {name}" for number, name in spelled)
        says = "; ".join(f"{one.name}: {', '.join(f'{mark.y:.1f} %' for mark in one.marks)}" for one in series)
        names = tuple((number, f"{number:.0f}") for number, _ in spelled)
        axis = Axis("model", names=names, spelled=spelled)
        title = plain(f"{report.brief(dataset)}: {listed}", 400)
        yield Plot(f"models-{place}", "Accuracy by model", title, f"{says}.", axis, ACCURACY, series)


def _told_apart(victims: Mapping[str, ComponentRecord]) -> dict[str, str]:
    """Return each model's name, with those of its parameters in which one of them differs from the others."""
    every = [record.parameters for record in victims.values()]
    differ = {key for known in every for key in known if any(other.get(key) != known[key] for other in every)}
    found = {}
    for label, record in victims.items():
        inside = [f"{key}={format_value(key, value)}" for key, value in record.changed.items() if key in differ]
        found[label] = plain(" ".join([record.name, *inside]), 60)
    return found


def _recorded(row: Row) -> str:
    """Return when the row's first card was made: the order in which the models were named."""
    return min(card.created for card in row.cards)


def _measures(rows: Sequence[Row], victims: Sequence[str]) -> Iterator[Series]:
    places = {victim: float(place + 1) for place, victim in enumerate(victims)}
    clean: dict[str, Mark] = {}
    trained: dict[str, Mark] = {}
    attacked: dict[str, dict[str, Mark]] = {}
    for row in rows:
        x, (y, upright) = places[row.victim], percentages(row.clean)
        clean.setdefault(row.victim, Mark(x, y, None, upright))
        accuracy = [entry["accuracy"] for entry in _logged(row.cards[0]) if "accuracy" in entry]
        if accuracy:
            trained.setdefault(row.victim, Mark(x, 100 * accuracy[-1]))
        if row.headline is not None:
            y, upright = percentages(row.headline)
            attacked.setdefault(radius(row.cards[0].cell.threat), {})[row.victim] = Mark(x, y, None, upright)
    yield _line("training images, in the last epoch", 1, trained, 1)
    yield _line("test images", 0, clean, 0)
    for place, (threat, marks) in enumerate(attacked.items()):
        yield _line(f"under attack, {threat}", 2 + place, marks, 0)


def _line(name: str, tone: int, marks: dict[str, Mark], dash: int) -> Series:
    return Series(name, tone, tuple(sorted(marks.values(), key=lambda mark: mark.x)), dash, joined=True)


def _logged(card: Card) -> list[dict[str, float]]:
    """Return the curves of the defense's fit; of an undefended victim, those of its own training."""
    own = card.model.training.history if card.model.training is not None and card.cell.undefended else []
    return card.training.history or own
