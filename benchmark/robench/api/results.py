"""What ``robench.run`` returns: the cards, and what a notebook wants of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.errors import RobenchError
from robench.evidence.card import Card, Outcome
from robench.evidence.files import ready_file, ready_folder, write_whole
from robench.evidence.plain_text import plain
from robench.evidence.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

    from robench_leaderboard.render.json_schema import Leaderboard

#: Cards that a repr names; the others are counted.
SHOWN = 20


class Results(list[Card]):
    """Hold the cards of a run, as a list does, with the tables and pictures that are made of them.

    Args:
        cards: the cards, in the order of the request.
        store: the store that holds their pictures; None for cards from elsewhere.
    """

    def __init__(self, cards: Iterable[Card] = (), store: Path | None = None) -> None:
        super().__init__(cards)
        self.store = store

    def __repr__(self) -> str:
        """Return a line a card."""
        lines = [f"Results: {len(self)} card{'' if len(self) == 1 else 's'}", *map(_line, self[:SHOWN])]
        return "\n  ".join([*lines, *([f"and {len(self) - SHOWN} more"] if len(self) > SHOWN else [])])

    def _repr_html_(self) -> str:
        """Return a table, which notebooks show."""
        heads = ("dataset", "victim", "defense", "attack", "access", "eps", "clean %", "robust %", "verdict")
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(card))}</tr>" for card in self)
        head = "".join(f"<th>{name}</th>" for name in heads)
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
            "<p>Percent with Wilson 95 % intervals; what was crafted on another model (transfer) is not robustness.</p>"
        )

    def to_records(self) -> list[dict[str, Any]]:
        """Return one flat dict a card, as :meth:`to_dataframe` has its rows."""
        return [record(card) for card in self]

    def to_dataframe(self) -> DataFrame:
        """Return a row a card as a pandas DataFrame; accuracies are shares."""
        try:
            from pandas import DataFrame
        except ImportError:
            raise RobenchError(
                "to_dataframe() needs pandas, which is not installed; run: pip install pandas."
            ) from None
        return DataFrame(self.to_records())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy over eps with 95 % intervals, a line a model and attack; return matplotlib's axes."""
        try:
            from matplotlib import pyplot
        except ImportError:
            raise RobenchError(
                "plot() needs matplotlib, which is not installed; run: pip install 'robench[figures]'."
            ) from None
        if not self:
            raise RobenchError("There are no cards to plot.")
        axes = ax if ax is not None else pyplot.subplots()[1]
        lines: dict[str, list[Card]] = {}
        for card in self:
            lines.setdefault(self._series(card), []).append(card)
        for name, cards in lines.items():
            _draw(axes, name, sorted(cards, key=lambda card: card.cell.threat.eps))
        axes.set(xlabel="eps, pixel units", ylabel="accuracy, %", ylim=(-2, 102))
        axes.legend(fontsize="small")
        return axes

    def leaderboard(self) -> Leaderboard:
        """Return the rankings, as in ``leaderboard.json``: boards of rows, best first."""
        from robench_leaderboard.render.to_json import publish

        return publish(self)

    def report(self, out: Path | str = "report.html") -> Path:
        """Write the offline page that ``robench report`` writes, and return its path."""
        from robench_leaderboard.report import collect, render_report

        page = Path(out)
        ready_file(page, "out")
        with tempfile.TemporaryDirectory(prefix="robench-") as folder:
            self.save(folder)
            write_whole(page, render_report(collect([Path(folder)])).encode())
        return page

    def save(self, out: Path | str = "results") -> Path:
        """Write cards, pictures and pages into a folder, as ``robench run`` does with ``--out``; return the folder.

        A card keeps what the one in its place holds beyond it: certificates, and what a harder gate found.
        """
        from robench.evidence.gallery import write_gallery
        from robench.evidence.kept_card import write_kept
        from robench_leaderboard import read_cards, write_leaderboard

        folder = Path(out)
        ready_folder(folder, "out")
        for card in self:
            write_kept(card, folder / "cards")
            if self.store is not None:
                write_gallery(Store(self.store), card, folder / "gallery")
        if self:
            write_leaderboard(read_cards([folder / "cards"]), folder, places=[folder / "cards"], option="out")
        return folder

    def _series(self, card: Card) -> str:
        """Return what a line of the plot is called: of dataset, victim and seed what tells the cards apart."""
        cell = card.cell
        named = [cell.defense.label, _attack(card)]
        for value, all_of_them in (
            (cell.victim.label, {one.cell.victim.label for one in self}),
            (cell.dataset.label, {one.cell.dataset.label for one in self}),
            (f"seed {cell.seed}", {str(one.cell.seed) for one in self}),
            (cell.threat.norm, {one.cell.threat.norm for one in self}),
        ):
            named += [value] if len(all_of_them) > 1 else []
        return plain(", ".join(named), 120)


