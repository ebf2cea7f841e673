"""The one type that is attacked and defended: float32 images in [0, 1] in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench.contracts.asked_in_parts import in_parts
from robench.contracts.module_copy import copy_module
from robench.errors import require

Interpolation = Literal["bicubic", "bilinear"]


def _resized(images: Tensor, size: tuple[int, int], mode: Interpolation) -> Tensor:
    """Return images resized along one axis; differentiated on a GPU, with the same bits every time."""
    if images.device.type != "cpu" and torch.is_grad_enabled() and images.requires_grad:
        found: Tensor = _Resize.apply(images, size, mode)
        return found
    return F.interpolate(images, size, mode=mode, antialias=True)


class _Resize(torch.autograd.Function):
    """Resize along one axis; torch's own gradient on a GPU is a sum in whatever order it comes, this one a product."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, size: tuple[int, int], mode: Interpolation) -> Tensor:
        ctx.sizes, ctx.mode = (tuple(images.shape[-2:]), size), mode
        return F.interpolate(images, size, mode=mode, antialias=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (before, after) = gradients, ctx.sizes
        if before[1] != after[1]:
            gradient = gradient @ _weights(before[1], after[1], ctx.mode).to(gradient.device).T
        if before[0] != after[0]:
            gradient = _weights(before[0], after[0], ctx.mode).to(gradient.device) @ gradient
        return gradient, None, None


@lru_cache(maxsize=16)
def _weights(before: int, after: int, mode: Interpolation) -> Tensor:
    """Return the matrix (before, after) by which a row of pixels is resized."""
    rows = torch.eye(before).view(1, 1, before, before)
    return F.interpolate(rows, (before, after), mode=mode, antialias=True)[0, 0]


class Preprocess(nn.Module):
    """Resize to the model's resolution and normalise, differentiably.

    Args:
        mean: per channel, in [0, 1] units.
        std: per channel, in [0, 1] units.
        size: side of the model's square input in pixels; None keeps the dataset's resolution.
        interpolation: antialiased, as PIL does it; values that overshoot [0, 1] are clamped, as PIL's bytes are.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        size: int | None = None,
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.size = size
        self.interpolation: Interpolation = interpolation

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, size, size) normalised images; square inputs keep their aspect, others are centre-cropped."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        if self.size is None or images.shape[-2:] == (self.size, self.size):
            return (images - mean) / std
        resized = self._resize(images, self.size)
        grey = resized.shape[1] != mean.shape[1]  # one channel becomes three, which has no room in place
        if grey or (torch.is_grad_enabled() and resized.requires_grad):
            return (resized - mean) / std
        return resized.sub_(mean).div_(std)  # in place: no gradient needs it, and at 224 memory traffic is the cost

    def _resize(self, images: Tensor, size: int) -> Tensor:
        height, width = images.shape[-2:]
        scale = size / min(height, width)
        target = (max(size, round(height * scale)), max(size, round(width * scale)))
        # As PIL: columns, then rows, each clamped to what a byte holds. Within 1.1 grey levels of it on CIFAR-10 at
        # 224 (0.29 on average, its rounding); in one pass it would be 8.3 levels, and slower.
        for step in ((height, target[1]), target):
            images = _resized(images, step, self.interpolation)
            images = images.clamp(0.0, 1.0) if images.requires_grad else images.clamp_(0.0, 1.0)
        top, left = (target[0] - size) // 2, (target[1] - size) // 2
        return images[..., top : top + size, left : left + size]


class Classifier(nn.Module):
    """Wrap any network as ``f: [0, 1] -> logits``; preprocessing happens inside.

    Args:
        network: takes preprocessed images, returns logits (N, classes).
        classes: the number of classes.
        preprocess: resize and normalise; None if the network takes images in [0, 1] as they are.
    """

    def __init__(self, network: nn.Module, classes: int, preprocess: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        self.preprocess = preprocess if preprocess is not None else nn.Identity()
        #: What had to be done to read it, in words; the harness sets it to the task's notes.
        self.notes: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) for float32 ``images`` (N, C, H, W) in [0, 1]."""
        logits: Tensor = self.network(self.preprocess(images))
        return logits

    def inference_copy(self) -> Classifier:
        """Return an equal classifier prepared for many forwards; override it to merge adapters.

        The harness checks that the logits agree and falls back to this classifier if they do not.
        """
        return copy_module(self)


class ZeroShotClassifier(Classifier):
    """Classify by the similarity of image features and class-text features (CLIP).

    ``logits = logit_scale * cos(image features, text features)``; the text features are computed once, since the
    text tower is frozen in every defense of the image tower.

    Args:
        image_tower: takes preprocessed images, returns features (N, D), not normalised.
        text_features: (K, D), one row a class; normalised here.
        logit_scale: the multiplier itself (CLIP: 100), that is 1 / temperature.
        preprocess: resize and normalise.
        encode_text: embeds prompts (list of str -> (P, D)), for whoever needs other prompts.
    """

    def __init__(
        self,
        image_tower: nn.Module,
        text_features: Tensor,
        logit_scale: float,
        preprocess: nn.Module,
        encode_text: Callable[[Sequence[str]], Tensor] | None = None,
    ) -> None:
        super().__init__(image_tower, classes=len(text_features), preprocess=preprocess)
        # Not persistent: computed when the model is loaded, so its last bits are the processor's, not the weights'.
        normalised = F.normalize(text_features.detach().float(), dim=1)
        self.register_buffer("text_features", normalised, persistent=False)
        self.logit_scale = logit_scale
        self.encode_text = encode_text

    @property
    def image_tower(self) -> nn.Module:
        """Return the network that embeds preprocessed images; assign ``network`` to replace it."""
        return self.network

    def features(self, images: Tensor) -> Tensor:
        """Return image features (N, D), not normalised."""
        features: Tensor = self.network(self.preprocess(images))
        return features

    def similarities(self, images: Tensor) -> Tensor:
        """Return cosines (N, K) between image and class-text features; multiply by 1 / temperature for logits."""
        return F.normalize(self.features(images), dim=1) @ self.get_buffer("text_features").T

    def forward(self, images: Tensor) -> Tensor:
        """Return ``logit_scale`` times the cosines (N, K) for ``images`` (N, C, H, W) in [0, 1]."""
        return self.logit_scale * self.similarities(images)


def input_gradient(loss: Callable[..., Tensor], images: Tensor, *along: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(values, gradient)`` of a per-image loss with respect to the images alone.

    ``loss`` maps images to (N,) values. They are summed, not averaged, so the gradient of one image does not
    depend on the size of its batch; no parameter receives a gradient.

    Args:
        loss: given images, and what goes along with them.
        images: (N, C, H, W).
        *along: tensors of a row an image that the loss needs, such as labels. An attack that was handed more images
            than the model takes at once (:attr:`robench.Attack.asks_in_parts`) has ``loss`` called for part after part.
    """
    if along:
        values, gradient = in_parts(partial(_input_gradient, loss), images, *along)
        return values, gradient
    return _input_gradient(loss, images)


def _input_gradient(loss: Callable[..., Tensor], images: Tensor, *along: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        values = loss(images, *along)
        require(
            values.requires_grad,
            "The model's logits carry no gradient back to its images: it runs under torch.no_grad, detaches, or was "
            "exported so. A white-box attack cannot be run on it; let gradients through (and export it again).",
        )
        (gradient,) = torch.autograd.grad(values.sum(), images)
    return values.detach(), gradient


def check_logits(logits: Tensor, images: int, classes: int, name: str) -> None:
    """Raise ContractError unless these are float32 logits (images, classes)."""
    require(isinstance(logits, Tensor), f"{name} must return logits as a tensor, not {type(logits).__name__}.")
    require(
        logits.dim() == 2 and len(logits) == images,
        f"{name} must return logits of shape ({images}, {classes}), not {tuple(logits.shape)}.",
    )
    require(
        logits.shape[1] == classes,
        f"{name} has {logits.shape[1]} classes, but the dataset has {classes}: choose another victim, or a checkpoint "
        "trained on these classes.",
    )
    require(logits.dtype == torch.float32, f"{name} must return float32 logits, not {logits.dtype}.")
    require(bool(torch.isfinite(logits).all()), f"{name} returns NaN or infinite logits on real images.")
    probabilities = bool((logits >= 0).all() and (logits <= 1).all()) and bool(
        torch.allclose(logits.sum(1), torch.ones(images, device=logits.device), atol=1e-4)
    )
    require(
        not probabilities,
        f"{name} returns probabilities, not logits: each row is in [0, 1] and sums to 1. Remove the softmax; with it "
        "gradients vanish and attacks look weaker than they are.",
    )
