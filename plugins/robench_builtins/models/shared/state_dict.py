"""Read a state dict from a file, tensors and nothing else; imported only where torch is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from robench import WeightsError
from robench_builtins.offline import offline


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


def fetch_state(url: str, owner: str) -> dict[str, Tensor]:
    """Return the state dict at ``url``, from torch hub's cache where it is there; ``owner`` is whose weights they are.

    The file's name holds the beginning of its hash, which is checked.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if offline() and not cached.is_file():
        raise WeightsError(
            f"{owner}'s weights are not at {cached} and the run is offline; download {url}, put it there or "
            "pass -p victim.checkpoint=FILE."
        )
    try:
        loaded = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True, progress=False
        )
    except Exception as error:  # the network, the disk and a wrong hash each raise their own kinds
        raise WeightsError(
            f"{owner}'s weights could not be downloaded ({error}); download {url} elsewhere and pass "
            "-p victim.checkpoint=FILE."
        ) from error
    return plain_state(loaded, url)


def plain_state(loaded: Any, place: str) -> dict[str, Tensor]:
    """Return the plain state dict of a training checkpoint, without the prefix DataParallel leaves."""
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(f"{place} holds no state dict of tensors, but a {type(loaded).__name__}.")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}
