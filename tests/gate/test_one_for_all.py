"""One perturbation for all images: it has to be one, fitted elsewhere, and no weaker than the harness's own."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch.nn.functional import cross_entropy

from robench import Attack, Examples, input_gradient
from robench.evidence.check_rules import ONE, weigh
from robench.evidence.check_verdict import exceeds_net, needed_net
from robench.evidence.compound_rules import STRONGER_ONE

from ..grey import Greys, checks


class Shared(Attack):
    """Add what :meth:`fit` returns to every image."""

    name = "shared"
    shared: ClassVar[bool] = True

    @property
    def iterative(self):
        return True

    def craft(self, model, images, labels, task):
        return task.threat.project(images, images + task.threat.eps * self.fit(model, images, labels, task))

    def fit(self, model, images, labels, task):
        train = next(task.training_images().batches(64))
        return self.way(model, train.images, train.labels).sum(0, keepdim=True).sign()

    def way(self, model, images, labels):
        return input_gradient(lambda x: cross_entropy(model(x), labels, reduction="none"), images)[1]


class OnTest(Shared):
    """Fit on what is attacked."""

    name = "on-test"

    def fit(self, model, images, labels, task):
        return self.way(model, images, labels).sum(0, keepdim=True).sign()


class ForEach(OnTest):
    """Make another for each image."""

    name = "for-each"

    def fit(self, model, images, labels, task):
        return self.way(model, images, labels).sign()


class Unasked(Shared):
    """Ask nobody."""

    name = "unasked"

    def fit(self, model, images, labels, task):
        return torch.ones_like(images[:1])


class Weak(Shared):
    """Go a tenth of the way."""

    name = "weak"

    def fit(self, model, images, labels, task):
        return super().fit(model, images, labels, task) / 10


class Mostly(Greys):
    """Serve bright images and few dark ones, and validation images of nearly the same means."""

    name = "mostly-bright"

    def load(self, split):
        levels = [90, 80, 70] + [128 + d for d in range(20)] * 2
        images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
        images[:, :, 0, {"test": 0, "val": 1, "train": 2}[split]] += 1
        return Examples.from_tensors(images, torch.tensor([1] * 3 + [0] * 40))


def made(grey, attack, **more):
    parts = (("attack", attack), ("dataset", Mostly))
    (card,) = grey.run(*parts, attack=attack.name, dataset="mostly-bright", eps="12/255", **more)
    return card


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (OnTest, "Asked for 3 of the images by themselves, on-test returns another perturbation: it is fitted on the"),
        (ForEach, "3 of 43 images were changed otherwise than the others: for-each is no one perturbation for all"),
    ],
)
def test_what_is_no_one_perturbation_is_accused(grey, attack, words):
    card = made(grey, attack)
    check = checks(card)[ONE]

    assert (card.gate.verdict, check.status) == ("INVALID", "invalid")
    assert words in check.meaning


def test_an_honest_one_is_one_and_none_is_stronger(grey):
    found = checks(made(grey, Shared))

    assert found[ONE].status == found[STRONGER_ONE].status == "pass"
    assert found[ONE].meaning.endswith("and for 4 of them by themselves it is the same.")
    assert STRONGER_ONE not in checks(grey.run(attack="steps", eps="8/255")[0])


def test_a_weak_one_is_accused_by_the_harness_own(grey):
    check = checks(made(grey, Weak, gate_cost=20))[STRONGER_ONE]

    assert check.status == "invalid"
    assert "fall to the harness's own one perturbation alone, fitted on" in check.meaning
    assert check.figures["won"] > check.figures["lost"] == 0


def test_one_that_asked_nobody_was_fitted_to_nothing(grey):
    card = made(grey, Unasked)

    assert checks(card)["model asked"].status == card.gate.verdict.lower() == "invalid"


def test_pairs_that_differ_both_ways_are_weighed_against_each_other():
    assert not exceeds_net(30, 30, 100, 0.08)  # as strong, and others fall
    assert not exceeds_net(12, 0, 100, 0.08)
    assert exceeds_net(16, 0, 100, 0.08)
    assert exceeds_net(60, 20, 100, 0.08)
    statuses = [weigh(STRONGER_ONE, {"won": won, "lost": 5, "among": 100}).status for won in (5, 16, 26, 60)]
    assert statuses == ["pass", "skipped", "suspect", "invalid"]
    assert 100 < needed_net({"won": 16, "lost": 5, "among": 100}) < 2000
