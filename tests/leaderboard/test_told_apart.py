"""Names of several cards: what all share is said once, what differs is shown, and no two are alike."""

from __future__ import annotations

from robench_leaderboard.ranking.told_apart import told_apart


def test_one_card_is_named_by_what_it_is_about(make_card):
    names, shared = told_apart([make_card(attack_changed={"steps": 50})])
    assert names == ["mlp / none / pgd[steps=50]"]
    assert shared == "digits, Linf, n = 8, seed 0"


def test_what_all_share_is_said_once_and_what_differs_is_shown(make_card):
    names, shared = told_apart([make_card(), make_card(seed=1)])
    assert names == ["seed 0", "seed 1"]
    assert shared == "mlp / none / pgd, digits, Linf, n = 8"

    cards = [make_card(), make_card(defense="tecoa"), make_card(defense="tecoa", trained_on="faces")]
    names, shared = told_apart([*cards, make_card(access="transfer", surrogate="cnn")])
    assert names == ["none / pgd", "tecoa / pgd", "tecoa trained on faces / pgd", "none / pgd via cnn"]
    assert shared == "mlp, digits, Linf, n = 8, seed 0"


def test_long_labels_lose_what_they_share_and_it_is_said(make_card):
    long = {"epochs": 50, "learning_rate": 0.125, "momentum": 0.9}
    cards = [make_card(defense="tecoa", defense_changed={**long, "rank": rank}) for rank in (4, 8)]
    names, shared = told_apart(cards)
    assert names == ["tecoa [rank=4]", "tecoa [rank=8]"]
    assert shared.endswith("; tecoa: epochs=50, learning_rate=0.125, momentum=0.9")


def test_what_differs_in_nothing_that_has_a_name_is_told_apart_by_the_card(make_card):
    cards = [make_card(), make_card(weights="others")]
    names, _ = told_apart(cards)
    assert names == [f"(card {card.id[:8]})" for card in cards]
