"""The report's charts: what is drawn against what, for which cards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from robench.contracts.threat_model import has_ball, radius_of
from robench.evidence.card import ThreatRecord
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.attack_outcome import AttackOutcome
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render.chart import ROBUST, Axis, Mark, Plot, Series, percentages
from robench_leaderboard.render.clean_robust_plot import clean_robust
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.statistics.pareto import front

#: Lines in one plot; of more, those that end highest.
MOST_LINES = 24


def board_title(report: Report, board: Board) -> str:
    """Return the setting in a line."""
    return f"{report.brief(board.setting.dataset)}, {board.setting.contest}"


def radius(threat: ThreatRecord) -> str:
    """Return the norm and eps, such as ``Linf 8/255`` or ``L0 24 px``."""
    return f"{threat.norm} {threat.counted}"


def trade_offs(report: Report) -> Iterator[Plot]:
    """Yield a clean-against-robust plot for each board with something to compare."""
    for place, board in enumerate(report.boards):
        named = [(row, report.name(row, board), report.tone(row)) for row in board.rows]
        found = clean_robust(f"clean-robust-{place + 1}", board_title(report, board), named)
        if found is not None:
            yield found


#: What a defense costs: a name for the choice, the axis, and the figure.
COSTS: tuple[tuple[str, str, Callable[[Row], float | None]], ...] = (
    ("fit time", "seconds to fit", lambda row: row.fit_seconds),
    ("fit passes", "image passes to fit (forwards + backwards)", lambda row: float(_fit_passes(row))),
    ("ms per image", "milliseconds per image to classify", lambda row: row.score_ms),
    ("parameters", "trainable parameters", lambda row: float(row.trainable)),
)


def _fit_passes(row: Row) -> int:
    return max(card.cost.fit.forwards + card.cost.fit.backwards for card in row.cards)


def pareto(report: Report) -> dict[str, list[Plot]]:
    """Return, per kind of cost, a plot of robust accuracy against it for each board with something to compare."""
    return {name: list(_pareto(report, name, label, cost)) for name, label, cost in COSTS}


def _pareto(report: Report, name: str, label: str, cost: Callable[[Row], float | None]) -> Iterator[Plot]:
    for place, board in enumerate(report.boards):
        series = []
        for row in _with_percentages(board):
            spent, (y, upright) = cost(row), percentages(row.headline or row.clean)
            if spent is not None:
                series.append(Series(report.name(row, board), report.tone(row), (Mark(spent, y, None, upright),)))
        if len({one.marks[0].x for one in series}) < 2:  # all cost alike, or there is one
            continue
        corners = front([(one.marks[0].x, one.marks[0].y) for one in series])
        cheapest = [one.name for one in series if (one.marks[0].x, one.marks[0].y) in corners]
        says = f"Nothing is both cheaper and more robust than: {', '.join(cheapest)}. Up and to the left is better."
        key = f"pareto-{name.replace(' ', '-')}-{place + 1}"
        yield Plot(
            key,
            f"Robustness against {name}",
            board_title(report, board),
            says,
            Axis(label, cost=True),
            ROBUST,
            tuple(series),
            corners,
        )


def curves(report: Report) -> Iterator[Plot]:
    """Yield accuracy against eps wherever several radii were measured: a line for each defense and attack."""
    groups: dict[tuple[str, ...], list[tuple[Row, AttackOutcome]]] = {}
    for board, row in report.rows:
        setting = board.setting
        for attack in row.attacks:
            key = (setting.dataset, setting.test, setting.norm, row.victim, attack.access, attack.surrogate)
            groups.setdefault(key, []).append((row, attack))
    place = 0
    for (dataset, _, norm, victim, access, surrogate), found in groups.items():
        n = found[0][1].score.n
        if len({attack.card.cell.threat.eps for _, attack in found}) > 1:
            place += 1
            route = f"{access} via {surrogate}" if surrogate else access
            title = f"{report.brief(dataset)}, {norm}, n = {n:,}, {report.brief(victim)}, {plain(route, 60)}"
            yield _curve(report, f"eps-{place}", title, found)


def _curve(report: Report, key: str, title: str, found: Sequence[tuple[Row, AttackOutcome]]) -> Plot:
    lines: dict[tuple[str, ...], list[tuple[Row, AttackOutcome]]] = {}
    for row, attack in found:
        identity = (row.defense, row.trained_on, str(row.seed), row.cards[0].model.defended, attack.label)
        lines.setdefault(identity, []).append((row, attack))
    attacks = sorted({label for *_, label in lines})
    series = []
    for name, points in zip(_names(list(lines)), lines.values(), strict=True):
        row, label = points[0][0], points[0][1].label
        # At eps = 0 the attack must give the images back (a check of the gate): that is the clean accuracy.
        marks = {0.0: percentages(row.clean)}
        marks |= {attack.card.cell.threat.eps: percentages(attack.score) for _, attack in points}
        drawn = tuple(Mark(eps, y, None, upright) for eps, (y, upright) in sorted(marks.items()))
        series.append(Series(plain(name, 160), report.tone(row), drawn, attacks.index(label), joined=True))
    best = sorted(series, key=lambda one: -one.marks[-1].y)[:MOST_LINES]
    shown, left_out = [one for one in series if one in best], len(series) - len(best)
    radii = sorted({mark.x for one in series for mark in one.marks})
    norm = found[0][1].card.cell.threat.norm
    named = tuple((eps, radius_of(eps, norm) if eps else "0") for eps in radii)
    axis = Axis(f"{'eps' if has_ball(norm) else 'severity'} (0 is the clean accuracy)", names=named)
    transfer = found[0][1].access == "transfer"
    says = f"{len(shown)} lines over {len(radii)} radii, falling from the clean accuracy."
    if not has_ball(norm):
        says = f"{len(shown)} lines over the severities 0 to {max(radii):g}, falling from the clean accuracy."
    measure = f"accuracy under {'transfer' if transfer else 'attack' if has_ball(norm) else 'corruption'}, %"
    return Plot(
        key,
        "Accuracy against eps",
        title,
        says,
        axis,
        Axis(measure, percent=True, zero=True),
        tuple(shown),
        left_out=left_out,
    )


def _names(lines: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a name for each line: defense and attack, with the seed and the weights where they tell lines apart."""
    several = len({seed for _, _, seed, _, _ in lines}) > 1
    names = [
        f"{defense}{f', trained on {home}' if home else ''}{f', seed {seed}' if several else ''}, {label}"
        for defense, home, seed, _, label in lines
    ]
    times = Counter(names)
    return [
        name if times[name] == 1 else f"{name} (weights {line[3][:8]})" for name, line in zip(names, lines, strict=True)
    ]


def _with_percentages(board: Board) -> list[Row]:
    return [row for row in board.rows if row.headline is not None]
