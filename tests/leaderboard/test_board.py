"""What is compared with what, and what may be ranked."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robench.evidence.card import Card, Cost
from robench.evidence.statistics import wilson
from robench_leaderboard.ranking.attack_outcome import Score, worst
from robench_leaderboard.ranking.board import Board, boards
from robench_leaderboard.ranking.row import NO_WHITE_BOX, Row

MakeCard = Callable[..., Card]
T, F = True, False


def only_board(cards: list[Card]) -> Board:
    (board,) = boards(cards)
    return board


def only_row(*cards: Card) -> Row:
    (row,) = only_board(list(cards)).rows
    return row


def first(correct: int, n: int = 200) -> list[bool]:
    return [place < correct for place in range(n)]


# The headline


def test_the_headline_is_the_per_image_worst_case_over_the_attacks(make_card: MakeCard):
    row = only_row(
        make_card([T, T, T, T, F, F, T, T], attack="pgd"),
        make_card([T, T, F, T, T, F, T, T], attack="fgsm"),
        make_card([F, T, T, T, T, T, T, T], attack="pgd", access="transfer", surrogate="cnn"),
    )
    assert row.mask == (F, T, F, T, F, F, T, T)
    assert row.headline == Score(4, 8)
    assert row.headline.interval == wilson(4, 8)


@given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=4))
@settings(max_examples=30)
def test_the_headline_never_exceeds_any_attack(make_card: MakeCard, masks: list[list[bool]]):
    row = only_row(*(make_card(mask, attack=f"attack{place}") for place, mask in enumerate(masks)))
    assert row.headline == Score(sum(all(flags) for flags in zip(*masks, strict=True)), 9)
    assert all(row.headline.correct <= attack.score.correct for attack in row.attacks)


@pytest.mark.parametrize("access", ["transfer", "black-box"])
def test_without_a_white_box_card_there_is_no_headline_and_no_rank(make_card: MakeCard, access: str):
    board = only_board([make_card(), make_card([T] * 8, defense="hollow", access=access, surrogate="cnn")])
    assert [row.title for row in board.ranked] == ["none"]
    (row,) = board.unranked
    assert row.headline is None
    assert row.mask is None
    assert row.gain is None
    assert row.craft_ms is row.score_ms is row.forwards is row.backwards is None
    assert row.reasons == (NO_WHITE_BOX,)


def test_outcomes_of_other_weights_are_another_row(make_card: MakeCard):
    board = only_board([make_card([T] * 4 + [F] * 4), make_card([F] * 4 + [T] * 4, weights="others", attack="fgsm")])
    assert [row.headline for row in board.ranked] == [Score(4, 8), Score(4, 8)]
    assert len({row.title for row in board.ranked}) == 2
    assert all("weights" in row.title for row in board.ranked)


def test_where_cards_disagree_on_clean_accuracy_the_lowest_counts(make_card: MakeCard):
    row = only_row(make_card(clean=[T] * 8), make_card(clean=[T] * 7 + [F], attack="fgsm"))
    assert row.clean == Score(7, 8)


def test_transfer_is_the_lowest_per_surrogate_and_says_self(make_card: MakeCard):
    row = only_row(
        make_card(first(1, 8)),
        make_card(first(6, 8), access="transfer", surrogate="cnn", attack="pgd"),
        make_card(first(5, 8), access="transfer", surrogate="cnn", attack="fgsm"),
        make_card(first(3, 8), access="transfer", surrogate="mlp", surrogate_is_victim=True),
        make_card(first(2, 8), access="black-box", attack="square"),
    )
    assert row.transfer == {"cnn": Score(5, 8), "self": Score(3, 8)}
    assert [attack.description for attack in row.attacks] == [
        "pgd",
        "square, black-box",
        "fgsm, transfer via cnn",
        "pgd, transfer via cnn",
        "pgd, transfer via self",
    ]


# Boards


@pytest.mark.parametrize(
    "change",
    [
        {"eps": 4 / 255},
        {"norm": "L2"},
        {"test": "other images"},
        {"shape": (3, 8, 8)},
        {"robust": first(3, 9)},
    ],
)
def test_what_differs_in_images_or_budget_is_never_on_one_board(make_card: MakeCard, change: dict[str, Any]):
    found = boards([make_card(), make_card(**change)])
    assert [len(board.rows) for board in found] == [1, 1]


def test_the_same_images_are_one_board_whatever_folder_they_lay_in(make_card: MakeCard):
    here = make_card(dataset="imagefolder", dataset_changed={"path": "photos"})
    there = make_card(dataset="imagefolder", dataset_changed={"path": "copy"}, attack="fgsm", robust=first(2, 8))
    board = only_board([here, there])
    assert len(board.rows) == 1, "one defended victim is one row"
    assert board.rows[0].headline is not None
    assert board.rows[0].headline.correct == 2
    assert board.setting.dataset == "imagefolder[path=copy]"


def test_a_board_is_named_by_the_plainest_name_of_its_images(make_card: MakeCard):
    named = [make_card(dataset="mnist", dataset_changed={"path": "a"}), make_card(dataset="mnist", defense="jpeg")]
    for cards in (named, named[::-1]):
        board = only_board(cards)
        assert board.setting.dataset == "mnist"
        assert {row.title for row in board.rows} == {"none", "jpeg"}


def test_a_model_that_reads_other_names_of_the_classes_is_another_row(make_card: MakeCard):
    card = make_card()
    other = msgspec.structs.replace(card, id="f" * 64, data=msgspec.structs.replace(card.data, classes=["cat", "dog"]))
    rows = only_board([card, other]).rows
    assert len(rows) == 2
    assert len({row.title for row in rows}) == 2


def test_victims_defenses_and_seeds_are_rows_of_one_board(make_card: MakeCard):
    cards = [make_card(), make_card(victim="vit"), make_card(defense="jpeg"), make_card(seed=1)]
    board = only_board(cards)
    assert len(board.ranked) == 4
    assert {row.title for row in board.rows} == {"none, seed 0", "none, seed 1", "jpeg, seed 0"}


def test_parameters_make_another_row(make_card: MakeCard):
    board = only_board([make_card(defense="jpeg", defense_changed={"quality": quality}) for quality in (50, 75)])
    assert {row.title for row in board.rows} == {"jpeg[quality=50]", "jpeg[quality=75]"}


def test_a_card_given_twice_counts_once(make_card: MakeCard):
    assert len(only_row(make_card(), make_card()).cards) == 1


def test_no_cards_no_boards():
    assert boards([]) == []


def test_the_order_of_the_cards_does_not_matter(zoo: list[Card]):
    def outline(cards: list[Card]) -> list[Any]:
        return [
            [(row.title, row.victim, row.rank, row.gain, row.missing, row.reasons) for row in board.rows]
            for board in boards(cards)
        ]

    expected = outline(zoo)
    for seed in range(20):
        assert outline(random.Random(seed).sample(zoo, len(zoo))) == expected


# Ranks


def test_clear_gaps_are_ranked_and_noise_is_shared(make_card: MakeCard):
    counts = {"a": 150, "b": 149, "c": 90, "d": 88, "e": 20}
    board = only_board([make_card(first(count), defense=name) for name, count in counts.items()])
    assert [(row.rank, row.title) for row in board.ranked] == [(1, "a"), (1, "b"), (3, "c"), (3, "d"), (5, "e")]


def test_equal_headlines_are_listed_by_clean_accuracy_then_name(make_card: MakeCard):
    cards = [
        make_card(first(50), defense="b"),
        make_card(first(50), defense="a"),
        make_card(first(50), defense="z", clean=first(200)),
        make_card(first(50), defense="c", clean=first(180)),
    ]
    assert [row.title for row in only_board(cards).ranked] == ["a", "b", "z", "c"]


def test_an_unranked_row_does_not_move_the_others(make_card: MakeCard):
    cards = [make_card(first(100)), make_card(first(40), defense="weak")]
    cheat = make_card(first(199), defense="cheat", verdict="INVALID", checks=[("ball", "invalid", "It left.")])
    assert [row.rank for row in only_board([*cards, cheat]).ranked] == [1, 2]
    assert only_board([*cards, cheat]).unranked[0].rank is None


def test_a_row_that_met_fewer_attacks_is_marked(make_card: MakeCard):
    board = only_board([make_card(), make_card(attack="fgsm"), make_card(defense="jpeg", attack="fgsm")])
    assert {row.title: row.missing for row in board.ranked} == {"none": (), "jpeg": ("pgd",)}
    assert board.uneven


def test_the_undefended_row_needs_no_transfer_from_itself(make_card: MakeCard):
    itself = make_card(defense="jpeg", access="transfer", surrogate="mlp", surrogate_is_victim=True)
    assert not only_board([make_card(), make_card(defense="jpeg"), itself]).uneven


# The gate


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [([], "VALID"), (["VALID", "SUSPECT"], "SUSPECT"), (["INVALID", "SUSPECT", "VALID"], "INVALID")],
)
def test_the_worst_verdict_counts(verdicts: list[Any], expected: str):
    assert worst(verdicts) == expected


def test_one_bad_card_unranks_the_row_and_says_why(make_card: MakeCard):
    checks = [("masking", "suspect", "Gradients are masked."), ("ball", "pass", "Inside.")]
    row = only_row(make_card(), make_card(attack="fgsm", verdict="SUSPECT", checks=checks))
    assert row.verdict == "SUSPECT"
    assert row.rank is None
    assert row.reasons == (
        "check 'masking': Gradients are masked (measured 0.5, required at most 0.1, 8 images). Under: fgsm.",
    )


def test_one_failure_of_several_cards_is_said_once(make_card: MakeCard):
    bad = {"verdict": "INVALID", "checks": [("ball", "invalid", "It left.")]}
    (reason,) = only_row(make_card(**bad), make_card(attack="fgsm", **bad)).reasons
    assert reason.endswith("Under: fgsm; pgd.")


def test_a_verdict_that_hides_its_own_failed_check_is_not_believed(make_card: MakeCard):
    row = only_row(make_card(verdict="VALID", checks=[("ball", "invalid", "It left.")]))
    assert row.verdict == "INVALID"
    assert row.rank is None


def test_a_bad_verdict_without_a_failed_check_still_has_a_sentence(make_card: MakeCard):
    card = make_card(verdict="SUSPECT")
    assert only_row(card).reasons == (f"card {card.id[:8]} says SUSPECT and lists no failed check. Under: pgd.",)


# Gain


def test_gain_is_against_the_same_victim_and_seed(make_card: MakeCard):
    board = only_board(
        [
            make_card(first(20)),
            make_card(first(50), seed=1),
            make_card(first(30), victim="vit"),
            make_card(first(100), defense="tecoa"),
            make_card(first(40), defense="tecoa", seed=1),
            make_card(first(30), defense="tecoa", victim="vit"),
            make_card(first(30), defense="tecoa", victim="alone"),
        ]
    )
    gains = {(row.defense, row.victim, row.seed): row.gain for row in board.rows}
    assert gains == {
        ("none", "mlp", 0): None,
        ("none", "mlp", 1): None,
        ("none", "vit", 0): None,
        ("tecoa", "mlp", 0): pytest.approx(40.0),
        ("tecoa", "mlp", 1): pytest.approx(-5.0),
        ("tecoa", "vit", 0): 0.0,
        ("tecoa", "alone", 0): None,
    }


def test_no_gain_over_other_weights_or_over_a_reference_that_does_not_stand(make_card: MakeCard):
    defended = make_card(first(100), defense="jpeg")
    suspect = make_card(first(20), verdict="SUSPECT")
    for reference in (suspect, make_card(first(20), weights="others")):
        (row,) = (row for row in only_board([defended, reference]).rows if not row.undefended)
        assert row.gain is None


# Two names, one defense (invariant 8)

TRAINED: dict[str, Any] = {"names": ("a", "b"), "trainable": 9, "recipe": {"loss": "ce"}, "train": "x", "train_n": 5}


def ranked(make_card: MakeCard, **change: Any) -> list[str]:
    one, two = make_card(defense="alpha", **TRAINED), make_card(defense="beta", **{**TRAINED, **change})
    return [row.defense for row in only_board([two, one]).ranked]


def test_the_first_by_name_of_two_equal_defenses_is_ranked(make_card: MakeCard):
    board = only_board([make_card(defense=name, **TRAINED) for name in ("beta", "alpha", "gamma")])
    assert [row.title for row in board.ranked] == ["alpha"]
    assert [row.title for row in board.unranked] == ["beta", "gamma"]
    assert board.unranked[0].reasons == (
        "It coincides with 'alpha': the same recipe, the same 9 trainable parameters and the same data on the same "
        "victim, so the two are one defense and only 'alpha' is ranked. If they do differ, the recipe must say how.",
    )


@pytest.mark.parametrize("change", [{}, {"names": ("b", "a")}, {"seed": 1}, {"seed": 1, "train": "drawn anew"}])
def test_what_is_the_same_defense(make_card: MakeCard, change: dict[str, Any]):
    assert ranked(make_card, **change) == ["alpha"]


@pytest.mark.parametrize(
    "change",
    [
        {"names": ("a", "c")},
        {"trainable": 10},
        {"recipe": {"loss": "ce", "temperature": 2.0}},
        {"train": "y"},
        {"seed": 1, "train_n": 6},
        {"victim": "vit"},
    ],
)
def test_what_is_another_defense(make_card: MakeCard, change: dict[str, Any]):
    assert sorted(ranked(make_card, **change)) == ["alpha", "beta"]


def test_defenses_that_train_nothing_do_not_coincide(make_card: MakeCard):
    assert sorted(ranked(make_card, names=(), trainable=0)) == ["alpha", "beta"]
    board = only_board([make_card(defense=name) for name in ("jpeg", "blur")])
    assert len(board.ranked) == 2


def test_one_defense_with_two_seeds_is_not_a_coincidence(make_card: MakeCard):
    assert len(only_board([make_card(defense="alpha", seed=seed, **TRAINED) for seed in (0, 1)]).ranked) == 2


def test_an_invalid_row_does_not_take_the_place_of_its_twin(make_card: MakeCard):
    bad = make_card(defense="alpha", verdict="INVALID", checks=[("ball", "invalid", "It left.")], **TRAINED)
    assert [row.title for row in only_board([bad, make_card(defense="beta", **TRAINED)]).ranked] == ["beta"]


# Cost


def test_costs_are_those_of_the_white_box_cards(make_card: MakeCard, make_cost: Callable[..., Cost]):
    row = only_row(
        make_card(
            attack="pgd",
            trainable=12,
            fit=make_cost(seconds=3.0),
            craft=make_cost(images=10, seconds=2.0, passes=20),
            score=make_cost(images=10, seconds=0.5),
        ),
        make_card(
            attack="fgsm",
            trainable=12,
            fit=make_cost(seconds=4.0, peak=7_000_000),
            craft=make_cost(images=5, seconds=0.1, passes=1),
            score=make_cost(images=30, seconds=0.5),
        ),
        make_card(
            access="transfer",
            surrogate="cnn",
            trainable=12,
            craft=make_cost(seconds=99.0),
            score=make_cost(seconds=99.0),
        ),
    )
    assert row.trainable == 12
    assert row.fit_seconds == 4.0
    assert row.craft_ms == pytest.approx(200 + 20)
    assert (row.forwards, row.backwards) == (21, 21)
    assert row.score_ms == pytest.approx(1000 * 1.0 / 40)
    assert row.peak_bytes == 7_000_000


def test_stages_without_images_cost_nothing(make_card: MakeCard, make_cost: Callable[..., Cost]):
    idle = make_cost(images=0, seconds=0.0)
    row = only_row(make_card(craft=idle, score=idle))
    assert (row.craft_ms, row.forwards, row.score_ms) == (0, 0, None)


# The room


def test_the_room_imports_no_torch_and_ranks_without_scipy_stats():
    code = (
        "import sys, robench_leaderboard as room; room.render_markdown([]);"
        "from robench_leaderboard.statistics.significance import mcnemar; mcnemar(1, 9);"
        "print([name for name in ('torch', 'scipy.stats', 'robench_builtins') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
