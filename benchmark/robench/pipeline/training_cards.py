"""The training of a model that comes without weights, and its card: load, fit, record. Imports no torch by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from robench.contracts.components import Model
from robench.errors import RobenchError
from robench.evidence.fingerprint import fingerprint
from robench.evidence.store import Store
from robench.evidence.training_card import TrainingCard
from robench.evidence.training_card_file import FILE
from robench.plan.cell import Cell, SelectedComponent, type_of

if TYPE_CHECKING:
    from robench.pipeline.workbench import Workbench

TRAININGS = "training"


def untrained(cells: Iterable[Cell]) -> dict[str, tuple[Cell, SelectedComponent]]:
    """Return what these cells need that is trained on the spot: by fingerprint, the first cell and the model."""
    found: dict[str, tuple[Cell, SelectedComponent]] = {}
    for cell in cells:
        chosen = (cell.victim, cell.surrogate, *cell.loads)
        for model in (part for one in chosen if one is not None for part in one.family):
            if type_of(model, Model).untrained():
                found.setdefault(cell.model_id(model), (cell, model))
    return found


def train(cell: Cell, chosen: SelectedComponent, workbench: Workbench) -> TrainingCard:
    """Return the card of a model that is trained here; it is trained, and its card recorded, once."""
    from robench.pipeline.stages.record import record_training

    model_id = cell.model_id(chosen)
    card = stored_card(workbench.store, model_id)
    if card is not None:
        return card
    fitted = workbench.trained(cell, chosen)
    if fitted is None:
        raise TypeError(f"{chosen.component.name} comes with weights")
    data = workbench.data(cell.home)
    made = record_training(cell, chosen, data.test.shape, data.classes, fitted)
    workbench.store.put(TRAININGS, _key(model_id), FILE.meta(made))
    return stored_card(workbench.store, model_id) or made


def stored_card(store: Store, model_id: str) -> TrainingCard | None:
    """Return the card of a training from the store, if it is there."""
    return FILE.stored(store.get(TRAININGS, _key(model_id)))


def trainings(
    cells: Iterable[Cell],
    store: Store,
    workbench: Callable[[], Workbench],
    note: Callable[[str], None],
    yielded: set[str],
) -> Iterator[TrainingCard]:
    """Yield a card for each model that was trained for these cells; nothing is trained for the sake of a card.

    Args:
        cells: what was run.
        store: where fits and cards are stored.
        workbench: makes the workbench, which is needed where a fit is stored and its card is not.
        note: called with a sentence about a card that cannot be made, since the cells stand without it.
        yielded: fingerprints of the models whose cards were yielded before, and are skipped; it grows.
    """
    for model_id, (cell, chosen) in untrained(cells).items():
        if model_id in yielded:
            continue
        card = stored_card(store, model_id)
        if card is None and store.get("fit", model_id) is not None:
            try:
                card = train(cell, chosen, workbench())
            except RobenchError as error:
                note(f"The training of {chosen.component.name} has no card: {error}")
        if card is not None:
            yielded.add(model_id)
            yield card


def _key(model_id: str) -> str:
    return fingerprint("record", training=model_id)
