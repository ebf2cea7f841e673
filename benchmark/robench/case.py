"""One measured cell, before it is judged and recorded: what the stages hand on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from robench.cell import Cell, type_of
from robench.contracts import Attack, Model

if TYPE_CHECKING:
    from robench.evidence.card import DataRecord, ModelRecord
    from robench.stages.craft import AdversarialSet
    from robench.stages.fit import Fitted
    from robench.stages.probe import Probes
    from robench.stages.score import Outcomes


@dataclass(frozen=True)
class Case:
    """Hold everything that was measured for one cell; no model, no images."""

    cell: Cell
    data: DataRecord
    model: ModelRecord
    fitted: Fitted
    clean: Outcomes
    adversarial: AdversarialSet
    robust: Outcomes
    surrogate_clean: float | None
    probes: Probes

    @property
    def n(self) -> int:
        """Return the number of test images."""
        return len(self.clean.labels)

    @property
    def transfer(self) -> bool:
        """Tell whether the images were crafted on a surrogate."""
        return self.cell.surrogate is not None

    @property
    def iterative(self) -> bool:
        """Tell whether the attack takes more than one step."""
        return bool(type_of(self.cell.attack, Attack).iterative)

    @property
    def attack_name(self) -> str:
        """Return the attack's name."""
        return self.cell.attack.component.name

    @cached_property
    def attack_key(self) -> str:
        """Return what two cells under the same attack share."""
        return json.dumps(self.cell.attack.key, sort_keys=True)

    @cached_property
    def row(self) -> str:
        """Return what the cells of one row share: the defended victim."""
        return self.cell.fit_id

    @property
    def reference(self) -> tuple[float | None, float]:
        """Return the victim's stated clean accuracy on this dataset, and its tolerance."""
        model: Any = type_of(self.cell.victim, Model)
        return self.model.reference, model.reference_tolerance
