"""Prompts as modules: tokens beside the patches, or pixels on the image.

They wrap the modules they change, so a state dict holds them under plain names and nothing depends on hooks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from robench import SpecError, ZeroShotClassifier
from robench_builtins.defenses.shared.vision_tower import vision_model

Draw = Callable[..., nn.Parameter]


class PromptedEmbeddings(nn.Module):
    """Put prompt tokens between CLS and the patches: (N, 1 + patches, d) -> (N, 1 + tokens + patches, d).

    What follows is CLIP's first layer norm. The prompts get no position.
    """

    def __init__(self, embeddings: nn.Module, prompts: nn.Parameter) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.prompts = prompts

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """Return the embedded image with the prompts in place."""
        embedded: Tensor = self.embeddings(*inputs, **options)
        prompts = self.prompts.expand(len(embedded), -1, -1)
        return torch.cat([embedded[:, :1], prompts, embedded[:, 1:]], dim=1)


class PromptedLayer(nn.Module):
    """Replace the prompt positions of a layer's (N, 1 + tokens + patches, d) input by its own prompts."""

    def __init__(self, layer: nn.Module, prompts: nn.Parameter) -> None:
        super().__init__()
        self.layer = layer
        self.prompts = prompts

    def forward(self, hidden_states: Tensor, *inputs: Any, **options: Any) -> Tensor:
        """Return the layer's output for the replaced input."""
        prompts = self.prompts.expand(len(hidden_states), -1, -1)
        rest = hidden_states[:, 1 + prompts.shape[1] :]
        output: Tensor = self.layer(torch.cat([hidden_states[:, :1], prompts, rest], dim=1), *inputs, **options)
        return output


class Frame(nn.Module):
    """Add a frame of trainable pixels to the preprocessed image; the centre is untouched.

    ``up`` and ``down`` are (1, C, size, W), ``left`` and ``right`` (1, C, H - 2 size, size).
    """

    def __init__(self, preprocess: nn.Module, shape: tuple[int, int, int], size: int, draw: Draw) -> None:
        super().__init__()
        channels, height, width = shape
        self.preprocess = preprocess
        self.up = draw(1, channels, size, width)
        self.down = draw(1, channels, size, width)
        self.left = draw(1, channels, height - 2 * size, size)
        self.right = draw(1, channels, height - 2 * size, size)

    def forward(self, images: Tensor) -> Tensor:
        """Return the preprocessed images (N, C, H, W) plus the frame."""
        prepared: Tensor = self.preprocess(images)
        centre = prepared.new_zeros(*self.left.shape[:3], prepared.shape[3] - 2 * self.left.shape[3])
        middle = torch.cat([self.left, centre, self.right], dim=3)
        return prepared + torch.cat([self.up, middle, self.down], dim=2)


class Bias(nn.Module):
    """Add trainable pixels (1, C, H, W) to the whole preprocessed image."""

    def __init__(self, preprocess: nn.Module, shape: tuple[int, int, int], draw: Draw) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.pixels = draw(1, *shape)

    def forward(self, images: Tensor) -> Tensor:
        """Return the preprocessed images (N, C, H, W) plus the pixels."""
        prepared: Tensor = self.preprocess(images)
        return prepared + self.pixels


def initializer(victim: ZeroShotClassifier, kind: Literal["vpt", "tecoa", "zero"], generator: torch.Generator) -> Draw:
    """Return a function that draws prompts of a shape, on the CPU, and puts them on the victim's device."""
    config: Any = vision_model(victim, "vpt needs").config
    bound = math.sqrt(6 / (3 * config.patch_size**2 + config.hidden_size))
    device = victim.get_buffer("text_features").device

    def draw(*shape: int) -> nn.Parameter:
        if kind == "vpt":
            values = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        elif kind == "zero":
            values = torch.zeros(shape)
        else:
            values = torch.randn(shape, generator=generator)
        return nn.Parameter(values.to(device))

    return draw


def add_tokens(victim: ZeroShotClassifier, tokens: int, draw: Draw, *, deep: bool) -> None:
    """Put ``tokens`` prompts before the first layer and, if ``deep``, new ones into every other layer."""
    vision: Any = vision_model(victim, "vpt needs")
    if isinstance(vision.embeddings, PromptedEmbeddings):
        raise SpecError("vpt has already put prompt tokens into this victim; give one vpt all the tokens instead.")
    width = vision.config.hidden_size
    vision.embeddings = PromptedEmbeddings(vision.embeddings, draw(1, tokens, width))
    if deep:
        layers = cast(nn.ModuleList, vision.encoder.layers)
        for place in range(1, len(layers)):
            layers[place] = PromptedLayer(layers[place], draw(1, tokens, width))


def add_padding(victim: ZeroShotClassifier, size: int, shape: tuple[int, int, int], draw: Draw) -> None:
    """Put a frame of ``size`` pixels behind the victim's preprocessing of images of ``shape``."""
    channels, height, width = _prepared_shape(victim, shape)
    if 2 * size >= min(height, width):
        raise SpecError(
            f"vpt.prompt_size {size} leaves nothing of an image of {height} x {width}; "
            f"give at most {(min(height, width) - 1) // 2}."
        )
    victim.preprocess = Frame(victim.preprocess, (channels, height, width), size, draw)


def add_bias(victim: ZeroShotClassifier, shape: tuple[int, int, int], draw: Draw) -> None:
    """Put a bias on every pixel behind the victim's preprocessing of images of ``shape``."""
    victim.preprocess = Bias(victim.preprocess, _prepared_shape(victim, shape), draw)


def _prepared_shape(victim: ZeroShotClassifier, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return (C, H, W) of what the tower is given for images of ``shape``."""
    device = victim.get_buffer("text_features").device
    with torch.no_grad():
        _, channels, height, width = victim.preprocess(torch.zeros(1, *shape, device=device)).shape
    return channels, height, width
