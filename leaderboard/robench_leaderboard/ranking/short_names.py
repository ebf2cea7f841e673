"""Names of rows in short: of components with many parameters, what all rows share is said once beside the table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from robench.contracts.parameters import format_value
from robench.evidence.card import ComponentRecord, Scalar
from robench_leaderboard.ranking.row import Row

if TYPE_CHECKING:
    from robench_leaderboard.ranking.board import Board

#: Letters of a label that stands in a table as it is.
LONGEST = 40


def with_short_names(rows: Sequence[Row]) -> tuple[list[Row], tuple[str, ...]]:
    """Return the rows with short names, and what was left out of them, such as ``tecoa: epochs=5, rank=4``.

    A label of at most 40 letters stays. Of longer ones, the parameters that all rows of that component have alike are
    left out; those that tell rows apart stay, with a space after each comma, where a line may break. A victim that is
    the only one is named in the heading, in full.
    """
    defenses = Shortened(row.cards[0].cell.defense for row in rows)
    victims = Shortened(row.cards[0].cell.victim for row in rows)
    one = len({row.victim for row in rows}) == 1
    named = [
        replace(
            row,
            short_defense=defenses.of(row.cards[0].cell.defense),
            short_victim=victims.of(row.cards[0].cell.victim),
        )
        for row in rows
    ]
    return named, (*defenses.left_out, *(() if one else victims.left_out))


def named_alike(boards: Sequence[Board]) -> tuple[list[Board], tuple[str, ...]]:
    """Return boards that stand in one table with names that are short among all their rows, and what is left out."""
    every = [row for board in boards for row in board.rows]
    named, shared = with_short_names(every)
    short = {id(row): other for row, other in zip(every, named, strict=True)}
    return [
        replace(
            board,
            ranked=tuple(short[id(row)] for row in board.ranked),
            unranked=tuple(short[id(row)] for row in board.unranked),
            shared=shared,
        )
        for board in boards
    ], shared


class Shortened:
    """Hold which parameters the components of one name share."""

    def __init__(self, components: Iterable[ComponentRecord]) -> None:
        found: dict[str, list[ComponentRecord]] = defaultdict(list)
        for each in components:
            found[each.name].append(each)
        self._shared = {name: _shared(same) for name, same in found.items()}

    def of(self, component: ComponentRecord) -> str:
        """Return a component's label without what it shares with the others of its name."""
        shared = self._shared[component.name]
        if len(component.label) <= LONGEST and not shared:
            return component.label
        inside = _words({key: value for key, value in component.changed.items() if key not in shared})
        return f"{component.name} [{inside}]" if inside else component.name

    @property
    def left_out(self) -> list[str]:
        """Return a phrase for each name of which something is left out."""
        return [f"{name}: {_words(shared)}" for name, shared in sorted(self._shared.items()) if shared]


def _shared(components: Sequence[ComponentRecord]) -> dict[str, Scalar]:
    if max(len(each.label) for each in components) <= LONGEST:
        return {}
    first, *others = (each.changed for each in components)
    return {key: value for key, value in first.items() if all(_same(other, key, value) for other in others)}


def _same(changed: Mapping[str, Scalar], key: str, value: Scalar) -> bool:
    return key in changed and format_value(key, changed[key]) == format_value(key, value)


def _words(parameters: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{key}={format_value(key, value)}" for key, value in sorted(parameters.items()))
