"""Are the gradients there, and are they true? On models whose gradient and slope are known by hand."""

from __future__ import annotations

import torch
from torch import nn

from robench.gate.finite_differences import contradicted, margin_of

from ..grey import accused, attack, checks, corner, defense, only, row

KNOWS = attack("knows", corner)


def drawn(images):
    """Return the direction that the slopes are taken along, beside the gradient's."""
    return torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


class Around(nn.Module):
    """Hold the victim's network, for a change around it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class Rounded(Around):
    """Round to whole levels: the gradient is exactly zero."""

    def forward(self, images):
        return self.inner((images * 255).round() / 255)


class Hidden(Around):
    """Hide five sixths of the forward from the backward pass."""

    def forward(self, images):
        return (self.inner(images) + 5 * self.inner(images.detach())) / 6


class OneHot(Around):
    """Answer with the class alone, which nothing can be differentiated through."""

    def forward(self, images):
        return nn.functional.one_hot(self.inner(images).argmax(1), 2).float() * 2


class Partly(Around):
    """Round only the bright half: every second image has no gradient."""

    least = 0.5

    def forward(self, images):
        bright = images.flatten(1).mean(1) > self.least
        whole = (images * 255).round() / 255
        return self.inner(torch.where(bright.view(-1, 1, 1, 1), whole, images))


class Single(Around):
    """Compute in float32 whatever comes in, with a bend."""

    def forward(self, images):
        return torch.tanh(self.inner(images.float()))


def run(grey, network, **options):
    made = defense("made", network, **options)
    cards = grey.run(KNOWS, made, attack="knows", defense="made", eps="8/255", gate_cost=1000)
    return row(cards, "made")


def test_true_gradients_pass(grey):
    (card,) = grey.run(KNOWS, attack="knows", eps="8/255", gate_cost=1000)

    assert not accused(card)
    for name in ("gradients present", "gradients true"):
        assert (checks(card)[name].status, checks(card)[name].value, checks(card)[name].n) == ("pass", 0, 16)


def test_a_gradient_of_exactly_zero_is_invalid(grey):
    # The attack knows the optimum, so nothing else is wrong. Half levels round either way: a rough loss at most.
    card = run(grey, Rounded)
    check = only(card, "gradients present", "stable loss")

    assert card.robust.correct == grey.survivors[8]
    assert (card.gate.verdict, check.value, check.n) == ("INVALID", 1, 16)
    assert "16 of 16 images have an exactly zero input gradient" in check.meaning
    assert "Declare gradient = straight-through with robench.straight_through, or none." in check.meaning


class Hardly(Partly):
    """Round the brightest images alone, of those that stand 10 of 24."""

    least = 0.54


def test_a_few_images_without_gradient_that_withstand_a_search_without_one_accuse_nobody(grey):
    # The attack knows the optimum, so what stands is robust, with a gradient or without, as where units are dead.
    check = checks(run(grey, Hardly))["gradients present"]

    assert (check.status, check.value) == ("pass", 0)
    assert "have none since their answers are flat, and withstand a search without gradients" in check.meaning


def test_a_few_images_without_gradient_that_fall_to_a_search_without_one_are_suspect(grey):
    made = (defense("made", Partly), attack("timid", lambda m, x, y, t: corner(m, x, y, t, 0.01)))
    card = row(grey.run(*made, attack="timid", defense="made", eps="20/255", gate_cost=1000), "made")
    check = checks(card)["gradients present"]

    assert check.status in ("suspect", "invalid")
    assert 0.2 < check.value < 0.8


def test_answers_that_cannot_be_differentiated_have_no_gradient(grey):
    check = only(run(grey, OneHot), "gradients present")

    assert (check.status, check.value) == ("invalid", 1)


def test_a_branch_hidden_from_the_backward_pass_is_invalid(grey):
    # The gradient is a sixth of the slope, in the right direction: the attack finds its way, the check does not mind.
    check = only(run(grey, Hidden), "gradients true")

    assert (check.status, check.value, check.n) == ("invalid", 1, 16)
    assert "For 16 of 16 images finite differences of the answers contradict the gradient" in check.meaning


def test_a_model_that_computes_in_float32_is_not_accused_of_its_rounding(grey):
    assert not accused(run(grey, Single))


def test_a_declared_approximation_is_not_held_to_the_slope(grey):
    check = checks(run(grey, Rounded, gradient_="straight-through", adaptive_=lambda defended: defended))

    assert check["gradients true"].status == "skipped"
    assert check["gradients true"].meaning.startswith("Nothing is claimed")


class Quadratic(nn.Module):
    """Answer (x . x, 0): the slope along a unit vector u is 2 x . u."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    def forward(self, images):
        square = images.flatten(1).square().sum(1)
        told = self.factor * square + (1 - self.factor) * square.detach()
        return torch.stack([told, torch.zeros_like(told)], 1)


