"""What ``robench doctor`` asks torch: its build, the GPUs, and whether float32 is float32."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from robench.cli.doctor_checks import GIB, Check

DRIVER = Path("/proc/driver/nvidia/version")
#: Variables that turn TF32 on below torch, where no flag of a program can turn it off.
FORCED = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


def accelerator() -> Iterator[Check]:
    """Yield what torch says about itself and the GPUs."""
    try:
        import torch
    except Exception as error:  # a broken installation raises OSError, ImportError or its own kinds
        remedy = "Install torch again, as its own page says for this system."
        yield Check("torch", "fail", f"it cannot be imported: {type(error).__name__}: {error}", remedy)
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
    yield Check("torch", "ok", f"{torch.__version__}, built for {built}, {torch.get_num_threads()} threads")
    yield from _devices(torch.version.cuda)
    forced = [name for name in FORCED if os.environ.get(name) == "1"]
    if forced:
        remedy = f"unset {' '.join(forced)}: attacks need float32, and TF32 gradients make them look weaker."
        yield Check("tf32", "fail", f"{' and '.join(forced)} force TF32 whatever a run asks for", remedy)
    else:
        yield Check("tf32", "ok", "off in every run; robench sets torch's flags itself")


def _devices(built: str | None) -> Iterator[Check]:
    import torch

    driver = _driver()
    if not torch.cuda.is_available():
        if not driver:
            yield Check("cuda", "ok", "no NVIDIA driver here; runs use the CPU")
        elif os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
            yield Check("cuda", "ok", f"driver {driver}; CUDA_VISIBLE_DEVICES hides the GPUs, runs use the CPU")
        elif built is None:
            remedy = "Install a torch build for CUDA; until then runs use the CPU."
            yield Check("cuda", "warn", f"driver {driver} is there, but torch is built for the CPU alone", remedy)
        else:
            remedy = "Compare nvidia-smi's CUDA version with torch's and install a driver at least as new."
            yield Check("cuda", "warn", f"driver {driver} is there, but torch {built} sees no device", remedy)
        return
    for index in range(torch.cuda.device_count()):
        try:
            free, total = torch.cuda.mem_get_info(index)
        except RuntimeError as error:
            remedy = "See who holds it with nvidia-smi, or choose another with --device cuda:N."
            reason = str(error).splitlines()[0]
            yield Check("cuda", "fail", f"cuda:{index} {torch.cuda.get_device_name(index)}: {reason}", remedy)
            continue
        detail = f"cuda:{index} {torch.cuda.get_device_name(index)}, driver {driver or 'unknown'}, "
        detail += f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
        scarce = free < total / 4
        remedy = "Another process holds most of it: choose another GPU, or give a smaller --batch-size."
        yield Check("cuda", "warn" if scarce else "ok", detail, remedy if scarce else "")


def _driver() -> str:
    """Return the NVIDIA driver's version, empty if there is none."""
    try:
        words = DRIVER.read_text(encoding="utf-8", errors="replace").splitlines()[0].split()
    except (OSError, IndexError):
        return ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "")
