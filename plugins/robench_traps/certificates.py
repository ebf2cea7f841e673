"""Certificates that lie, and honest ones: what is said to stand must stand."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from robench import Certificate, Classifier, Control, Task, certified, input_gradient
from robench_traps.base import Robust, Victim, lead
from robench_traps.honest import perceptron
from robench_traps.trap import control, trap

STANDS = "certified images stand"
#: A radius where the small network holds in part, so that bounds have something to say.
RADIUS = "2/255"


class Small(Victim):
    """Serve two linear layers on the 8 x 8 means of the image, which bounds are known for."""

    name = "small-chain"

    def load(self, task: Task) -> Classifier:
        """Return the bare chain."""
        return Classifier(copy.deepcopy(self.network()), classes=len(task.classes))

    def network(self) -> nn.Module:
        """Return the trained network."""
        return perceptron()


class ClaimsAll(Certificate):
    """Certify every image, whatever the model."""

    name = "certifies-all"

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Claim them all."""
        return torch.ones(len(images), dtype=torch.bool, device=images.device)


class ClaimsRight(Certificate):
    """Certify what is answered rightly as it is, as clean accuracy would."""

    name = "certifies-what-is-right"

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Claim what is right."""
        right: Tensor = model(images).argmax(1) == labels
        return right


class Sampled(Certificate):
    """Certify what withstands a hundred random points of the ball, which proves nothing of the others."""

    name = "certifies-by-sampling"

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Claim what no draw fells."""
        stands: Tensor = model(images).argmax(1) == labels
        for draw in range(100):
            moved = task.threat.from_uniform(images, task.uniform(images, "draw", draw))
            stands &= model(moved).argmax(1) == labels
        return stands


class Linearised(Certificate):
    """Certify by the slope at the image: the margin's gradient taken for constant over the ball."""

    name = "certifies-by-slope"
    source = "local linear bounds without a remainder, as a Lipschitz constant that is estimated at one point"
    norms = ("Linf",)

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Claim where the lead exceeds a quarter of eps times the gradient's L1 norm: a constant that is too small."""

        margin, gradient = input_gradient(lambda inputs: lead(model(inputs), labels), images)
        return margin > task.threat.eps / 4 * gradient.abs().flatten(1).sum(1)


class SmallerBall(Certificate):
    """Certify by intervals, but of a ball half as large as the one that is asked about."""

    name = "certifies-half-the-ball"

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Bound the wrong ball."""
        from dataclasses import replace

        return certified(model, images, labels, replace(task.threat, eps=task.threat.eps / 2), "crown")


class ClaimsVotes(ClaimsAll):
    """Certify every image of a smoothed classifier, at a confidence that is stated and not there."""

    name = "certifies-all-votes"
    norms = ("L2",)
    randomized = True

    @property
    def error(self) -> float:
        """State that one image in a thousand may be wrong."""
        return 0.001


class HonestCrown(Certificate):
    """Bound a small chain by CROWN, in a plugin of one's own."""

    name = "honest-crown"
    source = "Zhang et al. 2018, Efficient Neural Network Robustness Certification"

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return what the bounds prove."""
        return certified(model, images, labels, task.threat, "crown")


class HonestNothing(Certificate):
    """Certify nothing, which is always true."""

    name = "certifies-nothing"

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Claim none."""
        return torch.zeros(len(images), dtype=torch.bool, device=images.device)


#: A vote under noise, without training; the harness's own defense.
SMOOTHED: dict[str, Any] = {"defense": "smoothing[epochs=0,sigma=0.1]", "norm": "L2", "n": 40, "attack": "pgd[steps=8]"}

TRAPS = (
    *(
        trap(part, STANDS, alongside=(Small,), victim="small-chain", eps=eps, n=60)
        for part, eps in (
            (ClaimsAll, "1/255"), (ClaimsRight, "6/255"), (Sampled, "6/255"), (Linearised, "8/255"),
            (SmallerBall, "8/255"),
        )
    ),
    trap(ClaimsVotes, STANDS, alongside=(Small,), victim="small-chain", eps=2.0, **SMOOTHED),
)  # fmt: skip
CONTROLS: tuple[Control, ...] = (
    control(HonestCrown, alongside=(Small,), victim="small-chain", eps=RADIUS, n=60),
    control(HonestNothing, alongside=(Robust,), victim="robust", n=60),
    Control(
        name="honest-smoothing",
        story="Certify the vote of noisy copies by how often each label is voted for.",
        case="Cohen, Rosenfeld and Kolter 2019, Certified Adversarial Robustness via Randomized Smoothing",
        parts=(Small,),
        request={**SMOOTHED, "victim": "small-chain", "certificate": "randomized-smoothing[samples=300]", "eps": 0.1},
    ),
)
