"""The real ground that traps and controls stand on: small networks, trained on the digits once a process."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Attack, Classifier, Defense, Examples, Model, Task, ThreatModel, input_gradient
from robench_builtins.datasets.digits import Digits

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]

#: Radius of adversarial training; twice the radius of the evaluation, so that small networks hold.
TRAINED_EPS = 16 / 255


class Weights:
    """Say which set of weights the small networks get: from which seed they start, and in which order they learn."""

    chosen = 0


def use_weights(number: int) -> None:
    """Choose a set of weights (0 is the usual one), before the first network is trained."""
    Weights.chosen = number


def conv_net(classes: int = 10, channels: int = 3) -> nn.Sequential:
    """Return two convolutions, the first a patch embedding, for images of 32 x 32."""
    return nn.Sequential(
        nn.Conv2d(channels, 12, 4, stride=4), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(384, classes),
    )  # fmt: skip


def mlp(classes: int = 10) -> nn.Sequential:
    """Return two layers on the 8 x 8 means of the image."""
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, classes))


def cross_entropy(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy on clean images."""
    return F.cross_entropy(network(images), labels)


def lead(logits: Tensor, labels: Tensor) -> Tensor:
    """Return by how much the label's logit leads the largest of the others (N,)."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    return own - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def off_grid(images: Tensor) -> Tensor:
    """Return (N,) bool: which images are not made of whole grey levels."""
    return ((images * 255).round() / 255 - images).abs().flatten(1).amax(1) > 1e-5


def learn(
    network: nn.Module, train: Examples, loss: Loss = cross_entropy, epochs: int = 8, rate: float = 5e-3
) -> nn.Module:
    """Train ``network`` in place with Adam in batches of 64, and return it in eval mode."""
    optimizer = torch.optim.Adam(network.parameters(), rate)
    # Some networks are trained when they are first asked, which may be under no_grad.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(1 + 1000 * Weights.chosen)
        order = torch.Generator().manual_seed(1 + 1000 * Weights.chosen)
        for _ in range(epochs):
            for images, labels, _ in train.batches(64, shuffle=order):
                network.train()
                value = loss(network, images, labels)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
    return network.eval()


def seeded(build: Callable[[], nn.Sequential]) -> nn.Sequential:
    """Return a network whose initial values are the same every time with the same set of weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * Weights.chosen)
        return build()


@cache
def plain() -> nn.Module:
    """Return the undefended network: 98 % clean, 0 % under PGD at 8/255."""
    return learn(seeded(conv_net), Digits().load("train"))


@cache
def robust() -> nn.Module:
    """Return the network after adversarial training with PGD: about 97 % clean, 94 % at 8/255."""
    return learn(seeded(conv_net), Digits().load("train"), against_pgd)


def against_pgd(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy on images that five steps of PGD moved (Madry et al. 2018)."""
    moved = while_eval(network, lambda: climb(network, images, labels, Ball, 5, TRAINED_EPS / 2, start=jitter(images)))
    return F.cross_entropy(network(moved), labels)


def while_eval(network: nn.Module, craft: Callable[[], Tensor]) -> Tensor:
    """Return what ``craft`` gives with the network in eval mode, and put it back to training."""
    network.eval()
    moved = craft()
    network.train()
    return moved


def jitter(images: Tensor, eps: float = TRAINED_EPS) -> Tensor:
    """Return the images moved at random inside the ball and the box."""
    return (images + eps * (2 * torch.rand_like(images) - 1)).clamp(0, 1)


def ascent(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the cross-entropy with respect to the images."""
    return input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), images)[1]


def climb(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    threat: ThreatModel,
    steps: int,
    size: float,
    start: Tensor | None = None,
) -> Tensor:
    """Return the last iterate of ``steps`` projected steps along the gradient."""
    iterate = images if start is None else start
    for _ in range(steps):
        iterate = threat.project(images, iterate + size * threat.steepest(ascent(model, iterate, labels)))
    return iterate


#: The ball that adversarial training searches.
Ball = ThreatModel("Linf", TRAINED_EPS)


class Answering(nn.Module):
    """Answer by a rule that may ask a network."""

    def __init__(self, network: nn.Module, rule: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.rule = rule

    def forward(self, images: Tensor) -> Tensor:
        """Return what the rule says, (N, classes)."""
        # len() keeps torch.fx from tracing: folding batch norms would bake in the branch that a rule happens to take.
        return self.rule(self.network, images)[: len(images)]


class Victim(Model):
    """Serve the plain network, answering as :meth:`answer` says."""

    def load(self, task: Task) -> Classifier:
        """Return the classifier."""
        return Classifier(Answering(copy.deepcopy(self.network()), self.answer), classes=len(task.classes))

    def network(self) -> nn.Module:
        """Return the trained network to start from; it is copied."""
        return plain()

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the logits (N, classes)."""
        logits: Tensor = network(images)
        return logits


class Shield(Defense):
    """Put :meth:`answer` between the victim and whoever asks, as a defense that trains nothing."""

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim behind the shield."""
        victim.network = Answering(victim.network, self.answer)
        return victim

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return the logits (N, classes)."""
        logits: Tensor = network(images)
        return logits


class Plain(Victim):
    """Serve a small convolutional network that nothing defends."""

    name = "plain"


class Robust(Victim):
    """Serve the same network after adversarial training with PGD."""

    name = "robust"

    def network(self) -> nn.Module:
        """Return the adversarially trained network."""
        return robust()


class Steps(Attack):
    """Share what attacks of twenty steps have in common."""

    @property
    def iterative(self) -> bool:
        """Claim to take many steps."""
        return True

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs."""
        return 20, 20
