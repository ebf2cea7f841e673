"""Build torchvision's networks; imported only where torch is wanted."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings
from torchvision.transforms import InterpolationMode

from robench import Classifier, SpecError, Task, WeightsError
from robench_builtins.models.shared.checkpoint_layouts import State
from robench_builtins.models.shared.library_model import LibraryModel, other_classes, reason
from robench_builtins.models.shared.library_pixels import Recipe, held_to, preprocessing
from robench_builtins.models.shared.preprocessing_preset import smooth, square
from robench_builtins.models.shared.state_dict import fetch_state, read_state

if TYPE_CHECKING:
    from PIL.Image import Image

#: Prefixes of the classifiers that only help training.
AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")


def build(asked: LibraryModel, weights: str, task: Task) -> Classifier:
    """Return the classifier of a torchvision model, on the CPU."""
    entry = _entry(asked, weights)
    prepared = entry.transforms()
    side = asked.resolution or square(asked.place, prepared.crop_size)
    resized = side if asked.resolution is not None else square(asked.place, prepared.resize_size)
    interpolation = smooth(asked.place, prepared.interpolation.value, asked.interpolation)
    network = _network(asked, entry, side, task)
    mean, std = tuple(prepared.mean), tuple(prepared.std)
    recipe = Recipe(mean, std, resized, side, interpolation)
    transform = entry.transforms(
        crop_size=side, resize_size=resized, interpolation=InterpolationMode(interpolation), antialias=True
    )

    def library(pictures: list[Image]) -> Tensor:
        return torch.stack([transform(picture) for picture in pictures])

    whose = f"torchvision's preset of {asked.place}"
    preprocess = held_to(library, preprocessing(recipe, task.shape), recipe, task.shape, whose)
    return Classifier(network, len(task.classes), preprocess)


def address(asked: LibraryModel, weights: str) -> tuple[str, str]:
    """Return where the weights are downloaded from, and how large they are; nothing where there are none."""
    entry = _entry(asked, weights)
    return (str(entry.url), f"{entry.meta['_file_size']:.0f} MB") if getattr(entry, "url", "") else ("", "")


def _entry(asked: LibraryModel, weights: str) -> Any:
    """Return torchvision's entry of the weights, with their transforms and their address."""
    known = models.list_models(module=models)
    if asked.model not in known:
        near = get_close_matches(asked.model, known, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise SpecError(
            f"torchvision has no classifier '{asked.model}'; {hint}torchvision.models.list_models() has them all."
        )
    entries = models.get_model_weights(asked.model)
    try:
        return entries[weights]
    except KeyError:
        names = ", ".join(entries.__members__)
        raise SpecError(f"torchvision has no weights '{weights}' of {asked.model}; it has {names}.") from None


def _network(asked: LibraryModel, entry: Any, side: int, task: Task) -> nn.Module:
    """Return the network; with weights, its last layer is theirs or, if a new one is wanted, drawn."""
    classes = len(task.classes)
    if not asked.pretrained:
        return _created(asked, side, classes, _kind(asked.model, None))
    published = len(entry.meta["categories"])
    if not asked.checkpoint and asked.head == "own" and published != classes:
        raise other_classes(asked.place, published, classes)
    found = _state(asked, entry)
    task.note(found.noted(asked.place))
    state: dict[str, Tensor] = found
    options = _kind(asked.model, state)
    heads = _heads(asked, state, options)
    rows = len(state[f"{heads[0]}.weight"]) if heads else classes  # without one, it is another architecture
    if asked.head == "own" and rows != classes:
        raise other_classes(asked.place, rows, classes)
    network = _created(asked, side, rows, options)
    if asked.model.startswith("vit_"):
        state = dict(interpolate_embeddings(side, int(asked.model.split("_")[2]), state))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{asked.place} does not fit torchvision's {asked.model} ({reason(error)}); give the state dict of this "
            "very architecture."
        ) from error
    return _finished(network, heads if asked.head == "new" else [], classes)


def _state(asked: LibraryModel, entry: Any) -> State:
    if asked.checkpoint:
        return read_state(asked.files()[0], "victim.checkpoint")
    return fetch_state(entry.url, asked.place)


def _kind(model: str, state: dict[str, Tensor] | None) -> dict[str, Any]:
    """Return the options that torchvision itself derives from whether there are weights."""
    if model not in ("inception_v3", "googlenet"):
        return {}
    auxiliary = state is not None and any(name.startswith(AUXILIARY) for name in state)
    return {"aux_logits": auxiliary, "transform_input": state is not None, "init_weights": state is None}


def _created(asked: LibraryModel, side: int, classes: int, options: dict[str, Any]) -> nn.Module:
    sized = {"vit_": "image_size", "maxvit_": "input_size"}
    for prefix, name in sized.items():
        if asked.model.startswith(prefix):
            options = {**options, name: side if name == "image_size" else (side, side)}
    try:
        network: nn.Module = models.get_model(asked.model, weights=None, num_classes=classes, **options)
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise WeightsError(
            f"{asked.model} does not take images of {side} x {side} ({reason(error)}); choose another "
            "-p victim.resolution, or none for the library's."
        ) from error
    return network


def _heads(asked: LibraryModel, state: dict[str, Tensor], options: dict[str, Any]) -> list[str]:
    """Return the modules that give the logits: those that are another size in a network of one class."""
    with torch.device("meta"):
        single = models.get_model(asked.model, weights=None, num_classes=1, **options).state_dict()
    weights = [name for name, tensor in single.items() if name.endswith(".weight") and len(tensor) == 1]
    own = [name for name in weights if name in state and len(state[name]) != 1 and not name.startswith(AUXILIARY)]
    return [name.removesuffix(".weight") for name in own]


def _finished(network: nn.Module, heads: list[str], classes: int) -> nn.Module:
    """Return the network without auxiliary classifiers, and with newly drawn ``heads``."""
    for prefix in AUXILIARY:
        if isinstance(getattr(network, prefix[:-1], None), nn.Module):
            setattr(network, prefix[:-1], None)
            network.aux_logits = False  # type: ignore[assignment]  # a plain flag, which torch's stubs do not know
    for head in heads:
        old: Any = network.get_submodule(head)
        linear = isinstance(old, nn.Linear)
        new = nn.Linear(old.in_features, classes) if linear else nn.Conv2d(old.in_channels, classes, 1)
        network.set_submodule(head, new)
    return network
