"""Build timm's networks; imported only where timm is wanted."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from torch import nn

from robench import Classifier, SpecError, Task, WeightsError
from robench_builtins.models.shared.library_model import LibraryModel, other_classes, reason
from robench_builtins.models.shared.state_dict import read_state
from robench_builtins.models.shared.timm_preprocessing import read_config


def build(asked: LibraryModel, task: Task) -> Classifier:
    """Return the classifier of a timm model, on the CPU."""
    _check_name(asked.model)
    local = asked.files()[0] if asked.checkpoint else None
    network = _network(asked, local, task)
    config = resolve_model_data_config(network)
    if asked.resolution is not None:
        _resize(network, asked, asked.resolution)
    preprocess = read_config(config, asked.place, asked.interpolation, task.shape, asked.resolution)
    return Classifier(network, len(task.classes), preprocess)


def repository(model: str) -> str:
    """Return the hub's repository of a model's weights; nothing where there is none."""
    found = timm.get_pretrained_cfg(model) if timm.is_model(model) else None
    return str(found.hf_hub_id or "") if found is not None else ""


def _check_name(name: str) -> None:
    if timm.is_model(name):
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name.partition('.')[0]}.*")]
        tag = name.partition(".")[2]
        if tag and tag not in tags:
            raise SpecError(
                f"timm has no weights '{tag}' of {name.partition('.')[0]}; it has {', '.join(tags) or 'none'}."
            )
        return
    near = get_close_matches(name, timm.list_models(), n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise SpecError(f"timm has no model '{name}'; {hint}timm.list_models('*resnet*') lists those of a family.")


def _network(asked: LibraryModel, local: Path | None, task: Task) -> nn.Module:
    """Return the network; with weights, its last layer is theirs or, if a new one is wanted, drawn."""
    classes = len(task.classes)
    if not asked.pretrained:
        return _created(asked, asked.model, classes, pretrained=False)
    model, rows, overlay = _weights(asked, local, task)
    if asked.head == "own" and rows != classes:
        raise other_classes(asked.place, rows, classes)
    network = _created(asked, model, rows or classes, pretrained=True, pretrained_cfg_overlay=overlay)
    if "state_dict" in overlay:  # or every copy of the network would hold it once more
        network.pretrained_cfg.pop("state_dict", None)  # type: ignore[union-attr, operator]  # a dict, says timm
    if asked.head == "new" and rows:
        reset: Any = network.reset_classifier
        reset(classes)
    return network


def _weights(asked: LibraryModel, local: Path | None, task: Task) -> tuple[str, int, dict[str, Any]]:
    """Return timm's name for the weights, the classes they tell apart (0: they have no last layer) and their place."""
    published = timm.get_pretrained_cfg(asked.model)
    if local is None:
        if not timm.is_model_pretrained(asked.model):
            raise SpecError(
                f"timm has no weights of {asked.model}; bring some with -p victim.checkpoint=FILE, or train it with "
                "-p victim.pretrained=false."
            )
        return asked.model, published.num_classes, {}
    if local.is_dir():
        return f"local-dir:{local}", _folder_classes(asked, local), {}
    state = read_state(local, "victim.checkpoint")
    task.note(state.noted(str(local)))
    heads = [published.classifier] if isinstance(published.classifier, str) else list(published.classifier or ())
    rows = next((len(state[f"{head}.weight"]) for head in heads if f"{head}.weight" in state), 0)
    return asked.model, rows, {"state_dict": dict(state), "num_classes": rows, "label_offset": 0, "custom_load": False}


def _folder_classes(asked: LibraryModel, folder: Path) -> int:
    """Return the classes of a folder that timm saved; WeightsError if it holds another architecture."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture, rows = str(config["architecture"]), int(config["num_classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder} is no folder that timm saved ({reason(error)}); name one with config.json and its weights, or "
            "a file of weights."
        ) from error
    if not (
        folder / "model.safetensors"
    ).is_file():  # what else lies there may be pickled, which not every timm refuses
        raise WeightsError(f"{folder} holds no model.safetensors; save it again with safe_serialization=True.")
    if architecture != asked.model.partition(".")[0]:
        raise WeightsError(f"{folder} holds a {architecture}, not a {asked.model}; write timm:{architecture}.")
    return rows


def _created(asked: LibraryModel, model: str, classes: int, **options: Any) -> nn.Module:
    try:
        network: nn.Module = timm.create_model(model, num_classes=classes, **options)
    except Exception as error:  # hub, file readers and constructors each raise their own kinds
        if asked.checkpoint or not asked.pretrained:
            raise WeightsError(
                f"{asked.place} does not make timm's {asked.model} ({reason(error)}); give undamaged weights of this "
                "very architecture."
            ) from error
        hub = timm.get_pretrained_cfg(asked.model).hf_hub_id
        raise WeightsError(
            f"timm's weights of {asked.model} cannot be loaded ({reason(error)}). Connect to the Hugging Face hub, or "
            f"download model.safetensors of https://huggingface.co/{hub} and pass -p victim.checkpoint=FILE."
        ) from error
    return network


def _resize(network: nn.Module, asked: LibraryModel, side: int) -> None:
    """Fit position embeddings and windows to images of ``side``; WeightsError if this network cannot take them."""
    fit: Any = getattr(network, "set_input_size", None)
    try:
        if fit is not None:
            fit(img_size=(side, side))
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except Exception as error:  # every architecture asserts in its own way
        raise WeightsError(
            f"{asked.model} does not take images of {side} x {side} ({reason(error)}); choose another "
            "-p victim.resolution, or none for the library's."
        ) from error
