"""A tensor that computes on the CPU and answers as one on a GPU does: it meets no tensor of another device.

torch knows its device as a backend written in Python (PrivateUse1 under the name ``pretended``), whose tensors wrap
plain ones; :mod:`robench.testing.pretended_names` lets Python code see ``cuda`` in that name's place. Automatic
differentiation, views and writes in place are torch's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from robench.testing.pretended_counts import Counts, tensors_in

#: torch's name of the backend.
HIDDEN = "pretended"

#: Operations in which a GPU takes a tensor without dimensions from the CPU as it takes a number; not these.
NO_SCALARS = frozenset(
    ("gather", "scatter", "index_select", "mm", "bmm", "addmm", "convolution", "cat", "stack", "index_copy")
)
#: Operations that read at places, which may lie on the CPU.
INDEXING = frozenset(("index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_"))
MOVING = frozenset(("copy_", "_to_copy"))
#: Writes in place that change a shape, which a wrapper cannot follow.
RESHAPING = frozenset(("resize_", "t_", "transpose_", "squeeze_", "unsqueeze_", "set_", "swapaxes_", "as_strided_"))


class NotPretended(NotImplementedError):
    """Say that an operation cannot be pretended; on a GPU it may well work."""


class PretendedTensor(Tensor):
    """Hold a plain tensor, and say that it is on a GPU."""

    held: Tensor
    place: torch.device

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as torch says

    @staticmethod
    def __new__(cls: type[PretendedTensor], held: Tensor, place: torch.device) -> PretendedTensor:
        """Return a tensor of the same shape, type and strides, on ``place``."""
        made: PretendedTensor = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=place, requires_grad=False,
        )  # fmt: skip
        made.held, made.place = held, place
        return made

    def __repr__(self) -> str:  # type: ignore[override]  # what torch would print of it is not asked for
        return f"tensor({self.held.tolist()}, device='cuda:{self.place.index}')"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            with torch.no_grad():
                copied: Tensor = self.detach().clone()
            if getattr(self, "_is_param", False):
                copied = torch.nn.Parameter(copied, self.requires_grad)
            memo[id(self)] = copied.requires_grad_(self.requires_grad)
        found: Tensor = memo[id(self)]
        return found

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Be written as a plain tensor, which is how one from a GPU is read again with ``map_location="cpu"``."""
        return self.held.detach().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own is a function
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(func, args, kwargs or {}, Counts())


