"""Python code reads and writes ``cuda`` where torch's core knows the pretended backend by another name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from robench.testing.pretended_counts import Counts
from robench.testing.pretended_tensor import HIDDEN, PretendedTensor, hidden

#: ``torch._fused_sdp_choice``'s word for the fused kernel of a CPU.
FUSED = 1


class Names(TorchFunctionMode):
    """Translate device names, and do what torch's core does without asking a backend written in Python."""

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self._counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.device:  # a name is only written down
            return func(*args, **kwargs)
        args, kwargs = [_inward(value) for value in args], {key: _inward(value) for key, value in kwargs.items()}
        special = SPECIAL.get(func)
        if special is not None:
            found = special(func, *args, **kwargs)
            if found is not NotImplemented:
                return found
        found = func(*args, **kwargs)
        self._counts.settle()
        return _outward(found)


def _inward(value: Any) -> Any:
    if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")):
        return hidden(value)
    return hidden(value) if isinstance(value, torch.device) else value


def _outward(value: Any) -> Any:
    return torch.device("cuda", value.index) if isinstance(value, torch.device) and value.type == HIDDEN else value


def _cuda(_func: Any, tensor: Tensor, device: Any = None, *_rest: Any, **_more: Any) -> Tensor:
    place = torch.cuda.current_device() if device is None else device
    return tensor.to(torch.device(HIDDEN, place) if isinstance(place, int) else hidden(place))


def _from_data(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Build a tensor of numbers on the CPU, then move it, as torch does for a GPU."""
    device = kwargs.get("device")
    if device is None or hidden(device).type != HIDDEN:
        return NotImplemented
    return func(*args, **{**kwargs, "device": None}).to(device)


def _new_tensor(_func: Any, tensor: Tensor, data: Any, *, dtype: Any = None, device: Any = None, **kwargs: Any) -> Any:
    if not isinstance(tensor, PretendedTensor):
        return NotImplemented
    return torch.tensor(data, dtype=dtype or tensor.dtype, **kwargs).to(device or tensor.place)


def _get(func: Any, tensor: Tensor, places: Any) -> Any:
    return func(tensor, _on(tensor, places)) if isinstance(tensor, PretendedTensor) else NotImplemented


def _set(func: Any, tensor: Tensor, places: Any, value: Any) -> Any:
    if not isinstance(tensor, PretendedTensor):
        return NotImplemented
    if isinstance(value, bool | int | float):
        value = torch.tensor(value, dtype=tensor.dtype).to(tensor.place)
    return func(tensor, _on(tensor, places), value)


def _on(tensor: PretendedTensor, places: Any) -> Any:
    if isinstance(places, tuple):
        return tuple(_on(tensor, place) for place in places)
    if isinstance(places, list | range):
        kind = torch.bool if len(places) and isinstance(places[0], bool) else torch.long
        return torch.tensor(list(places), dtype=kind).to(tensor.place)
    return places


def _to_list(_func: Any, tensor: Tensor) -> Any:
    return tensor.cpu().tolist() if isinstance(tensor, PretendedTensor) else NotImplemented


def _to_numpy(_func: Any, tensor: Tensor, *_args: Any, **_kwargs: Any) -> Any:
    if not isinstance(tensor, PretendedTensor):
        return NotImplemented
    raise TypeError(
        f"can't convert cuda:{tensor.place.index} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to "
        "host memory first."
    )


def _is_cuda(_func: Any, tensor: Tensor) -> bool:
    return isinstance(tensor, PretendedTensor)


def _pinned(_func: Any, tensor: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    return tensor


def _attention(
    _func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Choose the kernel that a CPU would choose, so that the bits are a CPU's."""
    if not isinstance(query, PretendedTensor) or enable_gqa:
        return NotImplemented
    mask = attn_mask
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -torch.inf)
    held = [part.held.detach() if isinstance(part, PretendedTensor) else part for part in (query, key, value, mask)]
    choose: Any = torch._fused_sdp_choice
    chosen, aten = choose(*held, dropout_p, is_causal, scale=scale), torch.ops.aten
    if chosen == FUSED:
        fused = aten._scaled_dot_product_flash_attention_for_cpu
        return fused(query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale)[0]
    return aten._scaled_dot_product_attention_math(query, key, value, mask, dropout_p, is_causal, scale=scale)[0]


SPECIAL: dict[Any, Callable[..., Any]] = {
    Tensor.cuda: _cuda,
    torch.tensor: _from_data,
    torch.as_tensor: _from_data,
    torch.asarray: _from_data,
    Tensor.new_tensor: _new_tensor,
    Tensor.__getitem__: _get,
    Tensor.__setitem__: _set,
    Tensor.tolist: _to_list,
    Tensor.numpy: _to_numpy,
    Tensor.__array__: _to_numpy,
    Tensor.is_cuda.__get__: _is_cuda,  # type: ignore[attr-defined]  # a getter of torch's core
    Tensor.pin_memory: _pinned,
    torch.nn.functional.scaled_dot_product_attention: _attention,
}
