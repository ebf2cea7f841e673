"""What other tools would say of an evaluation: the role of those who look for wrong numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from robench.contracts.components import Attack, Component

if TYPE_CHECKING:
    from robench.contracts.classifier import Classifier
    from robench.contracts.examples import Examples
    from robench.contracts.task import Task


@dataclass(frozen=True)
class Evaluated:
    """Hold an evaluation as another tool would meet it: without the harness's refusals and its optimisations.

    Attributes:
        model: the defended victim, whose answers are scored; images (N, C, H, W) in [0, 1] in, logits (N, K) out.
        attack: the attack that is run, with its parameters.
        target: what the attack is given: the model itself, what stands in for it (BPDA) or its mean answers (EOT).
        test: the first images that are tested on, and their labels.
        task: what crafting is held to; the threat model in ``task.threat``.
    """

    model: Classifier
    attack: Attack
    target: Classifier
    test: Examples
    task: Task


class Detector(Component):
    """Warn of evaluations that are wrong: ``robench traps --detectors`` holds the warnings against the truth."""

    #: True if the warnings depend on model, images and threat model alone: they are then asked for once for all
    #: attacks on one model.
    model_only: ClassVar[bool] = False

    def warnings(self, evaluated: Evaluated) -> tuple[str, ...]:
        """Return the name of each warning that is raised; nothing if the evaluation looks sound.

        A model or attack may raise anything; where your tool would end with that exception, let it through: it is
        shown as ``raises`` and counts as a warning, since no user overlooks it. Global generators are seeded.
        """
        raise NotImplementedError
