"""Where a run computes, and whether it may reach for a hub."""

from __future__ import annotations

import os

#: What torchrun and Slurm call a process's number on its node.
LOCAL = ("LOCAL_RANK", "SLURM_LOCALID")

#: What a driver for NVIDIA GPUs puts there.
NVIDIA = ("/dev/nvidiactl", "/proc/driver/nvidia/version")


def is_offline() -> bool:
    """Tell whether the user's variables forbid reaching for a hub."""
    words = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "ROBENCH_OFFLINE"))
    return any(word.lower() in ("1", "true", "yes", "on") for word in words)


def go_offline(offline: bool) -> None:
    """Keep every hub library from reaching out; it must happen before they are imported."""
    if offline:
        os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "ROBENCH_OFFLINE": "1"})


def choose_device(device: str) -> str:
    """Resolve ``auto`` without importing torch where there cannot be a GPU; of several GPUs take this process's own.

    Which that is, torchrun and Slurm say: the first process of a node takes ``cuda:0``, the second ``cuda:1``.
    """
    if device not in ("auto", "cuda"):
        return device
    local = next((os.environ[name] for name in LOCAL if os.environ.get(name, "").isdigit()), "0")
    if device == "cuda" and local == "0":
        return device
    # os.path, since a path that may not be looked at is no error there.
    if device == "auto" and not (any(map(os.path.exists, NVIDIA)) or os.name == "nt"):
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto" and not count:
        return "cpu"
    return f"cuda:{int(local) % count}" if local != "0" and count > 1 else "cuda"
