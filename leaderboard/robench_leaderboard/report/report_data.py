"""Find a run's cards and pictures on disk, and rank what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.gallery import Gallery, gallery_name, read_gallery
from robench.evidence.judged_card import cards_folder
from robench.evidence.plain_text import plain
from robench.plan.published_rows import Pairing
from robench_leaderboard.ranking.across_datasets import Across, across_datasets
from robench_leaderboard.ranking.attack_outcome import AttackOutcome
from robench_leaderboard.ranking.board import Board, boards
from robench_leaderboard.ranking.evidence_rule import rule_of
from robench_leaderboard.ranking.read_cards import read_cards
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.ranking.short_names import named_alike
from robench_leaderboard.render.formatting import title
from robench_leaderboard.render.published_table import published


@dataclass(frozen=True, eq=False)
class Report:
    """Hold what a report shows.

    Attributes:
        boards: the rankings, in the leaderboard's order.
        galleries: the pictures of each card that has some, by card id.
        shared: the parameters that the rows' short names leave out, since all rows have them.
    """

    boards: tuple[Board, ...]
    galleries: Mapping[str, Gallery]
    shared: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> list[tuple[Board, Row]]:
        """Return every row beside its board, in the order of the table."""
        return [(board, row) for board in self.boards for row in board.rows]

    @cached_property
    def across(self) -> list[Across]:
        """Return the tables over several datasets."""
        return across_datasets(self.boards)

    @cached_property
    def published(self) -> list[Pairing]:
        """Return the published figures that one of the cards is beside."""
        return [pairing for board in self.boards for pairing in published(board)]

    @cached_property
    def cells(self) -> list[AttackOutcome]:
        """Return every card, in the order of the table."""
        return [attack for _, row in self.rows for attack in row.attacks]

    def tone(self, row: Row) -> int:
        """Return the number of the row's colour: 0 for the undefended, the others by name, the same in every chart."""
        return 0 if row.undefended else self._tones[row.defense]

    def name(self, row: Row, board: Board | None = None) -> str:
        """Return what a chart calls the row: its title, with the victim where the board, or the report, has several.

        Among all boards (None) the seed, or the weights, are added where rows of other weights have the same name: on
        its own board each may be the only one.
        """
        name = self._name(row, board)
        alike = self._alike.get(name, {}) if board is None else {}
        if len(alike) > 1 and len(set(alike.values())) == len(alike):
            return f"{name}, seed {row.seed}"
        return f"{name} (weights {row.cards[0].model.defended[:8]})" if len(alike) > 1 else name

    def _name(self, row: Row, board: Board | None) -> str:
        several = len(self._victims[board]) > 1
        return f"{title(row)} on {self.brief(row.victim)}" if several else title(row)

    @cached_property
    def _alike(self) -> dict[str, dict[str, int]]:
        """Return, by name among all boards, the seed of each set of weights that has it."""
        found: dict[str, dict[str, int]] = {}
        for _, row in self.rows:
            found.setdefault(self._name(row, None), {})[row.cards[0].model.defended] = row.seed
        return found

    def brief(self, label: str) -> str:
        """Return a dataset's or victim's label without its parameters, unless they tell it from another one here."""
        base = label.partition("[")[0]
        return plain(base if len(self._labels.get(base, ())) == 1 else label, 60)

    @cached_property
    def _tones(self) -> dict[str, int]:
        known = sorted({row.defense for _, row in self.rows if not row.undefended})
        return {defense: place + 1 for place, defense in enumerate(known)}

    @cached_property
    def _victims(self) -> dict[Board | None, set[str]]:
        """Return the victims of each board, and under None those of all."""
        found: dict[Board | None, set[str]] = {None: set()}
        for board, row in self.rows:
            found[None].add(row.victim)
            found.setdefault(board, set()).add(row.victim)
        return found

    @cached_property
    def _labels(self) -> dict[str, set[str]]:
        """Return the labels of datasets and victims by what stands before their parameters."""
        found: dict[str, set[str]] = {}
        for board, row in self.rows:
            for label in (board.setting.dataset, row.victim):
                found.setdefault(label.partition("[")[0], set()).add(label)
        return found


def collect(paths: Iterable[Path], warn: Callable[[str], None] | None = None) -> Report:
    """Return the report of results folders, folders of cards or card files; ``warn`` as in ``read_cards``.

    Raises:
        CardError: there is no card, or a card or a gallery is not what robench writes.
    """
    found = list(paths)
    places = [cards_folder(path) for path in found]
    cards = read_cards(places, warn)
    if not cards:
        names = ", ".join(map(str, found))
        raise CardError(f"There are no cards in {names}; name a folder that robench run wrote (--out), or card files.")
    rule = rule_of(cards, places, warn=warn or (lambda text: None))
    found_boards, shared = named_alike(boards(cards, rule))
    return Report(tuple(found_boards), galleries_of(cards, places), shared)


def galleries_of(cards: Iterable[Card], places: Iterable[Path]) -> dict[str, Gallery]:
    """Return the pictures of the cards that have some, by card id; ``places`` are folders of cards, or card files.

    Raises:
        CardError: a gallery is not what robench writes.
    """
    return dict(_galleries(cards, list(dict.fromkeys(_gallery_folders(places)))))


def _gallery_folders(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        yield (place if place.is_dir() else place.absolute().parent).parent / "gallery"


def _galleries(cards: Iterable[Card], folders: list[Path]) -> Iterator[tuple[str, Gallery]]:
    for card in cards:
        path = next((folder / gallery_name(card) for folder in folders if (folder / gallery_name(card)).exists()), None)
        if path is not None:
            yield card.id, read_gallery(path, card)
