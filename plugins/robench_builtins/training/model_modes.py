"""The states a model is put into while it is attacked and while it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from robench import ZeroShotClassifier

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


@contextmanager
def under_attack(model: nn.Module) -> Iterator[None]:
    """Put the model as an attacker meets it: eval mode, parameter gradients off."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def under_training(model: nn.Module, gathering: Iterable[nn.Module] = ()) -> Iterator[None]:
    """Switch dropout on, let the batch norms ``gathering`` see the batch, and leave all else in eval mode.

    ``model.train()`` would do more: an Inception answers with a tuple there, and frozen norms would drift.
    """
    model.eval()
    switched = [*(module for module in model.modules() if isinstance(module, DROPOUTS)), *gathering]
    try:
        for module in switched:
            module.train()
        yield
    finally:
        model.eval()


def gathering_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Return the batch norms that are trained, by name; one without parameters is if all of the model is."""
    whole = all(parameter.requires_grad for parameter in model.parameters())
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
            if any(own) or (whole and not own):
                found[name] = module
    return found


@contextmanager
def at_temperature(model: ZeroShotClassifier, temperature: float) -> Iterator[None]:
    """Let the logits, and so the attack's loss, have the temperature of the training loss for a while."""
    own = model.logit_scale
    try:
        model.logit_scale = 1 / temperature
        yield
    finally:
        model.logit_scale = own


@contextmanager
def global_seed(seed: int, device: str) -> Iterator[None]:
    """Seed the global generators, which dropout draws from, and give them back as they were."""
    cuda = [device] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield
