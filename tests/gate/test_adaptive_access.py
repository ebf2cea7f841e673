"""Adaptive by contract: what white-box means for a defense follows from what it declares."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Attack, Classifier, straight_through
from robench.api import spec_from
from robench.contracts.adaptive import Expected
from robench.errors import ContractError
from robench.evidence.meter import Meter
from robench.plan.spec import plan

from ..grey import CLEAN, SURVIVORS, MeanNetwork, accused, attack, checks, corner, defense, only, row

GRADIENTS = {"attack": "steps", "eps": "8/255", "gate_cost": 1000}


class Asking(Attack):
    """Step to the corner of the ball without a gradient, as queries would find it here."""

    name = "asking"
    queries_only = True

    def passes(self):
        return 30, 0

    def craft(self, model, images, labels, task):
        for _ in range(3):
            model(images)
        return corner(model, images, labels, task)


ASKING = ("attack", Asking)


def whole(images):
    return (images * 255).round() / 255


class Around(nn.Module):
    """Hold the victim's network, for a change around it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class Rounded(Around):
    """Round to whole levels: the gradient is exactly zero."""

    def forward(self, images):
        return self.inner(whole(images))


class Through(Around):
    """Round to whole levels, and hand the gradient past it."""

    def __init__(self, inner):
        super().__init__(inner)
        self.round = straight_through(whole)

    def forward(self, images):
        return self.inner(self.round(images))


class Smooth(Around):
    """Do not round at all, at twice the gain: another model."""

    def forward(self, images):
        return 2 * self.inner(images)


class Flipping(Around):
    """Turn each answer round with probability 0.1, drawn from torch's global generator."""

    def forward(self, images):
        logits = self.inner(images)
        return torch.where((torch.rand(len(images)) < 0.1)[:, None], -logits, logits)


def path(network):
    """Return what ``adaptive`` does: put ``network`` around the grey classifier."""
    return lambda defended: Classifier(network(defended.network.inner), classes=2)


class TestTheModule:
    def test_forward_is_the_function_bit_by_bit_with_and_without_gradients(self):
        images, module = torch.rand(3, 1, 4, 4), straight_through(whole)

        assert torch.equal(module(images), whole(images))
        assert torch.equal(module(images.clone().requires_grad_(True)).detach(), whole(images))

    @pytest.mark.parametrize(("backward", "slope"), [(None, 1.0), (lambda x: 3 * x.square(), 6 * 0.4)])
    def test_backward_is_the_approximations(self, backward, slope):
        images = torch.full((2, 1, 2, 2), 0.4, requires_grad=True)
        straight_through(whole, backward)(images).sum().backward()

        assert images.grad.tolist() == torch.full((2, 1, 2, 2), slope).tolist()

    def test_an_approximation_of_another_shape_is_a_sentence(self):
        module = straight_through(whole, lambda x: x.flatten(1))
        with pytest.raises(
            ContractError, match=r"returns \(2, 1, 2, 2\), its backward approximation \(2, 4\); give an"
        ):
            module(torch.rand(2, 1, 2, 2, requires_grad=True))

    def test_expectation_is_the_mean_of_the_draws_and_so_is_its_gradient(self):
        class Counting(nn.Module):
            def __init__(self):
                super().__init__()
                self.calls = 0

            def forward(self, images):
                self.calls += 1
                return torch.stack([self.calls * images.flatten(1).sum(1), images.flatten(1).sum(1)], 1)

        inner = Classifier(Counting(), classes=2)
        images, meter = torch.full((3, 1, 2, 2), 0.5, requires_grad=True), Meter()
        with meter.counting(inner):
            logits = Expected(inner, 4)(images)
            (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)

        # Gains 1, 2, 3, 4 on a sum of 2: the mean is 5, the slope 2.5.
        assert logits.tolist() == 3 * [[5.0, 2.0]]
        assert gradient.unique().tolist() == [2.5]
        assert (meter.forwards, meter.backwards) == (12, 12)


def test_rounding_without_a_path_masks_everything(grey):
    card = row(grey.run(defense("made", Rounded), defense="made", **GRADIENTS), "made")

    assert card.robust.correct == CLEAN
    assert card.gate.verdict == "INVALID"
    assert "gradients present" in accused(card)


