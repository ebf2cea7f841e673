"""Boards say which protocol they follow, and what an attack that is weak as published hides."""

from __future__ import annotations

from robench_leaderboard.ranking.board import boards
from robench_leaderboard.render.to_json import publish

WEAK = "as published, with a step as large as the ball, it only jumps between the ball's corners"


def test_a_board_follows_one_protocol_or_none(make_card):
    names = ("", "tecoa-16", "tecoa-16, changed: n")
    cards = [make_card([True, False], protocol=name, seed=0) for name in names]
    cards = [replaced(card, place) for place, card in enumerate(cards)]
    found = {board.setting.protocol: board.setting.contest for board in boards(cards)}
    assert set(found) == set(names)
    assert found["tecoa-16, changed: n"].endswith("n = 2, protocol tecoa-16, changed: n")
    assert "protocol" not in found[""]
    assert [board.protocol for board in publish(cards).boards if board.protocol] == list(names[1:])


def replaced(card, place):
    import msgspec

    return msgspec.structs.replace(card, id=f"{place:064x}")


def test_an_attack_that_is_weak_as_published_ranks_no_row_and_shows_what_it_hides(make_card):
    weak = make_card([True] * 9 + [False], attack="pgd", attack_changed={"as_published": True}, weakness=WEAK)
    sound = make_card([True] * 2 + [False] * 8, attack="apgd")
    (board,) = boards([weak])
    (row,) = board.unranked
    assert row.headline is None
    assert row.reasons == (
        f"It met no sound white-box attack: none: pgd[as_published=True] leaves 90.0 %; {WEAK}. Run it against "
        "one that is, such as --attack apgd.",
    )
    (board,) = boards([weak, sound])
    (row,) = board.ranked
    assert row.headline.rate == 0.2
    assert row.missing == ()
    assert board.weak == [
        f"none: pgd[as_published=True] leaves 90.0 %; {WEAK}. With the other attacks 20.0 % are left."
    ]


def test_what_the_gate_says_of_a_weak_attack_is_not_held_against_the_row(make_card):
    accused = [("stronger attack", "suspect", "APGD wins more.")]
    weak = make_card([True, True], attack="pgd", weakness=WEAK, checks=accused, verdict="SUSPECT")
    (board,) = boards([weak, make_card([True, False], attack="apgd")])
    assert [row.verdict for row in board.ranked] == ["VALID"]


def test_others_need_not_have_met_a_weak_attack(make_card):
    cards = [make_card([True, False], attack="pgd", attack_changed={"as_published": True}, weakness=WEAK)]
    cards += [make_card([True, False], attack="apgd"), make_card([True, True], attack="apgd", defense="tecoa")]
    (board,) = boards(cards)
    assert not board.uneven
