"""Equal parameters on the same memory, until one of the two is written to: then the writer gets memory of its own.

It is torch's copy on write, which holds for each way of writing that torch knows: in place under ``no_grad``, through
``.data``, an optimizer, ``numpy()``, DLPack, ``data_ptr()``. It is tried once a process; where it does not hold, copies
are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack

Module = TypeVar("Module", bound=nn.Module)

#: Bytes of a shared tensor that are read at a time.
PIECE = 2**20


def shared(parameter: Tensor) -> nn.Parameter | None:
    """Return an equal parameter on the same memory; None if it has to be copied.

    Parameters alone, on the CPU, which own all of their memory: memory that is not torch's own (a file, numpy, another
    process) cannot be shared so, and on a GPU a copy costs next to nothing.
    """
    if not _plain(parameter) or parameter.untyped_storage().nbytes() != parameter.nbytes:
        return None
    try:
        return nn.Parameter(_equal(parameter.detach()), parameter.requires_grad)
    except RuntimeError:  # memory that is not torch's own
        return None


def own_memory(model: Module) -> Module:
    """Give each parameter that could not be shared memory of its own, once, so that its copies can; return the model.

    Weights that were read from a safetensors file lie in the file's memory.
    """
    for weight in model.parameters():
        if _plain(weight) and shared(weight) is None:
            weight.data = weight.detach().clone()
    return model


def address(tensor: Tensor) -> int:
    """Return where a tensor's bytes lie; ``data_ptr()`` is asked by whoever writes, and would end the sharing."""
    return _address(tensor) if tensor.device.type == "cpu" and _holds() else tensor.data_ptr()


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are the same bytes: nothing was written to either since one was made of the other."""
    return (
        (one.shape, one.stride(), one.dtype, one.device) == (other.shape, other.stride(), other.dtype, other.device)
        and one.device.type == "cpu"
        and address(one) == address(other)
    )


def octets(tensor: Tensor) -> Iterator[memoryview]:
    """Yield a tensor's bytes, which are read only, in one piece or several; it stays shared."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    if not (_holds() and _is_shared(flat)):
        yield flat.numpy().data
        return
    for part in flat.split(PIECE):
        yield part.clone().numpy().data


def _plain(weight: Tensor) -> bool:
    usual = type(weight) is nn.Parameter and weight.is_leaf and not weight.is_inference()
    return usual and weight.device.type == "cpu" and weight.layout is torch.strided and _holds()


# torch's tests use these three; they are no part of what it promises, so that _holds tries them.


def _equal(tensor: Tensor) -> Tensor:
    found: Tensor = tensor._lazy_clone()
    return found


def _address(tensor: Tensor) -> int:
    return int(torch._C._data_address(tensor))  # type: ignore[attr-defined]


def _is_shared(tensor: Tensor) -> bool:
    return bool(torch._C._is_cow_tensor(tensor))  # type: ignore[attr-defined]


def _from_numpy(tensor: Tensor) -> None:
    tensor.numpy()[0] = 7.0


_WRITES: tuple[Callable[[Tensor], Any], ...] = (
    lambda tensor: tensor.add_(1.0),
    lambda tensor: tensor.data.mul_(3.0),
    lambda tensor: tensor.view(torch.uint8).fill_(1),
    lambda tensor: from_dlpack(tensor).fill_(5.0),
    _from_numpy,
    lambda tensor: torch._foreach_add_([tensor], 1.0),
)


@cache
def _holds() -> bool:
    """Tell whether this release of torch shares memory so: reads share it, and each write ends that."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            return all(_kept_apart(write) for write in _WRITES)
    except Exception:  # what torch does not promise may go in any way
        return False


def _kept_apart(write: Callable[[Tensor], Any]) -> bool:
    first = torch.full((4,), 2.0)
    second = _equal(first)
    together = torch.equal(first, second) and _is_shared(first) and _address(first) == _address(second)
    write(second)
    apart = _address(first) != _address(second) and not _is_shared(second)
    return together and apart and first.tolist() == [2.0] * 4 and second.tolist() != [2.0] * 4
