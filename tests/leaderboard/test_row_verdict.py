"""A verdict belongs to a defended victim: it does not depend on how its cells were spread over runs, or on files."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from robench.evidence.card import Card, Check
from robench.evidence.check_verdict import STRONGER, TOLERATED, lost, skip
from robench.evidence.compound_rules import fell
from robench.evidence.cross_cell_checks import (
    DEARER,
    ONE_STEP,
    TRANSFER,
    dearer_check,
    declared_check,
    falls_check,
    not_attacked_check,
    one_step_check,
    transfer_check,
)
from robench.evidence.row_verdict import judge_together
from robench_leaderboard import boards, publish, render_pages

MakeCard = Callable[..., Card]
N = 100
EVERY = frozenset(range(N))
PARTITIONS = 200
#: Passes an image costs.
PASSES = {"fgsm": 1, "pgd": 10, "apgd": 50}


@dataclass(frozen=True)
class Cell:
    """Be what one cell of the grid would measure: the images that fall."""

    defense: str
    attack: str
    fallen: frozenset[int]
    transfer: bool = False

    @property
    def iterative(self) -> bool:
        return self.attack != "fgsm"


@dataclass(frozen=True)
class Grid:
    """Hold all cells, and per defense the images that the gate's own attacks (APGD, queries) would win."""

    cells: tuple[Cell, ...]
    apgd: dict[str, frozenset[int]]
    queries: dict[str, frozenset[int]]
    #: The card of each cell, without a verdict: runs differ in that alone.
    unjudged: dict[Cell, Card] = field(default_factory=dict)


def standing(cells: Iterable[Cell]) -> frozenset[int]:
    return EVERY.difference(*(cell.fallen for cell in cells))


def checks_of(cell: Cell, run: Sequence[Cell], grid: Grid) -> list[Check]:
    """Judge a cell beside the cells of its run, image by image as the harness does, from sets and not from cards."""
    row = [other for other in run if other.defense == cell.defense]
    white, black = [one for one in row if not one.transfer], [one for one in row if one.transfer]
    tried, left = (standing(white), standing(white)) if white else (EVERY, standing(row))
    controls = [one for one in run if one.defense == "none" and not one.transfer]
    same = next((one for one in controls if one.attack == cell.attack), None)
    bare = cell.defense == "none"
    works = {one: fell(len(one.fallen), 0) for one in controls}
    found = [
        declared_check("exact", None, undefended=bare, asked=False, through=bool(white), static=False),
        not_attacked_check()
        if same is None
        else falls_check(
            cell.attack,
            {
                "control": N, "lost": len(same.fallen), "gained": 0, "of": N,
                "others": any(works[one] for one in controls if one != same),
            },
        ),
    ]  # fmt: skip
    climbers = [one for one in white if one.iterative]
    if cell.transfer or not cell.iterative:
        found.append(skip(ONE_STEP, "", "not iterative"))
    else:
        won = max((len(standing(climbers) & one.fallen) for one in white if not one.iterative), default=0)
        weighed = (won, N, N) if won else (0, len(tried), len(left))
        found.append(one_step_check(*weighed, N, won, cell.attack))
    rivals = [one for one in white if PASSES[one.attack] * 4 <= PASSES[cell.attack]]
    if cell.transfer or not rivals:
        found.append(skip(DEARER, "", "no cheaper attack"))
    else:
        beside = [one for one in climbers if one not in rivals]
        counts = {one.attack: len(standing(beside) & one.fallen) for one in rivals}
        found.append(dearer_check(counts, cell.attack, N))
    if not white or not black:
        found.append(skip(TRANSFER, "", "one of the two is not there"))
    else:
        won = len(standing(white) - standing(black))
        found.append(transfer_check(won, N, gradient="exact"))
    worst = "invalid" if climbers else "suspect"
    for name, wins, limits in (
        ("stronger attack", grid.apgd, STRONGER),
        ("queries <= gradients", grid.queries, (TOLERATED, 0.05)),
    ):
        count = len(tried & wins[cell.defense])
        bad = f"Of {len(tried)} images still standing, {count} fall."
        found.append(lost(name, count, len(tried), len(left), N, "little is won", bad, limits, worst))  # type: ignore[arg-type]
    return found


