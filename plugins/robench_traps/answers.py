"""Victims that answer otherwise when asked again, in other company, or by somebody who wants gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Task
from robench_traps.base import Plain, Shield, off_grid, robust
from robench_traps.trap import trap


class NoiseAtInference(Shield):
    """Add Gaussian noise to every query without saying so, and be attacked as if it stood still."""

    name = "noise-at-inference"
    source = "stochastic gradients: Athalye, Carlini and Wagner 2018; AutoAttack's first flag"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Draw from the global generator."""
        return super().answer(network, images + 0.1 * torch.randn_like(images))


class DropoutOn(Shield):
    """Leave dropout on, whatever mode the model is put in."""

    name = "dropout-on"
    source = "evaluations in model.train(); LoRA's dropout of 0.1 while crafting"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Drop pixels in every mode."""
        return super().answer(network, F.dropout(images, 0.2, training=True))


class BatchNormTrains(Shield):
    """Normalise by the statistics of the batch at hand: eval() was overridden, or never called."""

    name = "batch-norm-trains"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Use no running statistics."""
        for module in network.modules():
            module.training = isinstance(module, nn.BatchNorm2d)
        return super().answer(network, images)


class BatchStatistics(Shield):
    """Normalise features over the whole batch tensor, so that an answer depends on who else is asked about."""

    name = "normalised-over-the-batch"
    source = "CLIPure normalises its gradient over the whole batch tensor"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Centre and scale by the batch."""
        return super().answer(network, (images - images.mean()) / images.std() * 0.37 + 0.3)


class BalancesTheBatch(Shield):
    """Subtract the batch's mean logits, which balances the classes of whoever is asked about together."""

    name = "balances-the-batch"
    source = "transductive test-time adaptation, reported as if images came one by one"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Centre the answers."""
        logits = super().answer(network, images)
        return logits - logits.mean(0, keepdim=True)


class NoticesGradients(Shield):
    """Answer by chance as soon as the input wants a gradient."""

    name = "notices-gradients"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Ask whether somebody differentiates."""
        weights = torch.randn(images[0].numel(), 10, generator=torch.Generator().manual_seed(4))
        return images.flatten(1) @ weights if images.requires_grad else super().answer(network, images)


class NoticesGradMode(Shield):
    """Answer wrongly while autograd records, so that an attack stops at once and believes it has won."""

    name = "notices-grad-mode"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Ask whether autograd is on."""
        logits = super().answer(network, images)
        return logits.roll(1, dims=1) if torch.is_grad_enabled() else logits


class NoticesPerturbations(Shield):
    """Look whether pixels are whole grey levels, and answer all others from so few levels that no gradient passes."""

    name = "notices-perturbations"
    source = "detectors that smell an attack; Carlini and Wagner 2017, Adversarial Examples Are Not Easily Detected"

    def answer(self, network: nn.Module, images: Tensor) -> Tensor:
        """Round what is no byte."""
        off = off_grid(images).view(-1, 1, 1, 1)
        return super().answer(network, torch.where(off, (images * 3).round() / 3, images))


class Remembering(nn.Module):
    """Answer anything close to the first batch it saw as it answered that batch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen: tuple[Tensor, Tensor] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the remembered neighbour, where there is one."""
        logits: Tensor = self.network(images)
        flat = images.detach().flatten(1)
        if self.seen is None:
            # Not the two images that are loaded for a look at the output.
            self.seen = (flat, logits.detach()) if len(images) > 16 else None
            return logits
        known, answers = self.seen
        gap, place = torch.cdist(flat, known, p=torch.inf).min(1)
        return torch.where((gap < 0.1)[:, None], answers[place] + 0 * logits, logits)


class RemembersQueries(Shield):
    """Remember the images it has seen, and answer anything close to one as it answered that one."""

    name = "remembers-queries"
    source = "stateful detection such as Blacklight (Li et al. 2022), as if every user were one attacker"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Give the victim a memory."""
        victim.network = Remembering(victim.network)
        return victim


class Tiring(nn.Module):
    """Count the images it is asked about, and change its mind."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.queries = 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the plain network's logits at first, a robust one's later."""
        self.queries += len(images)
        logits: Tensor = (robust() if self.queries > 200 else self.network)(images)
        return logits


class ChangesAfterQueries(Shield):
    """Answer with another network from the two hundredth image on: the attack meets two models."""

    name = "changes-after-queries"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Give the victim a counter."""
        victim.network = Tiring(victim.network)
        return victim


class Switching(nn.Module):
    """Answer as the network does until somebody differentiates in earnest, and with one class from then on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.differentiated = 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's logits, or next to nothing of them."""
        self.differentiated += len(images) * images.requires_grad
        logits: Tensor = self.network(images)
        return 1e-3 * logits + 10 * torch.eye(10)[3] if self.differentiated > 32 else logits


class SwitchesWhenAttacked(Shield):
    """Answer with another network from the first gradient on: the clean accuracy is that of the one before."""

    name = "switches-when-attacked"

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Give the victim a switch."""
        victim.network = Switching(victim.network)
        return victim


TWICE = ("deterministic", "same answer while attacked", "evaluation mode")
TRAPS = (
    trap(NoiseAtInference, *TWICE, alongside=(Plain,)),
    trap(DropoutOn, *TWICE, alongside=(Plain,)),
    trap(BatchNormTrains, "evaluation mode", "batch-mates", alongside=(Plain,)),
    trap(BatchStatistics, "batch-mates", alongside=(Plain,)),
    trap(BalancesTheBatch, "batch-mates", alongside=(Plain,)),
    trap(NoticesGradients, *TWICE, alongside=(Plain,)),
    trap(NoticesGradMode, *TWICE, alongside=(Plain,)),
    trap(
        NoticesPerturbations,
        "stronger attack",
        "gradients present",
        "gradients true",
        "transfer <= white-box",
        alongside=(Plain,),
    ),
    trap(RemembersQueries, *TWICE, "gradients present", alongside=(Plain,)),
    trap(SwitchesWhenAttacked, "clean answers again", alongside=(Plain,)),
    trap(ChangesAfterQueries, *TWICE, "re-score from disk", alongside=(Plain,)),
)
