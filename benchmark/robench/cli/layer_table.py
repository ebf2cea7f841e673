"""What ``robench show VICTIM --layers`` prints: each layer's input, output and parameters, through torchinfo."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from torchinfo import summary

from robench.contracts.classifier import Classifier, ZeroShotClassifier
from robench.contracts.components import Model
from robench.errors import SpecError
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import type_of
from robench.plan.spec import Spec, plan

COLUMNS = ("input_size", "output_size", "num_params")
#: torchinfo counts the products of a linear layer for one token, however many there are, so they are left out.
WRONG = "Total mult-adds"


def layer_table(victim: str, dataset: str, parameters: dict[str, str], depth: int) -> str:
    """Return the table of a victim on one image of a dataset, with what the victim is above it.

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
    head = f"{cell.victim.record().label} on one image of {cell.dataset.record().label} ({sides}); {state}"
    return f"{head}\n{trace(classifier, shape, depth, cell.victim.record().label)}"


def trace(classifier: Classifier, shape: tuple[int, int, int], depth: int, label: str) -> str:
    """Return torchinfo's table for one image (C, H, W) in [0, 1]."""
    try:
        found = summary(classifier, (1, *shape), depth=depth, col_names=COLUMNS, row_settings=("var_names",), verbose=0)
    except Exception as error:  # a network may hold or raise anything, and torchinfo hooks into each of its layers
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise SpecError(
            f"The layers of {label} cannot be shown, since torchinfo cannot follow its forward pass ({reason[:300]}); "
            "an exported or compiled program hides them. Show the model it was made from."
        ) from error
    return "\n".join(line.rstrip() for line in str(found).splitlines() if not line.startswith(WRONG))
