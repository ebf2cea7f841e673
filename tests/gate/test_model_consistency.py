"""One answer to one image: again, in another batch, while attacked, in evaluation mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ..grey import accused, attack, checks, corner, defense, only, row

KNOWS = attack("knows", corner)


class Around(nn.Module):
    """Hold the victim's network, for a change around it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class Noisy(Around):
    """Add a thousandth of a logit's noise: no decision changes, every answer does."""

    def forward(self, images):
        return self.inner(images) * (1 + 0.01 * torch.randn(len(images), 1))


class Mixing(Around):
    """Scale the logits by what the batch's brightest image is, which changes no decision."""

    def forward(self, images):
        return self.inner(images) * (1 + images.max())


class Watchful(Around):
    """Answer half as loud while someone asks for a gradient."""

    def forward(self, images):
        return self.inner(images) * (0.5 if images.requires_grad else 1.0)


class Training(Around):
    """Refuse to leave training mode."""

    def __init__(self, inner):
        super().__init__(inner)
        self.drop = nn.Dropout(0.0)
        self.drop.train = lambda mode=True: self.drop

    def forward(self, images):
        return self.inner(self.drop(images))


class Loud(Around):
    """Answer so loudly that the softmax is exactly one."""

    def forward(self, images):
        return 1e5 * self.inner(images)


class Quiet(Around):
    """Change nothing."""

    def forward(self, images):
        return self.inner(images)


def run(grey, network, **options):
    made = defense("made", network, **options)
    cards = grey.run(KNOWS, made, attack="knows", defense="made", eps="8/255", gate_cost=1000)
    return row(cards, "made")


def test_the_honest_twin_answers_once_and_for_all(grey):
    card = run(grey, Quiet)
    found = checks(card)

    assert not accused(card)
    for name in ("deterministic", "batch-mates", "same answer while attacked"):
        assert (found[name].status, found[name].value, found[name].n) == ("pass", 0, 8)
    assert (found["evaluation mode"].status, found["logit scale"].status) == ("pass", "pass")


def test_undeclared_noise_is_invalid_even_if_it_changes_no_decision(grey):
    card = run(grey, Noisy)
    check = checks(card)["deterministic"]

    assert card.clean.correct == 40
    assert (card.gate.verdict, check.status, check.n) == ("INVALID", "invalid", 8)
    assert check.value >= 4  # of 8; two draws may come close to each other
    assert "does not declare randomized = True" in check.meaning
    assert "the harness attacks the expectation (EOT)" in check.meaning


def test_declared_noise_is_honest(grey):
    card = run(grey, Noisy, randomized_=True)
    check = checks(card)["deterministic"]

    assert not accused(card)
    assert (check.status, check.threshold) == ("pass", "> 0 images differ")
    assert check.meaning == "Declared randomized, and it is: judged by the mean over 10 draws."
    assert checks(card)["batch-mates"].status == "skipped"


def test_randomness_that_is_declared_but_absent_is_suspect(grey):
    check = only(run(grey, Quiet, randomized_=True), "deterministic")

    assert (check.status, check.value, check.n) == ("suspect", 0, 8)
    assert "all forwards of one image agree: declare False" in check.meaning


def test_answers_that_depend_on_the_batch_are_invalid(grey):
    check = only(run(grey, Mixing), "batch-mates", "gradients true")

    assert (check.status, check.n) == ("invalid", 8)
    assert check.value >= 7  # the brightest of the eight may be its own company
    assert "An image is answered differently in another batch" in check.meaning


def test_another_answer_while_a_gradient_is_asked_for_is_invalid(grey):
    # The slope of the answers is then not that of the gradients either, and a step does not do what they say.
    check = only(run(grey, Watchful), "same answer while attacked", "gradients true", "gradients useful")

    assert (check.status, check.value, check.n) == ("invalid", 8, 8)
    assert "the attack was shown another model than the one that is scored" in check.meaning


def test_a_layer_stuck_in_training_mode_is_invalid(grey):
    check = only(run(grey, Training), "evaluation mode")

    assert (check.status, check.value) == ("invalid", 1)
    assert check.meaning.startswith("network.drop behave as in training (dropout on, or batch norm without running")


@pytest.mark.parametrize("tracks", [False, True])
def test_batch_norm_without_running_statistics_behaves_as_in_training(grey, tracks):
    class Normed(Around):
        def __init__(self, inner):
            super().__init__(inner)
            self.norm = nn.BatchNorm2d(1, track_running_stats=tracks)

        def forward(self, images):
            return self.inner(images) + 0 * self.norm(images).flatten(1).sum(1, keepdim=True)

    check = checks(run(grey, Normed))["evaluation mode"]

    assert check.status == ("pass" if tracks else "invalid")
    assert ("network.norm" in check.meaning) is not tracks


def test_a_softmax_without_room_is_suspect(grey):
    check = only(run(grey, Loud), "logit scale")

    assert (check.status, check.value, check.n) == ("suspect", 1, 16)
    assert "16 of 16 images still standing give the cross-entropy no gradient, though their margin has one" in (
        check.meaning
    )
    assert "use apgd with loss=dlr, or divide the logits by a temperature" in check.meaning
