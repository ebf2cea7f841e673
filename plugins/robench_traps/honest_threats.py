"""Honest evaluations in L0, under patches, under one perturbation for all images and under common corruptions."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench import Classifier, Control, Examples, Task
from robench_traps.base import Plain, Robust, learn
from robench_traps.corrupted import NOISE, OwnContrast, OwnCorruption
from robench_traps.few_pixels import PIXELS, FewPixels
from robench_traps.one_for_all import EPS, ForAll
from robench_traps.squares import SIDE
from robench_traps.training import Trained
from robench_traps.trap import control


class NoiseTraining(Trained):
    """Train with Gaussian noise, and be tried on it and on another corruption."""

    name = "trained-with-noise"
    source = "Rusak et al. 2020, A simple way to make neural networks robust against diverse image corruptions"

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Add noise of the third severity to every training image."""
        draws = task.generator("noise")

        def loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            noise = NOISE[2] * torch.randn(images.shape, generator=draws)
            return F.cross_entropy(network((images + noise).clamp(0, 1)), labels)

        learn(defended, train, loss, epochs=2)


CONTROLS = (
    control(FewPixels, alongside=(Plain,), norm="L0", eps=PIXELS),
    Control(
        name="honest-sparse-rs", story="Search for pixels by slopes and by queries, on a robust network.",
        case="Croce et al. 2022, Sparse-RS", parts=(Robust, FewPixels),
        request={"attack": [FewPixels.name, "sparse-rs[queries=200]"], "norm": "L0", "eps": PIXELS, "n": 40},
    ),
    Control(
        name="honest-patch", story="Paint the worst of four squares into each image.",
        case="Karmon et al. 2018, LaVAN", request={"attack": "patch", "norm": "patch", "eps": SIDE, "n": 60},
    ),
    Control(
        name="honest-patch-on-robust", story="Search for a patch by gradients and by queries, on a robust network.",
        case="Croce et al. 2022, Sparse-RS", parts=(Robust,),
        request={"attack": ["patch", "patch-rs[queries=400]"], "norm": "patch", "eps": "3", "n": 40},
    ),
    control(ForAll, alongside=(Plain,), eps=EPS),
    Control(
        name="honest-universal", story="Add one perturbation to all images beside one for each.",
        case="Moosavi-Dezfooli et al. 2017, Universal adversarial perturbations", parts=(Robust,),
        request={"attack": ["universal[epochs=4,images=256]", "pgd"], "eps": EPS},
    ),
    control(OwnCorruption, alongside=(Plain, OwnContrast), attack=[OwnCorruption.name, OwnContrast.name],
            norm="corruption", eps="3"),
    control(NoiseTraining, alongside=(Plain, OwnCorruption, OwnContrast),
            attack=[OwnCorruption.name, OwnContrast.name], norm="corruption", eps="5"),
)  # fmt: skip
