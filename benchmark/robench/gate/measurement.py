"""One measured cell, before it is judged and recorded: what the stages hand on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from robench.contracts.components import Attack, Model
from robench.evidence.image_signatures import ImageSignatures, joined
from robench.plan.cell import Cell, type_of

if TYPE_CHECKING:
    from robench.evidence.adversarial_set import AdversarialSet
    from robench.evidence.card import DataRecord, ModelRecord
    from robench.gate.level import Level
    from robench.pipeline.stages.certify import Certified
    from robench.pipeline.stages.fit import Fitted
    from robench.pipeline.stages.score import Outcomes


@dataclass(frozen=True)
class Measurement:
    """Hold everything that was measured for one cell; no model, no images.

    Attributes:
        trained: the undefended victim, where it was trained for this run.
        certified: what each of the cell's certificates proved of the defended victim.
        classes_served: classes that occur in the training split; looked up where the test images show few.
        probes: what the gate tried on this cell's attack, by probe.
        model_probes: what it tried on the defended victim, shared by the attacks on it.
        gate: the passes and clocks of both, the victim's being charged to its dearest attack.
    """

    cell: Cell
    data: DataRecord
    model: ModelRecord
    fitted: Fitted
    trained: Fitted | None
    clean: Outcomes
    adversarial: AdversarialSet
    robust: Outcomes
    surrogate_clean: float | None
    level: Level
    certified: Sequence[Certified] = ()
    classes_served: int | None = None
    probes: Mapping[str, Any] = field(default_factory=dict)
    model_probes: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Return the number of test images."""
        return len(self.clean.labels)

    @property
    def train_signatures(self) -> ImageSignatures:
        """Return the signatures of every image that the victim or its defense was trained on."""
        fits = [self.fitted] if self.trained is None else [self.fitted, self.trained]
        return joined([fitted.train_signatures for fitted in fits])

    @property
    def transfer(self) -> bool:
        """Tell whether the images were crafted on a surrogate."""
        return self.cell.surrogate is not None

    @property
    def iterative(self) -> bool:
        """Tell whether the attack takes more than one step."""
        return bool(type_of(self.cell.attack, Attack).iterative)

    @property
    def made_elsewhere(self) -> bool:
        """Tell whether the images come from a file, so that nothing is known of the attack."""
        return bool(type_of(self.cell.attack, Attack).made_elsewhere)

    @property
    def attack_name(self) -> str:
        """Return the attack's name."""
        return self.cell.attack.component.name

    @property
    def own(self) -> int:
        """Return the cell's own passes: scoring clean images, crafting, and scoring what was crafted."""
        craft = self.adversarial.meter
        return self.clean.cost.forwards + craft.forwards + craft.backwards + self.robust.cost.forwards

    def too_dear(self, probe: str) -> str:
        """Return why a probe was not made and what it would take, if it did not fit into what the gate may spend."""
        beyond: Mapping[str, float] = {**self.model_probes.get("beyond", {}), **self.probes.get("beyond", {})}
        if probe not in beyond or not self.level.cost:
            return ""
        images = math.ceil(self.n * beyond[probe] / self.level.cost)
        return (
            "Not enough images: what this takes is more than the gate may spend on this cell. About "
            f"{images:,} would do (--n), or --gate-cost {math.ceil(10 * beyond[probe]) / 10:g}."
        )

    @property
    def gate_share(self) -> float:
        """Return the gate's passes as a share of the cell's own."""
        return float(self.gate["forwards"] + self.gate["backwards"]) / max(self.own, 1)

    @cached_property
    def attack_key(self) -> str:
        """Return what two cells under the same attack share."""
        return json.dumps(self.cell.attack.key, sort_keys=True)

    @cached_property
    def defended_victim(self) -> str:
        """Return the fingerprint of the defended victim, which the attacks on it share."""
        return self.cell.fit_id

    @property
    def reference(self) -> tuple[float | None, float]:
        """Return the victim's stated clean accuracy on this dataset, and its tolerance."""
        model: Any = type_of(self.cell.victim, Model)
        return self.model.reference, model.reference_tolerance
