"""Tensors that a model computes from its weights when it is loaded, kept in the store for the next load."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from robench.errors import ContractError
from robench.evidence.fingerprint import fingerprint
from robench.evidence.store import Store
from robench.evidence.tensor_digests import digest, digest_of_digests, tensor_digests

KIND = "remembered"


def remembered(store: Store, device: str, make: Callable[[], Tensor], words: Sequence[object]) -> Tensor:
    """Return ``make()`` on ``device``, or what it gave before for the same words, kind of device and torch."""
    kind = device.partition(":")[0]
    key = fingerprint("load", remembered=[_plain(word) for word in words], device=kind, torch=torch.__version__)
    with store.lock(KIND, key):
        found = store.get(KIND, key)
        if found is None and store.read_only:
            return make().to(device)
        if found is None:
            found = store.put(KIND, key, {}, {"value": make()})
    return found.tensors()["value"].to(device)


def _plain(word: object) -> str | int | float:
    """Return a word as JSON holds it: modules by their layers and weights, tensors by their bits."""
    if isinstance(word, nn.Module):
        return f"{word} {digest_of_digests(tensor_digests(word))}"
    if isinstance(word, Tensor):
        return digest(word)
    if isinstance(word, str | int | float):
        return word
    raise ContractError(
        f"task.remembered was given a {type(word).__name__} to tell results apart by; give strings, numbers, tensors "
        "or modules."
    )
