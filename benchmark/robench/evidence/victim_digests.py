"""A victim's tensors hashed once, however many defenses are fitted on it: what a defense left as it is, is compared."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from robench.contracts.shared_weights import address, same_memory, shared
from robench.evidence.tensor_digests import derived, digest, digest_of_digests

#: Bytes of a tensor that are looked at before all of it is.
SAMPLED = 1024

Sample = tuple[tuple[int, ...], torch.dtype, bytes]


class VictimDigests:
    """Hold the digests of a victim's tensors, and give those of models that were made from it.

    Built by :func:`digests_of`. Whatever has the bits of one of the victim's tensors has its digest; the rest is
    hashed.
    """

    def __init__(self, victim: nn.Module) -> None:
        self.by_name = {name: digest(tensor) for name, tensor in _tensors(victim)}
        self._seen = {name: _sample(tensor) for name, tensor in _tensors(victim)}
        # Held, so that whatever torch writes to the victim goes to another address.
        self._held = [twin for weight in victim.parameters() if (twin := shared(weight)) is not None]
        self._states = _states(victim)
        self._derived = derived(victim)

    def holds_for(self, victim: nn.Module) -> bool:
        """Tell whether the victim is as it was: the same memory, nothing written to it, the sampled bytes the same."""
        return self._states == _states(victim) and self._seen == {name: _sample(t) for name, t in _tensors(victim)}

    @property
    def victim(self) -> str:
        """Return the digest of the victim's weights, as :func:`robench.evidence.tensor_digests.weights_digest` does."""
        return digest_of_digests(self.by_name, self._derived)

    def of(self, model: nn.Module, victim: nn.Module) -> dict[str, str]:
        """Return the digest of each tensor of ``model``, by name, hashing what the victim does not have."""
        known = {self._seen[name]: (tensor, self.by_name[name]) for name, tensor in _tensors(victim)}
        found = {}
        for name, tensor in _tensors(model):
            twin = known.get(_sample(tensor))
            found[name] = twin[1] if twin is not None and _same_bits(tensor, twin[0]) else digest(tensor)
        return found


_known: WeakKeyDictionary[nn.Module, VictimDigests] = WeakKeyDictionary()


def digests_of(victim: nn.Module) -> VictimDigests:
    """Return the digests of a victim's tensors, computed once for as long as it stays as it is."""
    found = _known.get(victim)
    if found is None or not found.holds_for(victim):
        found = _known[victim] = VictimDigests(victim)
    return found


def _tensors(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    return sorted([*model.named_parameters(), *model.named_buffers()], key=lambda item: item[0])


def _states(model: nn.Module) -> list[tuple[str, int, int]]:
    return [(name, address(tensor), tensor._version) for name, tensor in _tensors(model)]


def _sample(tensor: Tensor) -> Sample:
    """Return shape, type and a few bytes from all over a tensor."""
    octets = _octets(tensor)
    step = max(1, -(-len(octets) // SAMPLED)) | 1  # odd, so that not the same byte of each number is seen
    return tuple(tensor.shape), tensor.dtype, octets[::step].clone().cpu().numpy().tobytes()


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors of one shape and type have the same bits: 0 and -0 differ, NaN is equal to itself."""
    return same_memory(one, other) or (one.device == other.device and torch.equal(_octets(one), _octets(other)))


def _octets(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
