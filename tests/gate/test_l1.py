"""Whole runs in L1 on the benchmark known by hand: the mean of 16 pixels moves by eps / 16, whichever of them move."""

from __future__ import annotations

import pytest

from robench import Attack, SpecError
from robench.contracts.threat_model import ThreatModel
from robench_builtins.attacks.apgd import APGD
from robench_builtins.attacks.autoattack import AutoAttack
from robench_builtins.attacks.fab import FAB
from robench_builtins.attacks.fgsm import FGSM
from robench_builtins.attacks.pgd import PGD
from robench_builtins.attacks.pgd_targeted import TargetedPGD

from ..grey import CLEAN, SURVIVORS, accused, checks

#: A brightness that moves by 8 grey levels, as under Linf 8/255.
EPS = 16 * 8 / 255


def run(grey, kind, **request):
    options = {"norm": "L1", "eps": str(EPS), "gate_cost": 1000, "attack": kind.name}
    (card,) = grey.run(("attack", kind), **{**options, **request})
    return card


@pytest.mark.parametrize("kind", [FGSM, PGD, TargetedPGD, APGD, FAB], ids=lambda kind: kind.name)
def test_the_robust_accuracy_is_the_known_one_and_the_row_is_valid(grey, kind):
    card = run(grey, kind)
    assert (card.clean.correct, card.robust.correct) == (CLEAN, SURVIVORS[8])
    assert card.cell.threat.norm == "L1"
    assert accused(card) == set()
    assert card.gate.verdict == "VALID"


def test_autoattack_is_exact_too(grey):
    card = run(grey, AutoAttack, attack="autoattack[steps=10,queries=50]")
    assert card.robust.correct == SURVIVORS[8]
    assert accused(card) == set()


def test_every_check_that_is_made_in_linf_is_made_in_l1(grey):
    made = {}
    for norm, eps in (("Linf", "8/255"), ("L1", str(EPS))):
        card = run(grey, PGD, norm=norm, eps=eps, gate="thorough")
        assert card.robust.correct == SURVIVORS[8]
        made[norm] = {name for name, check in checks(card).items() if check.status != "skipped"}
    assert made["L1"] == made["Linf"]
    assert {"noise <= gradients", "measured slopes <= gradients", "queries <= gradients", "unbounded attack"} <= made[
        "L1"
    ]


class Timid(PGD):
    """Search the ball of half the radius."""

    name = "timid"

    def craft(self, model, images, labels, task):
        half = ThreatModel("L1", task.threat.eps / 2)
        return super().craft(model, images, labels, task.replace(threat_model=half))


class Wide(PGD):
    """Search the ball of twice the radius."""

    name = "wide"

    def craft(self, model, images, labels, task):
        twice = ThreatModel("L1", task.threat.eps * 2)
        return super().craft(model, images, labels, task.replace(threat_model=twice))


def test_an_attack_that_searches_half_the_ball_is_caught(grey):
    card = run(grey, Timid)
    assert card.robust.correct == SURVIVORS[4]
    assert {"stronger attack", "one step <= many steps"} <= accused(card)
    assert card.gate.verdict == "INVALID"


def test_an_attack_that_leaves_the_ball_is_projected_and_caught(grey):
    card = run(grey, Wide)
    assert card.robust.correct >= SURVIVORS[8]  # it stops at its first error, which the projection takes back
    assert checks(card)["box and ball"].status == "invalid"


def test_an_attack_that_does_not_name_the_norm_is_refused_before_any_work(grey):
    with pytest.raises(SpecError) as raised:
        grey.run(norm="L1", eps="0.5", attack="steps")
    assert str(raised.value) == "steps works in Linf and L2, not in L1; choose another norm or attack."
    assert Attack.norms == ("Linf", "L2")
