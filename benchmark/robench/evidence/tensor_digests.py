"""Digests of tensors: what pins weights and image sets in a card."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from robench.contracts.shared_weights import octets


def weights_digest(model: nn.Module, computed: Iterable[str] = ()) -> str:
    """Return the sha256 over all parameters and persistent buffers, by name.

    Buffers registered with ``persistent=False`` are derived from the others or from prompts when a model is loaded:
    another processor gives them other last bits, so they do not count, except those named in ``computed``.
    """
    left_out = derived(model) - {*computed}
    return digest_of_digests(tensor_digests(model, left_out))


def digest_of_digests(digests: Mapping[str, str], left_out: Iterable[str] = ()) -> str:
    """Return the sha256 of a model whose tensors have these digests, by name."""
    hasher, skipped = hashlib.sha256(), {*left_out}
    for name, value in sorted(digests.items()):
        if name not in skipped:
            hasher.update(f"{name}\0{value}\n".encode())
    return hasher.hexdigest()


def tensor_digests(model: nn.Module, left_out: Iterable[str] = ()) -> dict[str, str]:
    """Return the sha256 of each parameter and buffer, by name, derived ones included unless they are left out."""
    skipped = {*left_out}
    tensors = [pair for pair in (*model.named_parameters(), *model.named_buffers()) if pair[0] not in skipped]
    return {name: digest(tensor) for name, tensor in sorted(tensors, key=lambda item: item[0])}


def derived(model: nn.Module) -> set[str]:
    """Return the names of buffers that torch keeps out of a state dict (``persistent=False``)."""
    found = set[str]()
    for prefix, module in model.named_modules():
        own = getattr(module, "_non_persistent_buffers_set", ())
        found.update(f"{prefix}.{name}" if prefix else name for name in own)
    return found


def digest(tensor: Tensor) -> str:
    """Return the sha256 over a tensor's shape, type and bytes."""
    hasher = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    for part in octets(tensor):
        hasher.update(part)
    return hasher.hexdigest()
