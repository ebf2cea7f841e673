"""The thousand classes of ImageNet's challenge: their WordNet ids, and the names that torchvision has for them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

#: The wnids in the challenge's order, which is theirs when sorted: line 0 is label 0.
LIST = Path(__file__).with_suffix(".txt")


@lru_cache(maxsize=1)
def wnids() -> tuple[str, ...]:
    """Return the thousand wnids in label order."""
    return tuple(LIST.read_text(encoding="ascii").split())


@lru_cache(maxsize=1)
def thousand() -> dict[str, str]:
    """Return the name of each of the thousand wnids, in label order."""
    from torchvision.models import ResNet50_Weights

    return dict(zip(wnids(), ResNet50_Weights.IMAGENET1K_V1.meta["categories"], strict=True))
