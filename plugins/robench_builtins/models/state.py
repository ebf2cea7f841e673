"""Read a state dict from a file, tensors and nothing else; imported only where torch is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from robench import WeightsError


def read_state(path: Path, parameter: str) -> dict[str, Tensor]:
    """Return the state dict in a .safetensors or .pt file; ``parameter`` is what the user names the file with."""
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist; pass -p {parameter}=FILE with one that does.")
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # readers of damaged files raise whatever they trip on
        raise WeightsError(
            f"weights file {path} cannot be read ({type(error).__name__}); it must be a .safetensors file or a plain "
            "torch state dict, undamaged and without code in it."
        ) from error
    return plain_state(loaded, str(path))


def plain_state(loaded: Any, place: str) -> dict[str, Tensor]:
    """Return the plain state dict of a training checkpoint, without the prefix DataParallel leaves."""
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"{place} holds no state dict of tensors, but a {type(loaded).__name__}.")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}
