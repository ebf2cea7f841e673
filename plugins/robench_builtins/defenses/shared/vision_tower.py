"""What the defenses know of an image tower: that of CLIP as transformers builds it."""

from __future__ import annotations

from torch import nn

from robench import SpecError, ZeroShotClassifier


def vision_model(victim: ZeroShotClassifier, needs: str) -> nn.Module:
    """Return the tower's vision transformer; raise SpecError, saying what ``needs`` it, if there is none."""
    found = getattr(victim.image_tower, "vision_model", None)
    if not isinstance(found, nn.Module):
        raise SpecError(
            f"{needs} a CLIP vision transformer as transformers builds it (with a 'vision_model'), and the "
            f"victim's image tower is a {type(victim.image_tower).__name__}; choose a ViT victim, such as "
            "tiny-clip, or tecoa with trainable=full, which takes any tower."
        )
    return found
