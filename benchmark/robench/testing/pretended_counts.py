"""What a GPU would have had to do: kernels, waits and copies, counted where they are not run."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

#: Operations for which the host waits: it needs a value, or how many there are.
WAITS = frozenset(
    ("_local_scalar_dense", "equal", "nonzero", "masked_select", "is_nonzero", "_unique2", "unique_dim", "bincount")
)
#: Operations that start no kernel: they look at what is there otherwise.
VIEWS = frozenset(
    [
        "view",
        "_unsafe_view",
        "expand",
        "permute",
        "transpose",
        "t",
        "slice",
        "select",
        "unsqueeze",
        "squeeze",
        "detach",
        "alias",
        "split",
        "split_with_sizes",
        "unbind",
        "as_strided",
        "reshape",
        "lift_fresh",
        "diagonal",
        "unfold",
        "narrow",
        "view_as_real",
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
    ]
)
#: Operations without a deterministic kernel for CUDA, as torch.use_deterministic_algorithms lists them.
UNREPEATABLE = frozenset(
    [
        "_upsample_bicubic2d_aa_backward",
        "_upsample_bilinear2d_aa_backward",
        "upsample_bilinear2d_backward",
        "upsample_bicubic2d_backward",
        "upsample_linear1d_backward",
        "upsample_trilinear3d_backward",
        "_adaptive_avg_pool2d_backward",
        "_adaptive_avg_pool3d_backward",
        "adaptive_max_pool2d_backward",
        "avg_pool3d_backward",
        "fractional_max_pool2d_backward",
        "max_unpool2d",
        "reflection_pad1d_backward",
        "reflection_pad2d_backward",
        "reflection_pad3d_backward",
        "nll_loss2d_forward",
        "grid_sampler_2d_backward",
        "grid_sampler_3d_backward",
        "histc",
        "median",
        "kthvalue",
        "put",
    ]
)
BOOLEAN_PLACES = frozenset(("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"))


@dataclass
class Counts:
    """Count what would have run on a GPU.

    Attributes:
        launches: kernels by operation, about one each; views and allocations start none.
        waits: for what the host waited for the GPU, by operation; ``to cpu`` is a copy, one that is not waited for
            (``non_blocking``) counts among the launches.
        bytes_up: bytes copied to the GPU.
        bytes_down: and back.
        unrepeatable: operations for which CUDA has no deterministic kernel.
        events: the index of the device that was the current one, for each event that was recorded.
    """

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    bytes_up: int = 0
    bytes_down: int = 0
    unrepeatable: Counter[str] = field(default_factory=Counter)
    events: list[int] = field(default_factory=list)
    _refused: RuntimeError | None = field(default=None, repr=False)

    def clear(self) -> None:
        """Begin anew."""
        self.launches.clear()
        self.waits.clear()
        self.unrepeatable.clear()
        self.events.clear()
        self.bytes_up = self.bytes_down = 0

    def operation(self, name: str, args: Any, kwargs: dict[str, Any], *, to_cpu: bool, came_up: bool) -> None:
        """Count one operation on the GPU, and refuse one that does not repeat where torch is told to."""
        if name in UNREPEATABLE:
            self._unrepeatable(name)
        if to_cpu:
            (self.launches if _not_waited_for(name, args, kwargs) else self.waits)["to cpu"] += 1
            self.bytes_down += _bytes(args[1] if name == "copy_" else args[0])
        elif name in ("_to_copy", "copy_") and came_up:
            self.launches["to cuda"] += 1
            self.bytes_up += _bytes(args[1] if name == "copy_" else args[0])
        elif name in WAITS:
            self.waits[name] += 1
            self.launches[name] += 1
        elif name in BOOLEAN_PLACES and _boolean(args[1]):
            self.waits[f"{name} by a mask"] += 1
            self.launches.update((name, "nonzero"))
        elif name not in VIEWS:
            self.launches[name] += 1

    def _unrepeatable(self, name: str) -> None:
        self.unrepeatable[name] += 1
        if torch.are_deterministic_algorithms_enabled():
            said = f"{name}_cuda does not have a deterministic implementation, but you set "
            said += "'torch.use_deterministic_algorithms(True)'."
            if not torch.is_deterministic_algorithms_warn_only_enabled():
                self._refused = self._refused or RuntimeError(said)
            else:
                warnings.warn(said, stacklevel=2)

    def settle(self) -> None:
        """Raise what was refused: not in the midst of a backward pass, which a backend in Python cannot leave."""
        if self._refused is not None and torch._C._current_graph_task_id() == -1:
            error, self._refused = self._refused, None
            raise error


def _not_waited_for(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    """Tell whether a copy to the CPU was asked for without waiting for it."""
    return bool(kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among an operation's arguments, those in lists included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (list, tuple):
            yield from tensors_in(value)


def _bytes(tensor: Any) -> int:
    return tensor.numel() * tensor.element_size() if isinstance(tensor, Tensor) else 0


def _boolean(places: Any) -> bool:
    return any(tensor.dtype == torch.bool for tensor in tensors_in([places]))
