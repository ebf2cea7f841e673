"""Digests of tensors: what pins weights and image sets in a card."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def weights_digest(model: nn.Module) -> str:
    """Return the sha256 over all parameters and buffers, by name."""
    hasher = hashlib.sha256()
    for name, digest in tensor_digests(model).items():
        hasher.update(f"{name}\0{digest}\n".encode())
    return hasher.hexdigest()


def tensor_digests(model: nn.Module) -> dict[str, str]:
    """Return the sha256 of each parameter and buffer, by name."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: digest(tensor) for name, tensor in sorted(tensors, key=lambda item: item[0])}


def digest(tensor: Tensor) -> str:
    """Return the sha256 over a tensor's shape, type and bytes."""
    flat = tensor.detach().cpu().contiguous()
    header = f"{tuple(flat.shape)} {flat.dtype}".encode()
    return hashlib.sha256(header + flat.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
