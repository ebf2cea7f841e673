"""How accurate several undefended models are, trained, tested and attacked, over the same seeds: plots of a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from robench.contracts.parameters import format_value
from robench.evidence.card import ComponentRecord
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.board import Setting
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render.chart import Axis, Interval, Mark, Plot, Series, percentages
from robench_leaderboard.report.plots import radius
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.report.training_plots import logged
from robench_leaderboard.statistics.seed_spread import spread

ACCURACY = Axis("accuracy, %", percent=True)
#: Models that are worth a plot of their accuracies.
FEWEST = 3

#: The rows of one model by seed, and of each seed by board.
Seeds = Mapping[int, Mapping[Setting, Row]]


def model_accuracy(report: Report) -> Iterator[Plot]:
    """Yield, for each dataset with several undefended models, their accuracy: trained on, tested on, and attacked.

    All figures of a model are of the same seeds: of several, the mean with the interval that the tables have.
    """
    found: dict[tuple[str, str], list[tuple[Setting, Row]]] = defaultdict(list)
    for board, row in report.rows:
        if row.undefended:
            found[board.setting.dataset, board.setting.test].append((board.setting, row))
    place = 0
    for (dataset, _), rows in found.items():
        victims = list(dict.fromkeys(row.victim for _, row in sorted(rows, key=lambda pair: _recorded(pair[1]))))
        if len(victims) < FEWEST:
            continue
        place += 1
        of_each = {victim: [pair for pair in rows if pair[1].victim == victim] for victim in victims}
        models = {victim: alike(pairs) for victim, pairs in of_each.items()}
        called = _told_apart({row.victim: row.cards[0].cell.victim for _, row in rows})
        known = {victim: {row.seed for _, row in pairs} for victim, pairs in of_each.items()}
        called = {victim: f"{called[victim]}{_of_seeds(models[victim], known[victim])}" for victim in victims}
        yield _plot(report, f"models-{place}", dataset, models, called)


def alike(rows: Iterable[tuple[Setting, Row]]) -> Seeds:
    """Return the rows of the seeds of a model that were measured alike: on the same boards, under the same attacks.

    Where seeds differ in that, those that rank on most boards count, then those on most boards, then most seeds. Of two
    sets of weights of one seed one counts, on all boards.
    """
    weights: dict[tuple[int, str], dict[Setting, Row]] = defaultdict(dict)
    for setting, row in rows:
        weights[row.seed, row.cards[0].model.defended].setdefault(setting, row)
    groups: dict[Hashable, dict[int, Mapping[Setting, Row]]] = defaultdict(dict)
    for (seed, _), boards in sorted(weights.items(), key=lambda pair: pair[0]):
        groups[frozenset(_met(setting, row) for setting, row in boards.items())].setdefault(seed, boards)
    return max(groups.values(), key=_weight)


def _met(setting: Setting, row: Row) -> Hashable:
    return setting, not row.reasons, frozenset(attack.description for attack in row.attacks)


def _weight(seeds: Seeds) -> tuple[int, int, int, int]:
    boards = next(iter(seeds.values()))
    return sum(not row.reasons for row in boards.values()), len(boards), len(seeds), -min(seeds)


def _of_seeds(seeds: Seeds, known: set[int]) -> str:
    """Return of which seeds a model's figures are, where it has several."""
    numbers = [str(seed) for seed in sorted(seeds)]
    if len(numbers) > 1:
        return f" (mean of seeds {', '.join(numbers)})"
    return f" (seed {numbers[0]})" if len(known) > 1 else ""


def _plot(report: Report, key: str, dataset: str, models: Mapping[str, Seeds], called: Mapping[str, str]) -> Plot:
    spelled = tuple((float(number + 1), called[victim]) for number, victim in enumerate(models))
    series = tuple(one for one in _measures(list(models.values())) if one.marks)
    listed = ", ".join(f"{number:.0f} {name}" for number, name in spelled)
    says = "; ".join(f"{one.name}: {', '.join(f'{mark.y:.1f} %' for mark in one.marks)}" for one in series)
    axis = Axis("model", names=tuple((number, f"{number:.0f}") for number, _ in spelled), spelled=spelled)
    title = plain(f"{report.brief(dataset)}: {listed}", 400)
    return Plot(key, "Accuracy by model", title, f"{says}.", axis, ACCURACY, series)


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


def _measures(models: Sequence[Seeds]) -> Iterator[Series]:
    clean, trained = list[Mark](), list[Mark]()
    attacked: dict[str, list[Mark]] = defaultdict(list)
    for place, seeds in enumerate(models):
        x, boards = place + 1.0, next(iter(seeds.values()))
        first = [next(iter(rows.values())) for rows in seeds.values()]
        clean.append(_mark(x, percentages(first[0].clean), [row.clean_shares for row in first]))
        ends = [[entry["accuracy"] for entry in logged(row.cards[0]) if "accuracy" in entry][-1:] for row in first]
        if all(ends):
            trained.append(Mark(x, 100 * fmean(end for (end,) in ends)))
        for setting, row in boards.items():
            shares = [found for rows in seeds.values() if (found := rows[setting].shares) is not None]
            if row.headline is not None:
                protocol = f", protocol {setting.protocol}" if setting.protocol else ""
                name = f"under attack, {radius(row.cards[0].cell.threat)}{protocol}"
                attacked[name].append(_mark(x, percentages(row.headline), shares))
    yield _line("training images, in the last epoch", 1, trained, 1)
    yield _line("test images", 0, clean, 0)
    for place, (name, marks) in enumerate(attacked.items()):
        yield _line(name, 2 + place, marks, 0)


def _mark(x: float, alone: tuple[float, Interval], shares: Sequence[Sequence[float]]) -> Mark:
    """Return the mark of one seed's accuracy, or of the mean of several seeds' outcomes per image."""
    if len(shares) < 2:
        return Mark(x, alone[0], None, alone[1])
    found = spread(shares)
    return Mark(x, 100 * found.mean, None, (100 * found.low, 100 * found.high))


def _line(name: str, tone: int, marks: Sequence[Mark], dash: int) -> Series:
    return Series(name, tone, tuple(marks), dash, joined=True)
