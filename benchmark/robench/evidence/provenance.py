"""Where a result came from: machine, software, revision."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from robench.evidence.card import Environment

PACKAGES = ("torch", "torchvision", "transformers", "peft", "numpy", "scipy", "scikit-learn", "safetensors")


def environment(device: str) -> Environment:
    """Return the environment of a run on ``device``."""
    import torch

    revision, dirty = _revision()
    return Environment(
        robench=version("robench"),
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        device=device_name(device),
        dtype="float32",
        tf32=bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
        threads=torch.get_num_threads(),
        revision=revision,
        dirty=dirty,
    )


def device_name(device: str) -> str:
    """Return the device's own name."""
    if device.startswith(("cuda", "xpu")):
        import torch

        return f"{device} ({getattr(torch, device.partition(':')[0]).get_device_name(device)})"
    if not device.startswith("cpu"):
        return f"{device} ({platform.processor() or platform.machine()})"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"cpu ({line.partition(':')[2].strip()})"
    except OSError:
        pass
    return f"cpu ({platform.processor() or platform.machine()})"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@lru_cache(maxsize=1)
def _revision() -> tuple[str, bool]:
    """Return robench's git revision and whether files were changed, if it runs from a checkout of its own."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists() or not (root / "benchmark" / "robench").is_dir():
        return "", False

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - fixed words
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.TimeoutExpired):
        return "", False