def test_the_tolerance_is_a_tenth_of_the_slope():
    images, labels = torch.rand(6, 3, 5, 5), torch.zeros(6, dtype=torch.long)

    def untrue(factor):
        # What autograd gives for it: that share of the slope, 2 x.
        claimed = factor * 2 * images
        return int(contradicted(Quadratic(factor), images, labels, claimed, drawn(images)).sum())

    assert [untrue(factor) for factor in (1.0, 0.95, 0.8, -1.0)] == [0, 0, 6, 6]


class Bfloat16(Quadratic):
    """Compute in bfloat16 unless images are float64, as under autocast, and hand float32 over in any case."""

    def forward(self, images):
        found = super().forward(images if images.dtype == torch.float64 else images.bfloat16())
        return found.float()


def test_rounding_of_low_precision_is_allowed_where_float32_is_handed_over():
    """Central differences of the answers themselves would be off by hundreds of percent of the slope."""
    images, labels = torch.rand(6, 3, 5, 5), torch.zeros(6, dtype=torch.long)

    def untrue(factor):
        claimed = factor * 2 * images
        return int(contradicted(Bfloat16(factor), images, labels, claimed, drawn(images)).sum())

    assert [untrue(factor) for factor in (1.0, 0.95, 0.7, -1.0)] == [0, 0, 6, 6]


class Ripple(nn.Module):
    """Add to the mean a ripple of each pixel that rises and falls by its ``height`` within a millionth of a level."""

    height = 1e-4

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images + self.height * torch.sin(1e9 * images.double()).to(images.dtype))


class Gentle(Ripple):
    """Ripple so gently that the slope of the mean prevails."""

    height = 1e-11


def test_a_true_gradient_that_leads_nowhere_is_suspect(grey):
    # The attack knows the optimum, and the gradient is true: 1e5 times that of the mean, whichever way the ripple goes.
    found = checks(run(grey, Ripple))

    # Nothing else wins anything either, so the number may be right.
    assert (found["gradients useful"].status, found["gradients useful"].value) == ("suspect", 1)
    assert (
        "On 16 of 16 images neither a step of a sixteenth of the ball along the gradient nor one of an eighth of that "
        "changes the margin by 25% of what the gradient says" in found["gradients useful"].meaning
    )


def test_a_gradient_that_does_what_it_says_is_useful(grey):
    gentle = checks(run(grey, Gentle))["gradients useful"]
    (card,) = grey.run(KNOWS, attack="knows", eps="8/255", gate_cost=1000)

    assert (gentle.status, gentle.value, gentle.n) == ("pass", 0, 16)
    assert (checks(card)["gradients useful"].status, checks(card)["gradients useful"].value) == ("pass", 0)


def test_an_approximate_gradient_promises_nothing(grey):
    check = checks(run(grey, Rounded, gradient_="straight-through", adaptive_=lambda defended: defended))

    assert check["gradients useful"].status == "skipped"


class OnlyInDouble(nn.Module):
    """Take the mean, and let its gradient through in float64 alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        lead = 10 * (images.flatten(1).mean(1) - 0.5)
        if images.dtype == torch.float32:
            lead = lead.detach() + 0.01 * (images.flatten(1)[:, 0] - images.flatten(1)[:, 0].detach())
        return torch.stack([lead, -lead], 1)


def test_what_is_compared_is_the_gradient_that_attacks_climb(grey):
    # In float64, where the differences are taken, this model's own gradient is true.
    check = checks(run(grey, OnlyInDouble))["gradients true"]

    assert (check.status, check.value) == ("invalid", 1)


def test_the_margin_is_the_lead_over_the_best_other_class():
    logits = torch.tensor([[1.0, 4.0, 2.0], [1.0, 4.0, 2.0]])

    assert margin_of(logits, torch.tensor([1, 2])).tolist() == [2.0, -2.0]
