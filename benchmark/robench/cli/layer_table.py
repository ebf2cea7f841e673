"""What ``robench show VICTIM --layers`` prints: each layer's input, output and parameters, through torchinfo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torchinfo import ModelStatistics, summary

from robench.contracts.classifier import Classifier, ZeroShotClassifier
from robench.contracts.components import Model
from robench.errors import SpecError
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import type_of
from robench.plan.spec import Spec, plan

COLUMNS = ("input_size", "output_size", "num_params")
#: torchinfo counts the products of a linear layer for one token, however many there are, so they are left out.
WRONG = "Total mult-adds"


@dataclass(frozen=True)
class Traced:
    """Hold a table as text, with what the victim is above it, and the same as JSON values."""

    text: str
    values: dict[str, Any]


def traced(victim: str, dataset: str, parameters: dict[str, str], depth: int) -> Traced:
    """Return the table of a victim on one image of a dataset.

    Raises:
        RobenchError: there is no such victim, or it cannot be loaded or traced.
    """
    cell = plan(Spec(dataset=dataset, victim=(victim,), parameters=parameters), "cpu")[0]
    with TemporaryDirectory(prefix="robench-") as folder:
        bench = Workbench(Options(store=Path(folder), device="cpu"), "cpu")
        classifier = bench.loaded(cell, cell.victim)
        shape = bench.data(cell).test.shape
    untrained = type_of(cell.victim, Model).untrained()
    # What is trained from scratch is trained whole; of what comes with weights, a defense says what it trains.
    classifier.requires_grad_(untrained)
    state = "it comes without weights and is trained whole" if untrained else "it comes with weights, frozen"
    if isinstance(classifier, ZeroShotClassifier):
        state += "; a CLIP's image side, since its text tower is done when the classes are embedded"
    sides = " x ".join(map(str, shape))
    label, images = cell.victim.record().label, cell.dataset.record().label
    found = _summary(classifier, shape, depth, label)
    layers = [
        {
            "name": layer.var_name,
            "kind": layer.class_name,
            "depth": layer.depth,
            "input": list(layer.input_size),
            "output": list(layer.output_size),
            "parameters": layer.num_params,
            "trainable": layer.trainable_params,
        }
        for layer in found.summary_list
        if layer.depth <= depth
    ]
    values = {
        "victim": label,
        "dataset": images,
        "shape": list(shape),
        "says": state,
        "parameters": found.total_params,
        "trainable": found.trainable_params,
        "layers": layers,
    }
    return Traced(f"{label} on one image of {images} ({sides}); {state}\n{_text(found)}", values)


def trace(classifier: Classifier, shape: tuple[int, int, int], depth: int, label: str) -> str:
    """Return torchinfo's table for one image (C, H, W) in [0, 1]."""
    return _text(_summary(classifier, shape, depth, label))


def _text(found: ModelStatistics) -> str:
    return "\n".join(line.rstrip() for line in str(found).splitlines() if not line.startswith(WRONG))


def _summary(classifier: Classifier, shape: tuple[int, int, int], depth: int, label: str) -> ModelStatistics:
    """Return what torchinfo makes of one image's way through the layers."""
    try:
        return summary(classifier, (1, *shape), depth=depth, col_names=COLUMNS, row_settings=("var_names",), verbose=0)
    except Exception as error:  # a network may hold or raise anything, and torchinfo hooks into each of its layers
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise SpecError(
            f"The layers of {label} cannot be shown, since torchinfo cannot follow its forward pass ({reason[:300]}); "
            "an exported or compiled program hides them. Show the model it was made from."
        ) from error
