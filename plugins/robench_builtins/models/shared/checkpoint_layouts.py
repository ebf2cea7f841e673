"""The shapes in which state dicts circulate, and what has to come off; imported only where torch is wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from robench import WeightsError

#: Entries of a training checkpoint that hold the weights, the first of them that is there; with who writes it so.
ENTRIES = {
    "state_dict": "Lightning, timm, the ImageNet example of torch",
    "model_state_dict": "the tutorial of torch on saving",
    "model_state": "several trainers",
    "model": "torchvision's references, DeiT, fairseq",
    "net": "pytorch-cifar",
    "network": "several trainers",
    "weights": "several trainers",
    "module": "DeepSpeed",
    "ema_state_dict": "averaged weights, where there are no others",
    "state_dict_ema": "timm: averaged weights, where there are no others",
    "model_ema": "averaged weights, where there are no others",
    "checkpoint": "an entry that holds one of the others",
    "vision_encoder_state_dict": "TeCoA, TTC, TGA-ZSR: the image tower of a CLIP",
    "last": "RobustBench: of the last and the best epoch",
}

#: Prefixes that wrappers leave on every name, with who leaves it.
PREFIXES = {
    "module.": "DataParallel, DistributedDataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "a LightningModule's attribute",
    "net.": "a LightningModule's attribute",
    "network.": "a LightningModule's attribute, or robench's own files",
}

_WRAPPERS = ("module", "_orig_mod")


class State(dict[str, Tensor]):
    """Hold a state dict and what was taken off to reach it, in words."""

    unwrapped: tuple[str, ...] = ()
    #: Written by Lightning, whose state dicts also hold losses and metrics.
    lightning: bool = False

    def without(self, prefix: str) -> State:
        """Return the state but for the tensors under ``prefix``."""
        return _renamed(self, {name: name for name in self if not name.startswith(prefix)})

    def noted(self, place: str) -> str:
        """Return one sentence about what was taken off; empty if nothing was."""
        return f"{place}: {', '.join(self.unwrapped)}" if self.unwrapped else ""


def unwrap(loaded: Any, place: str) -> State:
    """Return the state dict of a training checkpoint, names as they are; WeightsError, by its keys, if it has none."""
    taken: list[str] = []
    lightning = False
    while not (isinstance(loaded, Mapping) and loaded and all(isinstance(value, Tensor) for value in loaded.values())):
        if not isinstance(loaded, Mapping):
            raise WeightsError(f"{place} holds no state dict of tensors, but a {type(loaded).__name__}.")
        inside = [name for name in ENTRIES if isinstance(loaded.get(name), Mapping) and loaded[name]]
        if not inside:
            where = f" in entry {' in '.join(reversed(taken))}" if taken else ""
            raise WeightsError(
                f"{place} holds no state dict of tensors{where}, but {_kinds(loaded)}; save the tensors alone with "
                "torch.save(model.state_dict(), FILE)."
            )
        lightning = lightning or "pytorch-lightning_version" in loaded
        beside = f" (not '{inside[1]}')" if len(inside) > 1 else ""
        taken.append(f"'{inside[0]}'{beside}")
        loaded = loaded[inside[0]]
    state = State({str(name): value for name, value in loaded.items()})
    state.unwrapped = tuple(f"taken from entry {entry}" for entry in taken)
    state.lightning = lightning
    return state


def stripped(state: State) -> State:
    """Return the state without the prefixes that wrappers left."""
    while (shorter := _shorter(state)) is not None:
        state = shorter
    return state


def fitted(state: State, wanted: Collection[str]) -> State:
    """Return the state under the names of the tensors that a network has, if taking prefixes off or on gives them."""
    names = set(wanted)
    tried: State | None = state
    while tried is not None:
        if set(tried) == names:
            return tried
        state, tried = tried, _shorter(tried)
    # The network itself may be wrapped, whole or in part.
    own = {_canonical(name): name for name in wanted}
    if len(own) == len(names) and set(own) == set(state):
        wrapped = State({own[name]: value for name, value in state.items()})
        wrapped.unwrapped = (*state.unwrapped, "names as the wrapped network has them")
        return wrapped
    return state


def _shorter(state: State) -> State | None:
    """Return the state with one prefix less; None if there is none."""
    if not state:
        return None
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _renamed(state, {name: name.removeprefix(prefix) for name in state}, f"without prefix '{prefix}'")
    inner = {name: _canonical(name) for name in state}
    if any(name != short for name, short in inner.items()) and len(set(inner.values())) == len(state):
        return _renamed(state, inner, "without 'module.' and '_orig_mod.' inside names")
    if state.lightning:
        return _attribute(state)
    return None


def _attribute(state: State) -> State | None:
    """Return what a LightningModule holds as its network, without its losses and metrics."""
    for prefix in ("model.", "net.", "network."):
        inside = {name: name.removeprefix(prefix) for name in state if name.startswith(prefix)}
        if inside:
            left = [name for name in state if name not in inside]
            said = f"without prefix '{prefix}', {len(left)} other tensors left out ({', '.join(left[:3])})"
            found = _renamed(state, inside, said)
            found.lightning = False
            return found
    return None


def _renamed(state: State, names: Mapping[str, str], *said: str) -> State:
    found = State({short: state[name] for name, short in names.items()})
    found.unwrapped, found.lightning = (*state.unwrapped, *said), state.lightning
    return found


def _canonical(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _kinds(loaded: Mapping[Any, Any]) -> str:
    """Return the first entries by name and kind."""
    shown = [f"'{name}' ({type(value).__name__})" for name, value in list(loaded.items())[:6]]
    return f"{', '.join(shown)}{', ...' if len(loaded) > 6 else ''}" if shown else "nothing"
