"""A classifier read as a chain: an affine map, a ReLU, an affine map, and so on, in float64."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn

from robench.contracts.classifier import Classifier, Preprocess
from robench.errors import ContractError

#: Layers that are the identity in evaluation mode.
IDENTITY = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
#: Affine layers that are bounded.
AFFINE = (nn.Linear, nn.Conv2d, nn.Flatten, nn.AvgPool2d, *NORMS)


@dataclass(frozen=True)
class Affine:
    """Hold the affine map between two ReLUs, as the layers that it is made of (float64, evaluation mode)."""

    layers: Sequence[nn.Module]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the map of ``inputs`` (N, ...)."""
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def spread(self, radii: Tensor) -> Tensor:
        """Return the largest change of each output where each input changes by at most its radius (N, ...)."""
        for layer in self.layers:
            radii = _spread(layer, radii)
        return radii

    def transposed(self, rows: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``rows`` times the matrix of the map, and times its offset.

        Args:
            rows: (S, *outputs), S linear functions of the outputs.
            like: (1, *inputs), for its shape.
        """
        start = like.new_zeros(len(rows), *like.shape[1:]).requires_grad_(True)
        with torch.enable_grad():
            offset = self(start)
            (columns,) = torch.autograd.grad(offset, start, rows.reshape(offset.shape))
        return columns, (rows.reshape(offset.shape) * offset.detach()).flatten(1).sum(1)


@dataclass(frozen=True)
class Chain:
    """Hold the affine maps of a network; between two of them lies a ReLU."""

    maps: Sequence[Affine]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) in float64."""
        values = self.maps[0](images.double())
        for affine in self.maps[1:]:
            values = affine(values.relu())
        return values


def chain_of(model: Classifier) -> Chain:
    """Return the chain that a classifier is; ContractError naming the first layer that no bound is known for."""
    groups: list[list[nn.Module]] = [[]]
    parts = [*_layers(model.preprocess), *_layers(model.network)]
    for layer in parts:
        if isinstance(layer, nn.ReLU):
            groups.append([])
        elif not isinstance(layer, IDENTITY):
            if not _affine(layer):
                raise ContractError(
                    f"{type(layer).__name__} has no bound here: certificates take chains of Linear, Conv2d, ReLU, "
                    "BatchNorm, AvgPool2d and Flatten (nn.Sequential), normalised at most. Of any other model "
                    "randomized smoothing certifies the vote over noisy copies, in L2."
                )
            groups[-1].append(_in_float64(layer))
    return Chain([Affine(group) for group in groups])


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of nested sequences, in order."""
    if type(module) is nn.Sequential:
        for part in module:
            yield from _layers(part)
    else:
        yield module


def _affine(layer: nn.Module) -> bool:
    if isinstance(layer, Preprocess):
        return layer.size is None
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        return False
    if isinstance(layer, NORMS) and not layer.track_running_stats:
        return False
    # Exactly these: a class of one's own derived from them may compute anything. So may a layer with hooks.
    return type(layer) in AFFINE and not (layer._forward_hooks or layer._forward_pre_hooks)


def _in_float64(layer: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose tensors are new ones of float64."""
    own = copy.deepcopy(layer).eval()
    for module in own.modules():
        for name, parameter in module.named_parameters(recurse=False):
            module.register_parameter(name, nn.Parameter(parameter.detach().double(), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, buffer.double() if buffer.is_floating_point() else buffer)
    return own


def _spread(layer: nn.Module, radii: Tensor) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(radii, layer.weight.abs())
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(
            radii, layer.weight.abs(), None, layer.stride, layer.padding, layer.dilation, layer.groups
        )  # fmt: skip
    if isinstance(layer, NORMS):
        assert layer.running_var is not None  # noqa: S101 - chain_of takes no layer without
        scale = (layer.running_var + layer.eps).rsqrt()
        scale = scale if layer.weight is None else scale * layer.weight.abs()
        return radii * scale.view(1, -1, *[1] * (radii.dim() - 2))
    if isinstance(layer, Preprocess):
        return radii / layer.get_buffer("std")
    changed: Tensor = layer(radii)
    return changed
