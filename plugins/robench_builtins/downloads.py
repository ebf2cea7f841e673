"""Where libraries keep what they download, looked at without importing them."""

from __future__ import annotations

import os
from pathlib import Path

#: Files in which weights lie on the Hugging Face hub.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "open_clip_model.safetensors")


def torch_hub_file(name: str) -> Path:
    """Return where torch keeps a weights file that it downloads by its address."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(home).expanduser() / "hub" / "checkpoints" / name


def hub_folder(repository: str, kind: str = "models") -> Path:
    """Return where huggingface_hub keeps a repository of the hub."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    hub = os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")
    return Path(hub).expanduser() / f"{kind}--{repository.replace('/', '--')}"


def hub_weights(repository: str, size: str = "", parameter: str = "victim.checkpoint=DIR") -> tuple[str, ...]:
    """Return what to say of a repository's weights unless they are here; ``size`` such as ``605 MB``."""
    folder = hub_folder(repository)
    if any(path.is_file() for name in WEIGHTS for path in folder.glob(f"snapshots/*/{name}")):
        return ()
    large = f" ({size})" if size else ""
    return (
        f"weights of https://huggingface.co/{repository}{large}: to {folder}; without the hub, put its files into a "
        f"folder and pass -p {parameter}.",
    )
