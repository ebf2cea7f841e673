"""Whether another class leads anywhere in a ball, exactly: a mixed-integer linear program of a ReLU network (HiGHS)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from robench import ThreatModel
from robench.bounds.linear_bounds import box, layer_bounds, margin_bounds
from robench.bounds.relu_chain import Affine, Chain
from robench_exam.ground import Floats, as_images

#: Leads nearer to 0 are not told apart: float32 could not either.
TIE = 2e-3
#: Of scipy.optimize.milp.
INFEASIBLE = 2


class Program:
    """Hold the program of one image in Linf (Tjeng et al. 2019, https://arxiv.org/abs/1711.07356).

    Each ReLU a = max(z, 0) with l < 0 < u is a >= 0, a >= z, a <= z - l (1 - d), a <= u d, with d in {0, 1}; the bounds
    l and u are linear ones (CROWN). Others are linear.
    """

    def __init__(self, chain: Chain, image: Floats, threat: ThreatModel) -> None:
        self.chain = chain
        self.threat = threat
        self.image = as_images(image[None]).double()
        self.pixels = image
        self.logits = chain(self.image)[0].numpy()
        self.bounds = layer_bounds(chain, self.image, threat, "crown")
        low, high = (bound.flatten().numpy() for bound in box(self.image, threat))
        self.low, self.high = [low], [high]
        self.rows: list[tuple[dict[int, float], float, float]] = []
        self.integral = [np.zeros(len(low))]
        self.begin = 0  # of the columns that the next layer reads
        for affine, (lower, upper) in zip(chain.maps, self.bounds, strict=False):
            self._layer(*matrix_of(affine, self._like()), lower.flatten().numpy(), upper.flatten().numpy())
            self.shape = lower.shape

    def lead(self, label: int) -> tuple[float, Floats]:
        """Return by how much another class leads ``label`` somewhere in the ball, and the pixels where it does.

        Minus infinity where none leads by more than ``-TIE``; 0 where one does, and none leads by ``TIE``.
        """
        weight, offset = matrix_of(self.chain.maps[-1], self._like())
        certain = margin_bounds(self.chain, self.image, torch.tensor([label]), self.threat, "crown")[0].numpy()
        others = [int(other) for other in np.argsort(certain) if certain[other] < TIE]
        rows = {other: (weight[other] - weight[label], float(offset[other] - offset[label])) for other in others}
        tied = False
        for other in others:
            for least in (-TIE, TIE):
                found = self._solve(*rows[other], least)
                if found is None:
                    break
                if found[0] >= TIE:
                    return found
                tied = True
        return 0.0 if tied else -np.inf, self.pixels

    def _like(self) -> torch.Tensor:
        shape = getattr(self, "shape", self.image.shape)
        return torch.zeros(shape, dtype=torch.float64)

    def _columns(self) -> int:
        return sum(map(len, self.low))

    def _layer(self, weight: Floats, offset: Floats, lower: Floats, upper: Floats) -> None:
        """Add columns for a layer's outputs after the ReLU, and for the switches of those that may be on or off."""
        begin, first = self.begin, self._columns()
        self.low.append(np.maximum(lower, 0))
        self.high.append(np.maximum(upper, 0))
        open_ = np.flatnonzero((lower < 0) & (upper > 0))
        switch = dict(zip(open_.tolist(), range(first + len(lower), first + len(lower) + len(open_)), strict=True))
        for unit in np.flatnonzero(upper > 0).tolist():
            inputs = {begin + place: -value for place, value in enumerate(weight[unit].tolist()) if value}
            output = {first + unit: 1.0, **inputs}
            self.rows.append((output, offset[unit], np.inf if unit in switch else offset[unit]))
            if unit in switch:
                self.rows.append(({**output, switch[unit]: -lower[unit]}, -np.inf, offset[unit] - lower[unit]))
                self.rows.append(({first + unit: 1.0, switch[unit]: -upper[unit]}, -np.inf, 0.0))
        self.low.append(np.zeros(len(open_)))
        self.high.append(np.ones(len(open_)))
        self.integral += [np.zeros(len(lower)), np.ones(len(open_))]
        self.begin = first

    def _solve(self, lead: Floats, offset: float, least: float) -> tuple[float, Floats] | None:
        """Return a point where a linear function of the last hidden layer is at least ``least``, its value first."""
        columns = self._columns()
        objective = np.zeros(columns)
        objective[self.begin : self.begin + len(lead)] = -lead
        rows = [(dict(enumerate((-objective).tolist())), least - offset, np.inf), *self.rows]
        entries = [(row, column, value) for row, (found, _, _) in enumerate(rows) for column, value in found.items()]
        places, kinds, values = (np.array(part) for part in zip(*entries, strict=True))
        matrix = csr_array((values, (places, kinds)), shape=(len(rows), columns))
        done = milp(
            objective,
            integrality=np.concatenate(self.integral),
            bounds=Bounds(np.concatenate(self.low), np.concatenate(self.high)),
            constraints=LinearConstraint(matrix, [row[1] for row in rows], [row[2] for row in rows]),
            options={"mip_rel_gap": 1e6},  # the first point will do
        )
        if done.status == INFEASIBLE:
            return None
        if done.x is None:
            raise ArithmeticError(f"a program was not solved: {done.message}")
        return offset - float(objective @ done.x), np.clip(done.x[: len(self.pixels)], self.low[0], self.high[0])


def matrix_of(affine: Affine, like: torch.Tensor) -> tuple[Floats, Floats]:
    """Return an affine map's matrix (outputs, inputs) and offset; ``like`` (1, *inputs) gives the inputs' shape."""
    with torch.no_grad():
        offset = affine(like * 0).flatten()
        unit = torch.eye(like.numel(), dtype=torch.float64).view(-1, *like.shape[1:])
        columns = affine(unit).flatten(1) - offset
    return columns.T.numpy(), offset.numpy()
