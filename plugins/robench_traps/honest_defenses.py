"""Honest defenses and attacks: they do what they say, and the gate must say so."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Control, Defense, Examples, Task
from robench_traps.base import (
    TRAINED_EPS,
    Ball,
    Plain,
    Shield,
    Steps,
    against_pgd,
    ascent,
    climb,
    jitter,
    learn,
    while_eval,
)
from robench_traps.defenses import Jpeg
from robench_traps.training import Trained
from robench_traps.trap import control


class MadryTraining(Trained):
    """Train adversarially with five steps of PGD."""

    name = "pgd-at"
    source = "Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks"

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Minimise the loss of the worst images found."""
        learn(defended, train, against_pgd, epochs=4)


class Trades(Trained):
    """Train for clean accuracy and for answers that stay the same in the ball."""

    name = "trades"
    source = "Zhang et al. 2019, Theoretically Principled Trade-off between Robustness and Accuracy"

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Minimise CE(x) + 6 KL(p(x) || p(x_adv))."""
        learn(defended, train, trades_loss, epochs=4)


def trades_loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the TRADES loss with beta = 6; its images climb the divergence, not the cross-entropy."""

    def craft() -> Tensor:
        with torch.no_grad():
            aims = network(images).softmax(1)
        moved = (images + 1e-3 * torch.randn_like(images)).clamp(0, 1)
        for _ in range(5):
            moved.requires_grad_(True)
            divergence = F.kl_div(network(moved).log_softmax(1), aims, reduction="sum")
            (gradient,) = torch.autograd.grad(divergence, moved)
            moved = Ball.project(images, moved.detach() + TRAINED_EPS / 2 * gradient.sign())
        return moved

    logits, moved = network(images), while_eval(network, craft)
    divergence = F.kl_div(network(moved).log_softmax(1), logits.softmax(1), reduction="batchmean")
    return F.cross_entropy(logits, labels) + 6 * divergence


class FastTraining(Trained):
    """Train on one step from a random start, at a radius where it does not overfit."""

    name = "fgsm-at"
    source = "Wong, Rice and Kolter 2020, Fast Is Better than Free"

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Minimise the loss after one step of 1.25 eps."""

        def loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            start = jitter(images)

            def craft() -> Tensor:
                return Ball.project(images, start + 1.25 * TRAINED_EPS * ascent(network, start, labels).sign())

            return F.cross_entropy(network(while_eval(network, craft)), labels)

        learn(defended, train, loss, epochs=8)


class Blur(Shield):
    """Smooth the image before the robust network sees it, with exact gradients at test time."""

    name = "honest-blur"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Average over 3 x 3 pixels."""
        return super().answer(network, F.avg_pool2d(images, 3, 1, 1, count_include_pad=False))


class Ensemble(Shield):
    """Average the logits of three shifted copies of the image."""

    name = "honest-ensemble"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Ask three times and answer once."""
        return torch.stack([super(Ensemble, self).answer(network, images.roll(k, 3)) for k in (-1, 0, 1)]).mean(0)


class DeclaredNoise(Shield):
    """Add a little noise to every query, and say so."""

    name = "declared-noise"
    randomized = True

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Draw from the global generator."""
        return super().answer(network, images + 0.02 * torch.randn_like(images))


class DeclaredQuantiser(Shield):
    """Round to sixteen levels with a straight-through gradient, and say so."""

    name = "declared-straight-through"
    gradient = "straight-through"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Give the rounding the derivative of the identity."""
        coarse = (images * 15).round() / 15
        return super().answer(network, images + (coarse - images).detach())


class DeclaredNone(Jpeg):
    """Send the image through a JPEG file, say that there is no gradient, and be attacked by queries and transfer."""

    name = "declared-without-gradient"
    gradient = "none"


class SubtractsTheMean(Defense):
    """Centre the image on the mean of the training images, which is computed, not trained, and said to be."""

    name = "declared-statistic"
    statistics = ("mean_image",)

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Take the mean's difference from grey out of the image, by a tenth."""
        victim.register_buffer("mean_image", torch.full((3, 32, 32), 0.5))

        def centre(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (inputs[0] - 0.1 * (module.get_buffer("mean_image") - 0.5), *inputs[1:])

        victim.register_forward_pre_hook(centre)
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Compute it."""
        mean = torch.stack([images.mean(0) for images, _, _ in train.batches(64)]).mean(0)
        defended.get_buffer("mean_image").copy_(mean)


class OwnPGD(Steps):
    """Climb from a random start in thirty steps, in a plugin of one's own."""

    name = "own-pgd"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the last iterate."""
        start = task.threat.from_uniform(images, task.uniform(images, "start"))
        return climb(model, images, labels, task.threat, 30, task.threat.eps / 10, start)


CONTROLS = (
    control(MadryTraining, alongside=(Plain,)),
    control(Trades, alongside=(Plain,)),
    control(FastTraining, alongside=(Plain,)),
    Control(
        name="tecoa", story="Fine-tune a CLIP with the TeCoA loss.", case="Mao et al. 2023 (TeCoA)",
        request={"victim": "tiny-clip", "defense": "tecoa[epochs=2]", "n": 60},
    ),
    Control(
        name="vpt", story="Train visual prompts with the TeCoA loss.", case="Mao et al. 2023 (TeCoA)",
        request={"victim": "tiny-clip", "defense": "vpt[epochs=1]", "n": 60},
    ),
    control(Blur, alongside=(Plain,)),
    control(Ensemble, alongside=(Plain,)),
    control(DeclaredNoise, alongside=(Plain,)),
    control(DeclaredQuantiser, alongside=(Plain,), eps="16/255"),
    control(DeclaredNone, alongside=(Plain,), eps="16/255", n=8),
    control(SubtractsTheMean, alongside=(Plain,)),
    control(OwnPGD, alongside=(Plain,)),
)  # fmt: skip
