"""Where a result came from: machine, software, revision."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from robench.evidence.card import Environment

#: Of each backend the operations whose products torch can be told to round: (backend, operation) in torch's words.
PRODUCTS = tuple((backend, operation) for backend in ("cuda", "mkldnn") for operation in ("matmul", "conv", "rnn"))
#: What torch calls float32, set or left as it is.
EXACT = ("ieee", "none")

PACKAGES = ("torch", "torchvision", "transformers", "peft", "numpy", "scipy", "scikit-learn", "safetensors")


def environment(device: str, crafted_on: Iterable[str] = (), unrepeatable: Iterable[str] = ()) -> Environment:
    """Return the environment of a run on ``device``.

    Args:
        device: where this process computes.
        crafted_on: on what each part of the adversarial set was crafted.
        unrepeatable: operations there that do not repeat their bits.
    """
    import torch

    revision, dirty = _revision()
    return Environment(
        robench=version("robench"),
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        device=device_name(device),
        dtype="float32",
        tf32=bool(rounded_products()),
        threads=torch.get_num_threads(),
        revision=revision,
        dirty=dirty,
        crafted_on=sorted({*crafted_on}),
        unrepeatable=sorted({*unrepeatable}),
    )


def rounded_products() -> dict[str, str]:
    """Return what products of float32 numbers are rounded to (``tf32``, ``bf16``), by where; empty for none.

    torch's older flags (``allow_tf32``) are not asked: they raise where somebody has used the newer ones.
    """
    import torch

    found = {f"{backend}.{name}": torch._C._get_fp32_precision_getter(backend, name) for backend, name in PRODUCTS}
    return {place: precision for place, precision in found.items() if precision not in EXACT}


def hardware(device: str) -> str:
    """Return the device's own name and the versions that its results and its seconds depend on."""
    import torch

    kind = device.partition(":")[0]
    parts = [device_name(device).partition(" (")[2].removesuffix(")") or kind, f"torch {torch.__version__}"]
    if kind == "cuda":
        cudnn = torch.backends.cudnn.version()
        parts += [f"driver {_driver()}", f"CUDA {torch.version.cuda}", f"cuDNN {cudnn}"]
    return ", ".join(parts)


@lru_cache(maxsize=1)
def _driver() -> str:
    """Return the NVIDIA driver's version, or ``unknown``."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except Exception:  # an absent library or driver: the figure is optional
        return "unknown"


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