def cards_of(run: Sequence[Cell], grid: Grid, make_card: MakeCard) -> list[Card]:
    """Return the cards of one run."""
    made = []
    for cell in run:
        if cell not in grid.unjudged:
            grid.unjudged[cell] = unjudged(cell, make_card)
        card, checks = grid.unjudged[cell], checks_of(cell, run, grid)
        statuses = {check.status for check in checks}
        verdict = "INVALID" if "invalid" in statuses else "SUSPECT" if "suspect" in statuses else "VALID"
        gate = msgspec.structs.replace(card.gate, checks=checks, verdict=verdict)
        made.append(msgspec.structs.replace(card, gate=gate))
    return made


def unjudged(cell: Cell, make_card: MakeCard) -> Card:
    card = make_card(
        [place not in cell.fallen for place in range(N)],
        defense=cell.defense,
        attack=cell.attack,
        access="transfer" if cell.transfer else "white-box",
        surrogate="mlp" if cell.transfer else None,
        surrogate_is_victim=cell.transfer,
        names=() if cell.defense == "none" else (cell.defense,),
    )
    craft = msgspec.structs.replace(card.cost.craft, forwards=10 * PASSES[cell.attack], backwards=0, images=10)
    return msgspec.structs.replace(
        card,
        cell=msgspec.structs.replace(card.cell, iterative=cell.iterative),
        cost=msgspec.structs.replace(card.cost, craft=craft),
    )


def some(rng: random.Random, most: int) -> frozenset[int]:
    return frozenset(rng.sample(range(N), rng.randint(0, most)))


def grid_of(rng: random.Random) -> Grid:
    """Draw a grid: per defense each attack wins more than the one before, or they contradict each other."""
    cells: list[Cell] = []
    apgd, queries = {}, {}
    for defense in ("none", "adv-finetune", "tecoa", "masked"):
        nested, fallen = rng.random() < 0.5, frozenset[int]()
        of_row = []
        for attack, most in (("fgsm", 30), ("pgd", 60), ("apgd", 60)):
            fallen = some(rng, most) | (fallen if nested else frozenset())
            of_row.append(Cell(defense, attack, fallen))
        if defense != "none":
            via = some(rng, 20) & fallen if nested else some(rng, 8)
            of_row.append(Cell(defense, "pgd", via, transfer=True))
        cells += of_row
        every = frozenset[int]().union(*(cell.fallen for cell in of_row if not cell.transfer))
        # Where attacks contradict each other, the gate's own wins what they win, and little beside.
        apgd[defense] = some(rng, 60) if nested else every | some(rng, 5)
        queries[defense] = some(rng, 5) if nested else every & some(rng, 30)
    return Grid(tuple(cells), apgd, queries)


def partition(cells: Sequence[Cell], rng: random.Random) -> list[list[Cell]]:
    runs: dict[int, list[Cell]] = {}
    for cell in rng.sample(cells, len(cells)):
        runs.setdefault(rng.randrange(rng.randint(1, len(cells))), []).append(cell)
    return list(runs.values())


