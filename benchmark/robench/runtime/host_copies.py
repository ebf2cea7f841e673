"""Images that a device made, put at their places on the host; from a GPU they are copied while it works on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class HostCopies:
    """Put images at places of ``into``, a tensor on the CPU.

    From a GPU they go to pinned memory, and nobody waits for them before :meth:`settle`.
    """

    def __init__(self, into: Tensor) -> None:
        self._into = into
        self._under_way: list[tuple[Sequence[int], Tensor, torch.cuda.Event]] = []

    def put(self, places: Sequence[int], images: Tensor) -> None:
        """Put ``images`` at ``places``, or begin to."""
        if images.device.type != "cuda":
            self._into[places] = images.cpu()
            return
        with torch.cuda.device(images.device):
            arriving = images.to("cpu", non_blocking=True)  # torch takes pinned memory for it
            arrived = torch.cuda.Event()
            arrived.record()
        self._under_way.append((places, arriving, arrived))

    def settle(self) -> None:
        """Wait until all that was put is in its place."""
        for places, images, arrived in self._under_way:
            arrived.synchronize()
            self._into[places] = images
        self._under_way.clear()
