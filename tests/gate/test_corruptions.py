"""Common corruptions: every image, as far as the severity says, without asking, and no two the same."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from robench import Attack, parameter
from robench.evidence.check_rules import BLINDLY, DIFFER, EVERY, GROWS, OF_CORRUPTIONS
from robench.evidence.gate_consistency import gate_problems

from ..grey import checks


class Darker(Attack):
    """Take a thirtieth of the range from every image for each degree of severity."""

    name = "darker"
    norms = ("corruption",)
    queries_only: ClassVar[bool] = True
    kind: str = parameter(default="dusk", help="what it is called")

    def passes(self):
        return 0, 0

    def craft(self, model, images, labels, task):
        return (images - self.by(task.threat.eps) / 30).clamp(0, 1)

    def by(self, severity):
        return severity


class Always(Darker):
    """Be of the same severity, whatever is asked."""

    name = "always"

    def by(self, severity):
        return 1.0 if severity else 0.0


class Spares(Darker):
    """Leave every second image."""

    name = "spares"

    def craft(self, model, images, labels, task):
        moved = super().craft(model, images, labels, task)
        moved[::2] = images[::2]
        return moved


class Asks(Darker):
    """Look at the answers."""

    name = "asks"

    def craft(self, model, images, labels, task):
        model(images)
        return super().craft(model, images, labels, task)


def made(grey, kind, **more):
    return grey.run(("attack", kind), **{"attack": kind.name, "norm": "corruption", "eps": "3", **more})


def test_an_honest_corruption_has_four_checks_more_and_passes_them(grey):
    (card,) = made(grey, Darker)
    found = checks(card)

    assert card.gate.verdict == "VALID"
    assert [found[name].status for name in OF_CORRUPTIONS] == ["pass", "pass", "pass", "skipped"]
    assert not {*OF_CORRUPTIONS} & {*checks(grey.run(attack="steps")[0])}


@pytest.mark.parametrize(
    ("attack", "name", "words"),
    [
        (Always, GROWS, "always moves 16 of 16 images as far at severity 1 as at 5: it does not heed task.threat.eps"),
        (Spares, EVERY, "22 of 44 images came back as they were from spares: what they are answered is the clean"),
        (Asks, BLINDLY, "asks asked the model 44 times while it corrupted"),
    ],
)
def test_what_is_no_corruption_of_that_severity_is_accused(grey, attack, name, words):
    (card,) = made(grey, attack)
    check = checks(card)[name]

    assert (card.gate.verdict, check.status) == ("INVALID", "invalid")
    assert words in check.meaning


def test_one_corruption_under_two_names_counts_once(grey):
    cards = made(grey, Darker, attack=["darker", "darker[kind=night]"])

    assert {card.gate.verdict for card in cards} == {"INVALID"}
    said = " ".join(checks(card)[DIFFER].meaning for card in cards)
    assert "44 of 44 images are those of darker, bit by bit: one corruption counts as several" in said


def test_a_card_that_leaves_out_what_accuses_it_is_told(grey):
    (card,) = made(grey, Always)
    kept = [one for one in card.gate.checks if one.name != GROWS]
    gate = msgspec.structs.replace(card.gate, checks=kept, verdict="VALID")

    assert not [*gate_problems(card)]
    assert [*gate_problems(msgspec.structs.replace(card, gate=gate))] == [f"its gate lacks the check '{GROWS}'."]
