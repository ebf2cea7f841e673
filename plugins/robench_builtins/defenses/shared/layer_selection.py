"""Choose which layers of any network are trained, and where they start."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from robench import Classifier, SpecError

#: The classifier around a network; users know the layers of their own network only.
OWN = "network."


def train_layers(
    model: Classifier, shape: tuple[int, int, int], frozen: Sequence[str], last: int | None, defense: str
) -> None:
    """Turn gradients on for the parameters that reach the logits, except those of frozen layers.

    Args:
        model: its parameters' gradients are off.
        shape: (C, H, W) of the images.
        frozen: layers, or patterns of their names; what lies inside a layer is frozen with it.
        last: train only so many of the last layers; None trains all. A layer is a module with parameters of its own;
            they are counted in the order in which the network lists them.
        defense: who asks, for the error.
    """
    used = reaching(model, shape, defense)
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in used))
    for pattern in frozen:
        if not any(_within(name, pattern) for name in names):
            raise SpecError(f"{defense}.frozen names '{pattern}', and the victim has no such layer; {_list(names)}")
    kept = [name for name in names if not any(_within(name, pattern) for pattern in frozen)]
    chosen = set(kept if last is None else kept[-last:])
    if not chosen:
        raise SpecError(f"{defense}.frozen leaves no layer to train; {_list(names)}")
    for name, value in used.items():
        value.requires_grad_(name.rpartition(".")[0] in chosen)


def reaching(model: Classifier, shape: tuple[int, int, int], defense: str) -> dict[str, nn.Parameter]:
    """Return the parameters that the logits depend on; an unused head would be declared and never trained."""
    parameters = {name: value for name, value in model.named_parameters() if value.is_floating_point()}
    gradients: tuple[Tensor | None, ...] = ()
    if parameters:
        for value in parameters.values():
            value.requires_grad_(True)
        device = next(iter(parameters.values())).device
        with torch.enable_grad():
            logits = model(torch.full((2, *shape), 0.5, device=device))
            if logits.requires_grad:
                gradients = torch.autograd.grad(logits.sum(), list(parameters.values()), allow_unused=True)
        for value in parameters.values():
            value.requires_grad_(False)
    seen = zip(parameters.items(), gradients, strict=False)
    used = {name: value for (name, value), gradient in seen if gradient is not None}
    if not used:
        raise SpecError(
            f"{defense} trains the victim's parameters, and this victim has none that its logits depend on (it was "
            "exported so); bring the model itself, such as FILE.py:NAME."
        )
    return used


def redraw(model: Classifier, seed: int, defense: str) -> None:
    """Draw every layer's initial values anew, as its own ``reset_parameters`` does."""
    device = next((value.device for value in model.parameters()), torch.device("cpu"))
    model.to("cpu")  # where the generator is seeded, so that a GPU starts from the same values
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for name, module in model.named_modules():
            if not list(module.parameters(recurse=False)):
                continue
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if not callable(reset):
                raise SpecError(
                    f"{defense}.start=scratch cannot draw '{name.removeprefix(OWN)}' anew: {type(module).__name__} has "
                    "no reset_parameters. Bring an untrained model and leave start at victim."
                )
            reset()
    model.to(device)


def _within(name: str, pattern: str) -> bool:
    """Tell whether the layer ``name`` is, or lies in, a layer that ``pattern`` names."""
    parts = name.removeprefix(OWN).split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def _list(names: Sequence[str]) -> str:
    shown = [name.removeprefix(OWN) for name in names]
    more = f", ... ({len(shown)} in all)" if len(shown) > 8 else ""
    return f"it has {', '.join(shown[:8])}{more}."
