"""A GPU that has failed once answers nothing more in this process: stop, and do not blame every cell after."""

from __future__ import annotations

import torch

from robench.errors import DeviceError


class DeviceLost(DeviceError):
    """Report that nothing more can be computed in this process."""


def check_device(device: str, error: BaseException) -> None:
    """Raise DeviceLost if, after ``error``, the GPU does not even add two numbers."""
    if not device.startswith("cuda"):
        return
    try:
        torch.ones(1, device=device).add(1).item()
    except RuntimeError as broken:
        if isinstance(broken, torch.OutOfMemoryError):
            return
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DeviceLost(
            f"{device} failed and answers nothing more in this process ({first}). What was finished is stored: give "
            "the same command again to go on, with CUDA_LAUNCH_BLOCKING=1 before it to see which line fails."
        ) from error