class Dispatch(TorchDispatchMode):
    """Run every operation inside, count those on the GPU, and refuse what a GPU would refuse."""

    def __init__(self, counts: Counts, *, reciprocal: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it so
        self._counts, self._reciprocal = counts, reciprocal

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Answer torch, which would otherwise import its compiler, a matter of seconds, to keep out of its way."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {}, self._counts, reciprocal=self._reciprocal)


class _Backend:
    """Be what torch expects of a backend's module; of its own it has no device, and draws as the CPU does."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return False

    def device_count(self) -> int:
        return 0

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Draw from the CPU's generator, which has its seed."""

    def get_rng_state(self, _device: Any = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, _state: Tensor, _device: Any = None) -> None:
        """Leave the CPU's generator, which whoever asks sets too."""


@cache
def set_up() -> None:
    """Register the backend, once a process.

    Raises:
        NotPretended: the process has another backend of its own in this place.
    """
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    try:
        _setup_privateuseone_for_python_backend(rename=HIDDEN, backend_module=_Backend())
    except (RuntimeError, AttributeError) as error:
        raise NotPretended(f"torch lets no device be pretended here ({error}).") from error


def hidden(device: Any) -> torch.device:
    """Return the backend's device for a CUDA one; any other as it is."""
    found = torch.device(device)
    return torch.device(HIDDEN, found.index or 0) if found.type in ("cuda", HIDDEN) else found


def compute(func: Any, args: Any, kwargs: dict[str, Any], counts: Counts, *, reciprocal: bool = False) -> Any:
    """Return what an operation gives, on the device where a GPU would have it."""
    name = func._schema.name.split("::")[1]
    leaves = list(tensors_in([*args, *kwargs.values()]))
    ours = [leaf for leaf in leaves if isinstance(leaf, PretendedTensor)]
    asked = hidden(kwargs["device"]) if kwargs.get("device") is not None else None
    here = asked if asked is not None else ours[0].place if ours else None
    if ours:
        _refuse_mixture(func, name, args, ours, [leaf for leaf in leaves if not isinstance(leaf, PretendedTensor)])
    if ours or (asked is not None and asked.type == HIDDEN):
        if name in RESHAPING:
            raise NotPretended(f"{name} changes a tensor's shape in place, which a pretended device cannot show.")
        _refuse_generator(func, kwargs, here)
        counts.operation(name, args, kwargs, to_cpu=_goes_down(name, args, asked), came_up=len(leaves) > len(ours))
    plain_args, plain = [_held(value) for value in args], {key: _held(value) for key, value in kwargs.items()}
    if asked is not None:
        plain["device"] = torch.device("cpu") if asked.type == HIDDEN else asked
    if plain.get("pin_memory"):
        plain["pin_memory"] = False
    found = _divided(plain_args) if reciprocal and ours and _by_number(name, args) else func(*plain_args, **plain)
    return _returned(func, name, args, kwargs, found, here)


def _returned(func: Any, name: str, args: Any, kwargs: dict[str, Any], found: Any, here: torch.device | None) -> Any:
    if name.endswith("_") and not name.endswith("__") and args and isinstance(args[0], Tensor):
        return args[0]
    if func._schema.is_mutable and "out" in kwargs:
        return kwargs["out"]
    if here is None or here.type != HIDDEN:
        return found
    return _wrapped(found, here)


def _held(value: Any) -> Any:
    if isinstance(value, PretendedTensor):
        return value.held
    return type(value)(map(_held, value)) if type(value) in (list, tuple) else value


def _wrapped(value: Any, place: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value if isinstance(value, PretendedTensor) else PretendedTensor(value, place)
    return type(value)(_wrapped(entry, place) for entry in value) if type(value) in (list, tuple) else value


def _refuse_mixture(func: Any, name: str, args: Any, ours: list[PretendedTensor], plain: list[Tensor]) -> None:
    places = sorted({f"cuda:{tensor.place.index}" for tensor in ours})
    if name in MOVING:
        return
    if len(places) > 1:
        raise _mixture(func, places)
    dimensional = [tensor for tensor in plain if tensor.dim()]
    if dimensional and not (name in INDEXING and _only_places(args)):
        raise _mixture(func, [*places, "cpu"])
    if plain and not dimensional and name in NO_SCALARS:
        raise _mixture(func, [*places, "cpu"])


def _only_places(args: Any) -> bool:
    """Tell whether what is read or written at places, and what is written, is on the GPU."""
    written = args[2] if len(args) > 2 and isinstance(args[2], Tensor) else None
    return isinstance(args[0], PretendedTensor) and (
        written is None or not written.dim() or isinstance(written, PretendedTensor)
    )


def _mixture(func: Any, places: Iterable[str]) -> RuntimeError:
    return RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(places)}! "
        f"(in {func})"
    )


def _refuse_generator(func: Any, kwargs: dict[str, Any], here: torch.device | None) -> None:
    generator = kwargs.get("generator")
    drawn_on = getattr(generator, "pretended", None) or (generator.device.type if generator is not None else None)
    if generator is not None and here is not None and here.type == HIDDEN and drawn_on == "cpu":
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' (in {func})")


def _goes_down(name: str, args: Any, asked: torch.device | None) -> bool:
    if name == "copy_":
        return not isinstance(args[0], PretendedTensor)
    return asked is not None and asked.type != HIDDEN


def _by_number(name: str, args: Any) -> bool:
    """Tell whether floats are divided by a number, which CUDA does by multiplying with its reciprocal."""
    if name not in ("div", "div_") or not args[0].is_floating_point():
        return False
    return isinstance(args[1], int | float) or (not isinstance(args[1], PretendedTensor) and not args[1].dim())


def _divided(args: Any) -> Tensor:
    tensor, number = args[0], args[1]
    found: Tensor = tensor * (1.0 / torch.as_tensor(number, dtype=tensor.dtype))
    return found
