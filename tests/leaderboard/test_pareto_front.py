"""The Pareto front: by hand, and against the definition."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from robench.evidence.card import Card, Cost
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.ranking.pareto_front import COSTS
from robench_leaderboard.ranking.row import Row

MakeCard = Callable[..., Card]


def first(correct: int, n: int = 20) -> list[bool]:
    return [place < correct for place in range(n)]


def fronts(cards: list[Card]) -> dict[str, tuple[str, ...]]:
    (board,) = boards(cards)
    return {row.defense: row.front for row in board.ranked}


def test_by_hand(make_card: MakeCard, make_cost: Callable[..., Cost]):
    def row(name: str, correct: int, trainable: int, fit: float, score: float) -> Card:
        return make_card(
            first(correct),
            defense=name,
            trainable=trainable,
            fit=make_cost(seconds=fit),
            score=make_cost(seconds=score),
        )

    found = fronts(
        [
            row("none", 2, 0, 0.0, 1.0),
            row("small", 10, 100, 30.0, 1.0),
            row("large", 12, 9000, 20.0, 1.0),
            row("wasteful", 9, 9000, 40.0, 2.0),
            row("slow", 14, 0, 0.0, 5.0),
        ]
    )
    assert found == {
        "slow": ("trainable", "fit", "score"),
        "large": ("score",),
        "small": (),
        "none": (),
        "wasteful": (),
    }


def test_equals_are_on_the_front_together(make_card: MakeCard):
    assert set(fronts([make_card(first(5), defense=name) for name in ("a", "b")]).values()) == {
        ("trainable", "fit", "score")
    }


def test_clocks_of_different_devices_are_not_compared(make_card: MakeCard, make_cost: Callable[..., Cost]):
    slow = make_card(first(5), defense="a", fit=make_cost(seconds=9.0), trainable=7, device="cpu")
    fast = make_card(first(6), defense="b", fit=make_cost(seconds=1.0), trainable=7, device="cuda")
    assert fronts([slow, fast]) == {"a": ("fit", "score"), "b": ("trainable", "fit", "score")}


def test_a_row_measured_on_two_devices_has_no_clock(make_card: MakeCard):
    cards = [make_card(first(5), device="cpu"), make_card(first(5), attack="fgsm", device="cuda")]
    assert fronts(cards) == {"none": ("trainable",)}


def test_rows_that_are_not_ranked_dominate_nobody(make_card: MakeCard):
    cheat = make_card(first(20), defense="cheat", verdict="INVALID", checks=[("ball", "invalid", "It left.")])
    assert fronts([cheat, make_card(first(3))]) == {"none": ("trainable", "fit", "score")}


def dominated(row: Row, rows: tuple[Row, ...], name: str) -> bool:
    cost = COSTS[name]
    return any(
        other.headline.correct >= row.headline.correct
        and cost(other) <= cost(row)
        and (other.headline.correct, -cost(other)) != (row.headline.correct, -cost(row))
        for other in rows
    )


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
@settings(max_examples=60)
def test_the_front_is_what_nobody_dominates(make_card: MakeCard, make_cost: Callable[..., Cost], drawn):
    cards = [
        make_card(first(correct), defense=f"d{place}", trainable=trainable, fit=make_cost(seconds=float(fit)))
        for place, (correct, trainable, fit) in enumerate(drawn)
    ]
    (board,) = boards(cards)
    for row in board.ranked:
        assert row.front == tuple(name for name in COSTS if not dominated(row, board.ranked, name))
