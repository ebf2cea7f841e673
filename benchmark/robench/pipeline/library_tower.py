"""A CLIP's image tower as transformers' own class, and whether it answers as the defended victim does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from robench.contracts.classifier import ZeroShotClassifier

#: Largest difference of two logits, relative to the largest of them, that is rounding.
ROUNDING = 1e-4


def library_tower(tower: nn.Module) -> Any:
    """Return a CLIPVisionModelWithProjection of the tower's weights, adapters left out.

    None if it is none of transformers, or another architecture: prompts, or whatever else was added.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    vision = getattr(tower, "vision_model", None)
    config, projection = getattr(vision, "config", None), getattr(tower, "visual_projection", None)
    out = getattr(projection, "out_features", None)
    if not isinstance(config, CLIPVisionConfig) or out is None:
        return None
    config.projection_dim = out
    plain: Any = CLIPVisionModelWithProjection(config)
    known = {*plain.state_dict()}
    own = {name.replace(".base_layer.", "."): value for name, value in tower.state_dict().items()}
    state = {library_name(name, known): value for name, value in own.items() if ".lora_" not in name}
    if {*state} != known:
        return None
    plain.load_state_dict(state)
    return plain.eval()


def library_name(name: str, known: Collection[str]) -> str:
    """Return a tensor's name in transformers' class, whose tower may be called by one name more or less."""
    shorter = name.replace("vision_model.vision_model.", "vision_model.")
    return name if name in known else shorter


def answers_alike(plain: Any, model: ZeroShotClassifier, images: Tensor, expected: Tensor) -> bool:
    """Tell whether a tower gives the defended victim's logits: the defense may do more to the features than the tower.

    Args:
        plain: takes ``pixel_values`` and returns ``image_embeds``.
        model: whose preprocessing and class texts go with it.
        images: (N, C, H, W) in [0, 1].
        expected: (N, K) logits.
    """
    with torch.no_grad():
        embeds = plain(pixel_values=model.preprocess(images)).image_embeds
        features = nn.functional.normalize(embeds, dim=1)
        return same(model.logit_scale * features @ model.get_buffer("text_features").T, expected)


def same(found: Tensor, expected: Tensor) -> bool:
    """Tell whether logits differ by rounding alone."""
    return float((found - expected).abs().max()) <= ROUNDING * float(expected.abs().max().clamp_min(1e-6))


def merged(tower: nn.Module) -> nn.Module:
    """Return the tower with low-rank updates added to the weights that they update."""
    for part in tower.modules():
        merge: Any = getattr(part, "merge", None)  # peft's layers are not typed
        if hasattr(part, "base_layer") and callable(merge):
            merge()
    return tower


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars off the screen."""
    from transformers.utils import logging

    reader: Any = logging  # its functions are not annotated
    shown = reader.is_progress_bar_enabled()
    reader.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            reader.enable_progress_bar()
