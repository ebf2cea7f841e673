"""Victims of random weights for ``make bench-gpu``, and PGD on them in several hands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import nn

from robench import Classifier, Preprocess, Task, ThreatModel, ZeroShotClassifier, input_gradient
from robench.runtime.inference import freeze
from robench_builtins.attacks.pgd import PGD

from .resnet20 import resnet20

EPS, ALPHA = 8 / 255, 2 / 255
#: CLIP's published image towers: width, layers, heads, patch, projection.
TOWERS = {"ViT-B/32": (768, 12, 12, 32, 512), "ViT-L/14": (1024, 24, 16, 14, 768)}


@dataclass(frozen=True)
class Sizes:
    """Say how much is measured: on a card, or just enough to see that it runs."""

    attacks: tuple[str, ...] = ()
    parity: int = 64
    resnet: int = 10_000
    resnet_batch: int = 1024
    clip: tuple[tuple[str, int, int], ...] = (("ViT-B/32", 256, 128), ("ViT-L/14", 32, 32))
    steps: tuple[int, ...] = (7, 20)
    gate: int = 256
    level: str = "standard"
    matrix: int = 8192
    copied: int = 512
    rounds: int = 3
    processes: int = 2


TINY = Sizes(
    attacks=("pgd", "fgsm"),
    parity=2,
    resnet=4,
    resnet_batch=2,
    clip=(("tiny", 2, 2),),
    steps=(1,),
    gate=6,
    level="quick",
    matrix=16,
    copied=2,
    rounds=1,
)


@dataclass(frozen=True)
class Victim:
    """Hold a victim on its device, and the images that it is attacked on."""

    name: str
    model: Classifier
    images: torch.Tensor
    labels: torch.Tensor
    batch: int

    def task(self, device) -> Task:
        """Return the task of an attack on it."""
        threat = ThreatModel("Linf", EPS)
        return Task(
            classes=tuple(map(str, range(self.model.classes))),
            shape=tuple(self.images.shape[1:]),
            threat_model=threat,
            device=device,
            batch_size=self.batch,
            stop_early=False,
        )

    def batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return images and labels, batch by batch."""
        return list(zip(self.images.split(self.batch), self.labels.split(self.batch), strict=True))


def victim(name: str, count: int, batch: int, device: str) -> Victim:
    """Return ``ResNet-20`` at 32 px, or an image tower of CLIP at 224 px with ten random class texts."""
    torch.manual_seed(0)
    model = Classifier(resnet20(), 10) if name == "ResNet-20" else _clip(name)
    side = 32 if name == "ResNet-20" or name not in TOWERS else 224
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 3, side, side, generator=generator).to(device)
    freeze(model, device)
    with torch.no_grad():
        labels = torch.cat([model(part).argmax(1) for part in images.split(batch)])
    return Victim(name, model, images, labels, batch)


def _clip(name: str) -> ZeroShotClassifier:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    width, layers, heads, patch, out = TOWERS.get(name, (32, 2, 2, 8, 16))
    side = 224 if name in TOWERS else 32
    tower = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            patch_size=patch,
            image_size=side,
            projection_dim=out,
        )
    )
    return ZeroShotClassifier(_Embeds(tower), torch.randn(10, out), 100.0, Preprocess((0.5,) * 3, (0.25,) * 3))


class _Embeds(nn.Module):
    """Return the embedding alone."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.tower(pixel_values=pixels).image_embeds


def contestants(found: Victim, steps: int, device: str) -> dict[str, Callable[[], object]]:
    """Return PGD with so many steps in several hands; all attack every image, and none stops early."""
    model, attack, task = found.model, PGD(steps=steps, step_size=ALPHA), found.task(device)

    def passes(images, labels):
        for _ in range(steps):
            input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), images)

    def bare(images, labels):
        x = (images + torch.empty_like(images).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(steps):
            x.requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)
            x = (images + (x.detach() + ALPHA * gradient.sign() - images).clamp(-EPS, EPS)).clamp(0, 1)

    hands = {
        "passes alone": passes,
        "bare loop": bare,
        "robench": lambda images, labels: attack.craft(model, images, labels, task),
    }
    if find_spec("torchattacks") is not None:
        import torchattacks

        hands["torchattacks"] = torchattacks.PGD(model, eps=EPS, alpha=ALPHA, steps=steps)
    return {name: lambda hand=hand: [hand(*pair) for pair in found.batches()] for name, hand in hands.items()}
