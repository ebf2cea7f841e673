"""Hand over trained weights: a file of tensors, and the parameters with which the model takes them back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save
from torch import nn

from robench.contracts.components import Model
from robench.contracts.parameters import parameters_of
from robench.errors import RobenchError, WeightsError
from robench.evidence.card import Scalar
from robench.evidence.files import write_whole
from robench.evidence.tensor_digests import weights_digest
from robench.pipeline.workbench import Workbench
from robench.plan.cell import Cell, SelectedComponent, type_of

FILE = "model.safetensors"
#: The parameter with which models take weights from a file.
CHECKPOINT = "checkpoint"


def save_weights(network: nn.Module, folder: Path) -> Path:
    """Write a network's state dict, whole or not at all; return the file."""
    path = folder / FILE
    # Copies: weights that two layers share would be refused, and load_state_dict wants each under its own name.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    write_whole(path, save(state, {"format": "pt"}))
    return path


def loading(chosen: SelectedComponent, path: Path) -> dict[str, Scalar]:
    """Return the parameters of the same model with its weights from ``path``.

    Those that ask for training, such as ``pretrained=false``, are left out; WeightsError if nothing takes a file.
    """
    name = chosen.component.name
    if CHECKPOINT not in parameters_of(type(chosen.component)):
        raise WeightsError(f"{name} has no parameter '{CHECKPOINT}' to take them with.")
    taken: dict[str, Scalar] = {CHECKPOINT: str(path)}
    changed = chosen.changed.items()
    parameters = {key: value for key, value in changed if not _untrained(chosen, {key: value, **taken})} | taken
    if _untrained(chosen, parameters):
        raise WeightsError(f"{name} is trained even when '{CHECKPOINT}' is given.")
    return parameters


def check_loading(
    cell: Cell, chosen: SelectedComponent, parameters: Mapping[str, Scalar], workbench: Workbench, digest: str
) -> None:
    """Raise RobenchError unless the model, built with ``parameters``, has the weights of that digest."""
    again = replace(chosen, component=chosen.offer.build(parameters))
    if weights_digest(workbench.model(cell, again)) != digest:
        raise WeightsError(f"{again.component.name} makes other weights of them.")


def hand_over(
    cell: Cell, chosen: SelectedComponent, workbench: Workbench, folder: Path
) -> tuple[Path, dict[str, Scalar], str]:
    """Write a model's weights; return the file, the parameters that load it, and why there are none if so."""
    model = workbench.model(cell, chosen)
    path = save_weights(model.network, folder)
    try:
        parameters = loading(chosen, path)
        check_loading(cell, chosen, parameters, workbench, weights_digest(model))
    except RobenchError as error:
        return path, {}, str(error)
    return path, parameters, ""


def _untrained(chosen: SelectedComponent, parameters: Mapping[str, Scalar]) -> bool:
    model: Model = type_of(replace(chosen, component=chosen.offer.build(parameters)), Model)
    return model.untrained()