@pytest.mark.parametrize(
    "made",
    [
        defense("made", Through, gradient_="straight-through"),
        defense("made", Rounded, gradient_="straight-through", adaptive_=path(Through)),
    ],
    ids=["straight_through in wrap", "an adaptive of its own"],
)
def test_through_a_declared_path_exactly_the_known_survivors_stand(grey, made):
    # Steps of 2 levels stay on whole levels, so rounding takes nothing away.
    cards = grey.run(made, defense="made", **GRADIENTS)
    white, static = row(cards, "made"), row(cards, "made", "transfer")
    check = checks(white)

    assert (white.robust.correct, static.robust.correct) == (SURVIVORS[8], SURVIVORS[8])
    assert (check["straight-through path"].status, check["straight-through path"].value) == ("pass", 0)
    assert check["straight-through path"].n == 16
    assert check["declared gradient"].meaning == (
        "Attacked through the declared straight-through path (BPDA), whose forward is the defense's."
    )
    # Static beside adaptive without being asked for: transfer from the undefended victim.
    assert static.cell.surrogate_is_victim
    assert accused(white) <= {"stable loss"}


def test_a_path_through_another_model_is_invalid(grey):
    made = defense("made", Rounded, gradient_="straight-through", adaptive_=path(Smooth))
    card = row(grey.run(made, defense="made", **GRADIENTS), "made")
    check = only(card, "straight-through path", "stable loss")

    assert (card.gate.verdict, check.value, check.n) == ("INVALID", 16, 16)
    assert "(Defense.adaptive) answers other than the defense itself" in check.meaning


def test_a_path_that_is_no_classifier_is_a_sentence(grey):
    made = defense("made", Rounded, gradient_="straight-through", adaptive_=lambda defended: defended.network)
    with pytest.raises(Exception, match=r"made\.adaptive must return a robench\.Classifier, not Rounded"):
        grey.run(made, defense="made", **GRADIENTS)


def flipped(grey, **request):
    made = defense("made", Flipping, randomized_=True, draws_=9)
    return grey.run(made, defense="made", **{**GRADIENTS, "gate_cost": 1, **request})


def test_a_randomized_defense_is_judged_by_its_mean_and_not_accused_of_chance(grey):
    cards = flipped(grey)
    card = row(cards, "made")
    known = (SURVIVORS[8] * 0.9 + (44 - SURVIVORS[8]) * 0.1) / 44

    assert (card.robust.draws, len(card.robust.hits)) == (9, 44)
    assert card.clean.rate == pytest.approx((40 * 0.9 + 4 * 0.1) / 44, abs=0.05)
    assert card.robust.rate == pytest.approx(known, abs=0.05)  # 2.6 standard errors of 396 answers: 0.04
    assert card.robust.low < known < card.robust.high
    # The majority of nine answers of which each is wrong with probability 0.1 is wrong once in a thousand.
    assert abs(card.robust.correct - SURVIVORS[8]) <= 1
    assert checks(card)["declared gradient"].meaning == "Attacked end to end, in expectation over 9 draws (EOT)."
    for made in cards:
        assert accused(made) == set()


def test_every_draw_is_counted(grey):
    card = row(flipped(grey), "made")
    attacked = card.adversarial.attacked

    assert (card.cost.craft.forwards, card.cost.craft.backwards) == (9 * 4 * attacked, 9 * 4 * attacked)
    assert card.cost.score.forwards == 9 * 44


def test_the_same_seed_gives_the_same_card_whatever_was_drawn_before(grey, tmp_path):
    torch.manual_seed(1)
    one = row(flipped(grey, store=tmp_path / "one"), "made")
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    other = row(flipped(grey, store=tmp_path / "other"), "made")
    third = row(flipped(grey, store=tmp_path / "third", seed=1), "made")

    assert other.robust.hits == one.robust.hits
    assert other.adversarial.fingerprint == one.adversarial.fingerprint
    assert other.gate.checks == one.gate.checks
    assert (other.cost.gate.forwards, other.cost.gate.backwards) == (one.cost.gate.forwards, one.cost.gate.backwards)
    assert third.robust.hits != one.robust.hits
    assert before.shape == torch.random.get_rng_state().shape