def _draw(axes: Axes, name: str, cards: list[Card]) -> None:
    clean = cards[0].clean
    outcomes = [clean, *(card.robust for card in cards)]
    rates = [100 * outcome.rate for outcome in outcomes]
    below = [max(0.0, rate - 100 * outcome.low) for rate, outcome in zip(rates, outcomes, strict=True)]
    above = [max(0.0, 100 * outcome.high - rate) for rate, outcome in zip(rates, outcomes, strict=True)]
    radii = [0.0, *(card.cell.threat.eps for card in cards)]
    axes.errorbar(radii, rates, yerr=[below, above], marker="o", capsize=2, label=name)


def _attack(card: Card) -> str:
    cell = card.cell
    if cell.surrogate is None:
        return cell.attack_label
    return f"{cell.attack_label} via {'self' if cell.surrogate_is_victim else cell.surrogate.label}"


def _radius(card: Card) -> str:
    return f"{card.cell.threat.norm} {card.cell.threat.counted}"


def _percent(outcome: Outcome) -> str:
    return f"{100 * outcome.rate:.1f} [{100 * outcome.low:.1f}, {100 * outcome.high:.1f}]"


def _line(card: Card) -> str:
    cell = card.cell
    which = f"{cell.defense.label} on {cell.victim.label}, {cell.dataset.label}, {_attack(card)} at {_radius(card)}"
    figures = f"clean {100 * card.clean.rate:.1f} %, under attack {100 * card.robust.rate:.1f} %"
    return f"{plain(which, 160)}, n = {cell.n:,}: {figures}, {card.gate.verdict}"


def _cells(card: Card) -> list[str]:
    cell = card.cell
    names = (cell.dataset.label, cell.victim.label, cell.defense.label, _attack(card))
    words = (cell.threat.access, _radius(card), _percent(card.clean), _percent(card.robust), card.gate.verdict)
    return [plain(text, 120) for text in (*names, *words)]


def record(card: Card) -> dict[str, Any]:
    """Return a card as one flat dict: accuracies are shares, eps in pixel units, times in seconds or milliseconds."""
    from robench_leaderboard.ranking.certified_share import certified_mask

    cell, cost = card.cell, card.cost
    record: dict[str, Any] = {
        "dataset": cell.dataset.label,
        "victim": cell.victim.label,
        "defense": cell.defense.label,
        "attack": cell.attack.label,
        "surrogate": None if cell.surrogate is None else "self" if cell.surrogate_is_victim else cell.surrogate.label,
        "access": cell.threat.access,
        "precision": cell.precision,
        "norm": cell.threat.norm,
        "eps": cell.threat.eps,
        "radius": cell.threat.radius,
        "seed": cell.seed,
        "n": cell.n,
    }
    for name, outcome in (("clean", card.clean), ("robust", card.robust)):
        record |= {name: outcome.rate, f"{name}_low": outcome.low, f"{name}_high": outcome.high}
        record |= {f"{name}_top5": None if outcome.top5 is None else outcome.top5 / outcome.n}
        record |= {f"{name}_macro_f1": outcome.macro_f1}
    mask = certified_mask(card.certificates)
    record |= {"certified": None if mask is None else sum(mask) / cell.n}
    record |= {
        "trainable": card.training.trainable,
        "parameters": card.model.parameters,
        "fit_seconds": cost.fit.seconds,
    }
    record |= {"craft_ms": cost.craft.ms_per_image, "score_ms": cost.score.ms_per_image}
    return record | {"verdict": card.gate.verdict, "level": card.gate.level, "id": card.id, "file": card.file_name}
