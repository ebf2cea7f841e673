"""What the conformance kit tries components on: tiny victims, images and tasks, all drawn from seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench.contracts.classifier import Classifier, Preprocess, ZeroShotClassifier
from robench.contracts.examples import Examples
from robench.contracts.global_generators import seeded_globally
from robench.contracts.task import Task, derive_seed
from robench.contracts.threat_model import Norm, ThreatModel
from robench.runtime.inference import freeze

#: Sides of the crafted images' budgets: the field's usual ones.
EPS: dict[Norm, float] = {"Linf": 8 / 255, "L2": 0.5, "L1": 12.0, "L0": 24.0, "patch": 8.0, "corruption": 3.0}

#: Training images that an attack is given.
TRAINING = 16


@dataclass(frozen=True)
class Setting:
    """Say how many classes and which images: what a component may meet."""

    classes: int
    shape: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.classes:,} classes, {' x '.join(map(str, self.shape))}"

    def task(self, seed: int = 0, device: str = "cpu") -> Task:
        """Return the task of a fit or a load; ``task.load_model`` gives a network, whatever the name."""
        names = tuple(f"thing {number}" for number in range(self.classes))
        return Task(
            classes=names,
            shape=self.shape,
            seed=derive_seed(seed, "kit"),
            device=device,
            batch_size=8,
            load_model=lambda name: network(self).to(device),
        )

    def attack(self, norm: Norm, images: int, eps: float | None = None, *, seed: int = 0, early: bool = True) -> Task:
        """Return the task of an attack on the first ``images`` images."""
        threat = ThreatModel(norm, EPS[norm] if eps is None else eps, "white-box" if early else "transfer")
        return self.task(seed).replace(
            threat_model=threat,
            stop_early=early,
            indices=list(range(images)),
            training_images=lambda: examples(self, TRAINING),
        )


USUAL = Setting(10, (3, 32, 32))
SMALL = Setting(2, (1, 28, 28))
LARGE = Setting(1000, (3, 224, 224))


def pictures(setting: Setting, count: int, seed: int = 0) -> Tensor:
    """Return float32 images (N, C, H, W) on the byte grid, within [0.2, 0.8]: coarse blobs under fine noise."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "pictures", setting))
    coarse = torch.rand(count, setting.shape[0], 4, 4, generator=generator)
    fine = torch.rand(count, *setting.shape, generator=generator)
    blobs = F.interpolate(coarse, setting.shape[1:], mode="bilinear")
    return (0.2 + 0.5 * blobs + 0.1 * fine).mul(255).round().div(255)


def examples(setting: Setting, count: int, seed: int = 1) -> Examples:
    """Return labelled training images; every class has its turn."""
    images = pictures(setting, count, seed).mul(255).round().to(torch.uint8)
    return Examples.from_tensors(images, torch.arange(count) % setting.classes)


def network(setting: Setting, seed: int = 0) -> Classifier:
    """Return a smooth convolutional classifier with drawn weights, frozen; about 10,000 parameters."""
    channels, classes = setting.shape[0], setting.classes
    with seeded_globally(derive_seed(seed, "network", setting)):
        layers = nn.Sequential(
            nn.Conv2d(channels, 8, 4, stride=4),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.Tanh(),
            nn.Linear(32, classes),
        )
        # As drawn, logits would hardly differ and no attack would have anything to do.
        for name, weight in layers.named_parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=(6 if name == "0.weight" else 3) / weight[0].numel() ** 0.5)
    return freeze(Classifier(layers, classes, Preprocess([0.5] * channels, [0.25] * channels)), "cpu")


def chain(setting: Setting, *, linear: bool = False) -> Classifier:
    """Return a classifier that bounds are known for: a linear map, or linear layers and ReLUs on coarse means."""
    channels, height, _ = setting.shape
    pool = nn.AvgPool2d(height // 4)
    with seeded_globally(derive_seed("chain", setting, linear)):
        layers = [nn.Linear(16 * channels, setting.classes)]
        if not linear:
            layers = [nn.Linear(16 * channels, 24), nn.Linear(24, setting.classes)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=3 / layer.in_features**0.5)
    between = [nn.ReLU()] * (len(layers) - 1)
    mixed = [module for pair in zip(layers, [*between, nn.Identity()], strict=True) for module in pair]
    network = nn.Sequential(pool, nn.Flatten(), *mixed)
    return freeze(Classifier(network, setting.classes, Preprocess([0.5] * channels, [0.25] * channels)), "cpu")


def zero_shot(setting: Setting, seed: int = 0) -> ZeroShotClassifier:
    """Return a CLIP as transformers builds it, of two narrow layers with drawn weights, frozen."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    with seeded_globally(derive_seed(seed, "zero-shot", setting)):
        loaded = CLIPVisionModel(config)
        # transformers 4 keeps the transformer in an attribute, transformers 5 is it.
        tower = Tower(getattr(loaded, "vision_model", loaded), nn.Linear(32, 16, bias=False))
        for parameter in tower.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        texts = torch.randn(setting.classes, 16)
    model = ZeroShotClassifier(tower, texts, 20.0, Coloured(), encode_text=lambda prompts: _texts(prompts))
    freeze(model, "cpu")
    return model


class Tower(nn.Module):
    """Embed images as CLIP does: a vision transformer, then a linear map."""

    def __init__(self, vision_model: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision_model
        self.projection = projection

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (N, 16)."""
        features: Tensor = self.projection(self.vision_model(pixel_values=pixels).pooler_output)
        return features


class Coloured(Preprocess):
    """Resize to 32 x 32 and repeat a single channel over three."""

    def __init__(self) -> None:
        super().__init__([0.5] * 3, [0.25] * 3, size=32)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, 3, 32, 32)."""
        return super().forward(images.expand(-1, 3, -1, -1))


def _texts(prompts: Sequence[str]) -> Tensor:
    rows = [torch.randn(16, generator=torch.Generator().manual_seed(derive_seed(prompt))) for prompt in prompts]
    return torch.stack(rows)
