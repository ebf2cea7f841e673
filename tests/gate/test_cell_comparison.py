"""What cells say about each other, and the same images about each other: counts known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Defense
from robench.api import CellsFailed

from ..grey import SURVIVORS, Greys, attack, checks, corner, defense, only, row


def sparing(name, levels, passes):
    """Return an attack that leaves bright images of these offsets as they are."""

    def craft(model, images, labels, task):
        offset = (images[:, 0, 0, 0] * 255 - 128).round().long()
        spared = torch.isin(offset, torch.tensor(levels))
        return torch.where(spared.view(-1, 1, 1, 1), images, corner(model, images, labels, task))

    return attack(name, craft, passes_=passes)


@pytest.mark.parametrize(("levels", "status"), [((), "pass"), ((0,), "skipped"), ((0, 1, 2, 3), "suspect")])
def test_a_dear_attack_wins_what_a_cheap_one_wins(grey, levels, status):
    # 8 passes against 200: what it misses is 1 of 44 (2.3 %, which one image does not prove), or 4 (9.1 %), and never
    # INVALID: the row has the other.
    dear = sparing("dear", levels, (100, 100))
    cards = grey.run(dear, attack=["steps", "dear"], eps="8/255")
    card = next(card for card in cards if card.cell.attack.name == "dear")
    check = checks(card)["cheaper attack <= dearer"]

    assert (check.status, check.value, check.n) == (status, pytest.approx(len(levels) / 44), 44)
    if status == "skipped":
        assert check.meaning.startswith("Not enough images: 1 of 44 are more than 1%")
    elif levels:
        only(card, "cheaper attack <= dearer")
        assert (
            f"{len(levels)} images survive dear but fall to steps, which takes a quarter of the passes or fewer"
            in check.meaning
        )


def test_an_attack_of_half_the_passes_is_no_rival(grey):
    cards = grey.run(sparing("dear", (0,), (8, 8)), attack=["steps", "dear"], eps="8/255")

    assert {checks(card)["cheaper attack <= dearer"].status for card in cards} == {"skipped"}


@pytest.mark.parametrize(
    ("levels", "status"), [((), "pass"), ((0,), "skipped"), ((0, 1, 2), "suspect"), ((0, 1, 2, 3, 4, 5), "invalid")]
)
def test_transfer_wins_what_white_box_left(grey, levels, status):
    # A white-box attack that spares some, and the same one on a surrogate that spares none.
    def craft(model, images, labels, task):
        offset = (images[:, 0, 0, 0] * 255 - 128).round().long()
        spared = torch.isin(offset, torch.tensor(levels)) & task.stop_early  # white-box only
        return torch.where(spared.view(-1, 1, 1, 1), images, corner(model, images, labels, task))

    cards = grey.run(attack("two-faced", craft), attack="two-faced", surrogate="self", eps="8/255", gate="quick")
    check = checks(row(cards, "none"))["transfer <= white-box"]

    assert (check.status, check.value, check.n) == (status, pytest.approx(len(levels) / 44), 44)
    assert checks(row(cards, "none", "transfer"))["transfer <= white-box"] == check


class Whimsical(nn.Module):
    """Answer the four wrongly labelled images as labelled, from the second time that all images are shown."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.shown = 0

    def forward(self, images):
        self.shown += len(images) == 44
        logits = self.inner(images)
        mean = images.flatten(1).mean(1)
        mislabelled = (mean > 185 / 255) | (mean < 65 / 255)
        return torch.where((mislabelled & (self.shown > 1))[:, None], -logits, logits)


def test_images_that_were_wrong_and_are_right_under_attack_are_invalid(grey):
    made = (attack("knows", corner), defense("made", Whimsical))
    card = row(grey.run(*made, defense="made", attack="knows", eps="8/255", gate="quick"), "made")
    check = only(card, "robust <= clean")

    assert card.robust.correct == SURVIVORS[8] + 4
    assert (check.status, check.value, check.n) == ("invalid", 4, 44)
    assert "Images that were wrong clean, and were left as they are, are now answered right" in check.meaning


def test_honest_outcomes_are_repeated_from_disk(grey):
    cards = grey.run(eps="8/255", surrogate="self", gate_cost=1000)
    white, transfer = row(cards, "none"), row(cards, "none", "transfer")

    for card in (white, transfer):
        check = checks(card)["re-score from disk"]
        assert (check.status, check.value, check.n) == ("pass", 0, 44)
    assert checks(white)["robust <= clean"].value == 0
    assert checks(transfer)["robust <= clean"].status == "skipped"


class TestTheTestSplit:
    @staticmethod
    def peeking(split):
        class Peeking(Defense):
            """Choose by what it may not see."""

            name = "peeking"

            def fit(self, defended, train, task):
                Greys().load(split)

        return "defense", Peeking

    def test_it_is_sealed_while_a_defense_is_fitted(self, grey):
        with pytest.raises(CellsFailed) as error:
            grey.run(self.peeking("test"), defense="peeking", eps="8/255", gate="quick")

        assert [card.cell.defense.name for card in error.value.cards] == ["none"]
        assert (
            "the test split of greys was asked for while a defense is fitted; test images never choose a "
            "hyper-parameter or a checkpoint: use the validation split, dataset.load('val')." in str(error.value)
        )

    def test_other_splits_are_open_and_so_is_the_test_split_afterwards(self, grey):
        cards = grey.run(self.peeking("train"), defense="peeking", eps="8/255", gate="quick")

        assert [card.gate.verdict for card in cards] == ["VALID", "VALID"]
        assert len(Greys().load("test")) == 44


class TestAWeakAttackBesideAStrongOne:
    """A timid attack of many steps leaves what one step wins; whether its number holds depends on the others."""

    TIMID = attack("timid", lambda model, images, labels, task: corner(model, images, labels, task, 0.25))

    def test_alone_with_one_step_it_is_invalid(self, grey):
        cards = grey.run(self.TIMID, attack=["step", "timid"], eps="8/255", gate="quick")
        (card,) = [card for card in cards if card.cell.attack.name == "timid"]

        assert checks(card)["one step <= many steps"].status == "invalid"

    def test_beside_one_that_wins_them_too_the_row_holds(self, grey):
        cards = grey.run(self.TIMID, attack=["step", "steps", "timid"], eps="8/255", gate="quick")

        assert {card.cell.attack.name: card.gate.verdict for card in cards} == {
            "step": "VALID", "steps": "VALID", "timid": "VALID",
        }  # fmt: skip