def test_the_page_does_not_depend_on_how_cells_were_spread_over_runs(make_card: MakeCard):
    rng = random.Random(11)
    verdicts: set[str] = set()
    for _ in range(PARTITIONS // 8):
        grid = grid_of(rng)
        together = cards_of(grid.cells, grid, make_card)
        published, pages = publish(together), render_pages(together)
        verdicts |= {row.verdict for board in boards(together) for row in board.rows}
        for turn in range(8):
            cards = [card for run in partition(grid.cells, rng) for card in cards_of(run, grid, make_card)]
            shuffled = rng.sample(cards, len(cards))
            assert publish(shuffled) == published
            assert turn or render_pages(shuffled) == pages
    assert verdicts == {"VALID", "SUSPECT", "INVALID"}


def test_one_run_is_judged_by_readers_as_it_was_by_the_gate(make_card: MakeCard):
    rng = random.Random(5)
    for _ in range(20):
        grid = grid_of(rng)
        cards = cards_of(grid.cells, grid, make_card)
        assert judge_together(cards) == cards


def one_row(*attacks: Cell, apgd: frozenset[int] = frozenset()) -> Grid:
    controls = [Cell("none", cell.attack, EVERY) for cell in attacks if not cell.transfer]
    names = {"none", *(cell.defense for cell in attacks)}
    return Grid((*controls, *attacks), dict.fromkeys(names, apgd), dict.fromkeys(names, frozenset()))


def test_a_weaker_attack_that_ran_alone_leaves_the_row_ranked(make_card: MakeCard):
    weak, strong = Cell("tecoa", "fgsm", frozenset(range(20))), Cell("tecoa", "pgd", frozenset(range(60)))
    grid = one_row(weak, strong, apgd=frozenset(range(61)))
    alone = cards_of([grid.cells[0], weak], grid, make_card)
    beside = cards_of([grid.cells[1], strong], grid, make_card)

    assert {card.cell.defense.name: card.gate.verdict for card in alone} == {"none": "VALID", "tecoa": "SUSPECT"}
    assert [row.verdict for row in boards(alone)[0].rows if not row.undefended] == ["SUSPECT"]
    (row,) = (row for row in boards([*alone, *beside])[0].rows if not row.undefended)
    assert (row.verdict, row.rank, row.headline.correct) == ("VALID", 1, 40)  # type: ignore[union-attr]


def test_attacks_that_contradict_each_other_are_found_in_two_runs_as_in_one(make_card: MakeCard):
    white = Cell("tecoa", "pgd", frozenset(range(30)))
    via = Cell("tecoa", "pgd", frozenset(range(42)), transfer=True)
    grid = one_row(white, via)
    runs = [cards_of([grid.cells[0], white], grid, make_card), cards_of([via], grid, make_card)]

    (row,) = (row for row in boards([card for run in runs for card in run])[0].rows if not row.undefended)
    assert row.verdict == "INVALID"
    assert any("12 images survive every white-box attack" in reason for reason in row.reasons)


def test_leaving_out_the_card_that_accuses_acquits_nobody(make_card: MakeCard):
    white = Cell("tecoa", "pgd", frozenset(range(30)))
    via = Cell("tecoa", "pgd", frozenset(range(42)), transfer=True)
    grid = one_row(white, via)
    cards = [card for card in cards_of(grid.cells, grid, make_card) if card.cell.threat.access != "transfer"]

    (row,) = (row for row in boards(cards)[0].rows if not row.undefended)
    assert row.verdict == "INVALID"


@pytest.mark.parametrize("attacks", [("fgsm",), ("fgsm", "pgd")])
def test_where_nothing_was_right_no_attack_is_cheaper_than_another(make_card: MakeCard, attacks: tuple[str, ...]):
    grid = one_row(*(Cell("tecoa", attack, EVERY) for attack in attacks))
    idle = [  # there was nothing to attack, so no pass was made
        msgspec.structs.replace(
            card,
            cost=msgspec.structs.replace(
                card.cost, craft=msgspec.structs.replace(card.cost.craft, images=0, forwards=0, backwards=0)
            ),
        )
        for card in cards_of(grid.cells, grid, make_card)
    ]

    assert all(any(check.name == DEARER for check in card.gate.checks) for card in idle)
    assert judge_together(idle) == idle


def test_a_verdict_that_no_check_explains_is_not_taken_back(make_card: MakeCard):
    weak, strong = Cell("tecoa", "fgsm", frozenset(range(20))), Cell("tecoa", "pgd", frozenset(range(60)))
    grid = one_row(weak, strong, apgd=frozenset(range(61)))
    cards = cards_of([grid.cells[0], weak], grid, make_card) + cards_of([grid.cells[1], strong], grid, make_card)
    cards = [msgspec.structs.replace(one, gate=msgspec.structs.replace(one.gate, verdict="INVALID")) for one in cards]

    assert {card.gate.verdict for card in judge_together(cards)} == {"INVALID"}


@pytest.mark.parametrize("better", [False, True])
def test_a_row_that_met_fewer_attacks_stands_above_one_that_met_more_only_if_it_is_better_on_those(
    make_card: MakeCard, better: bool
):
    fewer = [place < (70 if better else 50) for place in range(N)]
    cards = [
        make_card(fewer, defense="few", attack="fgsm"),
        make_card([place < 60 for place in range(N)], defense="many", attack="fgsm"),
        make_card([place < 30 for place in range(N)], defense="many", attack="pgd"),
    ]
    (board,) = boards(cards)

    assert [row.defense for row in board.ranked] == (["few", "many"] if better else ["many", "few"])
    assert [row.rank for row in board.ranked] == [1, 2]
    assert [bool(row.missing) for row in board.ranked] == [better, not better]


def test_no_torch_is_needed():
    code = "import sys, robench.evidence.row_verdict; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
