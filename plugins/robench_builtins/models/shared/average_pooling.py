"""Average pooling whose gradient has the same bits on every device; imported only where torch is wanted."""

from __future__ import annotations

from torch import Tensor, nn


class GridMean(nn.Module):
    """Average maps over a grid of ``side`` x ``side`` fields, as adaptive pooling; the same bits on every device.

    Adaptive pooling's own backward adds in any order on a GPU; two products with constant matrices do not.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, side, side) for ``maps`` (N, C, H, W)."""
        rows, columns = (self._fields(maps, length) for length in maps.shape[2:])
        return rows @ maps @ columns.T

    def _fields(self, maps: Tensor, length: int) -> Tensor:
        """Return (side, length): in row i, the weights of the pixels of field i."""
        fields = maps.new_zeros(self.side, length)
        for place in range(self.side):
            start, stop = place * length // self.side, -(-(place + 1) * length // self.side)
            fields[place, start:stop] = 1 / (stop - start)
        return fields
