"""The module that a user hands to ``robench.evaluate``: checked, copied, and asked once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from robench.errors import ContractError, RobenchError

if TYPE_CHECKING:
    from torch import Tensor, nn


def checked(module: Any, name: str) -> nn.Module:
    """Return ``module`` if it is one that can be measured; ContractError says what it is instead."""
    from torch import nn
    from torch.nn.parameter import is_lazy

    if isinstance(module, type):
        _refuse(f"robench.evaluate takes a module, not the class {module.__name__}; make one: {module.__name__}().")
    if isinstance(module, str):
        _refuse(f"robench.evaluate takes a torch.nn.Module, not a name; robench.run(victim='{module}') takes names.")
    if not isinstance(module, nn.Module):
        what = f"the function {getattr(module, '__name__', '')}".rstrip() if callable(module) else type(module).__name__
        _refuse(
            f"robench.evaluate takes a torch.nn.Module, not {what}; write a module whose forward calls it, so that its "
            "weights can be copied, moved and frozen."
        )
    tensors = [*module.named_parameters(), *module.named_buffers()]
    lazy = [place for place, tensor in tensors if is_lazy(tensor)]
    if lazy:
        _refuse(
            f"{name} has lazy layers that were never run ({lazy[0]}), so there are no weights to measure; run it once "
            "on a batch, or load its weights."
        )
    empty = [place for place, tensor in tensors if tensor.device.type == "meta"]
    if empty:
        _refuse(f"{name} has weights on the device meta ({empty[0]}), which holds no numbers; load its weights.")
    return module


def first_answer(module: nn.Module, images: Tensor, name: str) -> Any:
    """Return what a copy of the module answers to ``images``; what it raises becomes a sentence."""
    import torch

    from robench.contracts.module_copy import copy_module

    probe = copy_module(module, name).cpu().eval()
    mode = torch.is_grad_enabled()
    try:
        with torch.no_grad():
            return probe(images.clone())
    except RobenchError:
        raise
    except Exception as error:  # a module may raise anything
        raise ContractError(_why(module, images, name, error)) from error
    finally:
        torch.set_grad_enabled(mode)


def _why(module: nn.Module, images: Tensor, name: str, error: Exception) -> str:
    """Return the sentence for a module that cannot classify float32 images."""
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in module.parameters() if tensor.is_floating_point()}
    if kinds - {"float32"}:
        return (
            f"{name} has weights in {', '.join(sorted(kinds))}, and attacks run in float32: hand over module.float(), "
            "or a module that casts inside and returns float32 logits."
        )
    shown = " x ".join(map(str, images.shape[1:]))
    reason = " ".join(str(error).split()).rstrip(".")[:300]
    return (
        f"{name} cannot classify the images, {shown}, float32 in [0, 1]: {type(error).__name__}"
        f"{f': {reason}' if reason else ''}."
    )


def _refuse(message: str) -> NoReturn:
    raise ContractError(message)