def test_a_weak_attack_on_a_randomized_defense_is_still_caught(grey):
    # It leaves 14 images that any working attack takes: chance does not explain them.
    timid = attack("timid", lambda m, x, y, t: x)
    made = defense("made", Flipping, randomized_=True, draws_=9)
    card = row(grey.run(timid, made, attack="timid", defense="made", eps="8/255", gate_cost=1000), "made")

    for name in ("one step <= many steps", "stronger attack", "queries <= gradients"):
        assert checks(card)[name].status in ("suspect", "invalid")
    assert card.gate.verdict == "INVALID"


def test_static_images_that_win_beyond_chance_accuse_a_randomized_defense(grey):
    class Blind(Flipping):
        def forward(self, images):
            return super().forward(whole(images))

    made = defense("made", Blind, randomized_=True, draws_=9)
    card = row(grey.run(made, defense="made", **GRADIENTS), "made")
    check = checks(card)["transfer <= white-box"]

    assert check.status == "invalid"
    # 16 images fall to them; those count whose answers differ in at least 6 of 9 draws, which chance may hide.
    assert 8 / 44 < check.value <= (CLEAN - SURVIVORS[8]) / 44


class TestWithoutGradients:
    def test_the_plan_asks_and_transfers_and_tries_the_search_on_the_undefended_victim(self, catalog_of):
        made = defense("made", Rounded, gradient_="none")
        cells = plan(spec_from(defense="made", attack="steps"), known=catalog_of(made, ASKING))
        ways = [(cell.defense.component.name, cell.attack.component.name, cell.threat.access) for cell in cells]

        assert sorted(ways) == [
            ("made", "asking", "black-box"),
            ("made", "steps", "transfer"),
            ("none", "asking", "black-box"),
            ("none", "steps", "white-box"),
        ]
        assert [cell.by_self for cell in cells if cell.surrogate is not None] == [True]

    def test_an_exact_defense_gets_no_search(self, catalog_of):
        cells = plan(spec_from(defense="scale", attack="steps"), known=catalog_of(ASKING))

        assert {cell.attack.component.name for cell in cells} == {"steps"}
        assert len(cells) == 2

    @pytest.mark.parametrize("network", [Rounded, "one-hot"])
    def test_an_honest_declaration_is_valid(self, grey, network):
        class OneHot(Around):
            def forward(self, images):
                with torch.no_grad():
                    return 2 * torch.nn.functional.one_hot(self.inner(images).argmax(1), 2).float()

        kind = Rounded if network is Rounded else OneHot
        made = defense("made", kind, gradient_="none")
        request = {**GRADIENTS, "gate": "quick"}
        cards = grey.run(made, ASKING, defense="made", **request)
        asked = row(cards, "made", "black-box")
        check = checks(asked)

        assert row(cards, "made", "transfer").robust.correct == SURVIVORS[8]
        assert check["gradients present"].meaning == (
            "Declared without gradients, and there are none: judged by queries and transfer."
        )
        assert check["declared gradient"].meaning == (
            "Attacked by queries and by transfer, since it declares no gradient."
        )
        assert {card.gate.verdict for card in cards} == {"VALID"}

    def test_gradients_that_are_declared_away_are_invalid(self, grey):
        made = defense("made", gradient_="none")
        cards = grey.run(made, ASKING, defense="made", **{**GRADIENTS, "gate": "quick"})
        check = checks(row(cards, "made", "black-box"))["gradients present"]

        assert (check.status, check.value) == ("invalid", 1)
        assert "declares gradient = none, but its input gradients are there" in check.meaning

    def test_without_a_search_on_offer_the_card_says_what_is_missing(self, grey):
        cards = grey.run(defense("made", Rounded, gradient_="none"), defense="made", **{**GRADIENTS, "gate": "quick"})
        check = checks(row(cards, "made", "transfer"))["declared gradient"]

        assert (check.status, check.value) == ("suspect", 1)
        assert "Missing: an attack by queries (--attack square)" in check.meaning


def test_the_grey_network_has_the_gain_that_the_paths_rely_on():
    assert MeanNetwork()(torch.full((1, 1, 4, 4), 0.6)).tolist()[0] == pytest.approx([1.0, -1.0], abs=1e-5)
