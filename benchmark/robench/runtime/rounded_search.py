"""Let the search for adversarial images, and nothing else, compute with fewer bits.

TF32 rounds the factors of products on NVIDIA's GPUs to 11 bits. In bf16 (8 bits) the model runs under torch's autocast,
from its images to its logits, which are float32 again; what an attack computes by itself stays float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from robench.contracts.search_precision import Precision
from robench.evidence.provenance import PRODUCTS

#: The least compute capability of a GPU that has TF32.
TF32_FROM = (8, 0)


@contextmanager
def searching_in(precision: Precision, model: nn.Module, device: str) -> Iterator[None]:
    """Let ``model`` answer at this precision inside, forward and backward; outside it is what it was."""
    if precision == "tf32":
        with _tf32():
            yield
    elif precision == "bf16":
        with _bf16(model, torch.device(device).type):
            yield
    else:
        yield


def lacking(precision: Precision, device: str) -> str:
    """Return a sentence where a GPU has no TF32, and float32 is what it computes."""
    if precision != "tf32" or torch.version.hip is not None:
        return ""
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) >= TF32_FROM:
        return ""
    return (
        f"{torch.cuda.get_device_name(device)} (compute capability {major}.{minor}) has no TF32, which takes 8.0: what "
        "--precision tf32 searches here is searched in float32."
    )


@contextmanager
def _tf32() -> Iterator[None]:
    operations = [operation for backend, operation in PRODUCTS if backend == "cuda"]
    before = {operation: torch._C._get_fp32_precision_getter("cuda", operation) for operation in operations}
    try:
        for operation in operations:
            torch._C._set_fp32_precision_setter("cuda", operation, "tf32")
        yield
    finally:
        for operation, precision in before.items():
            torch._C._set_fp32_precision_setter("cuda", operation, precision)


@contextmanager
def _bf16(model: nn.Module, kind: str) -> Iterator[None]:
    """Hook in, rather than wrap: an attack meets the same type, and its own arithmetic is under no autocast."""
    begun: list[torch.autocast] = []

    def begin(_module: nn.Module, _inputs: Any) -> None:
        context = torch.autocast(kind, torch.bfloat16)
        context.__enter__()
        begun.append(context)

    def end(_module: nn.Module, _inputs: Any, logits: Any) -> Any:
        if begun:  # also after an error, when there are no logits
            begun.pop().__exit__(None, None, None)
        return logits.float() if isinstance(logits, Tensor) else logits

    handles = [model.register_forward_pre_hook(begin), model.register_forward_hook(end, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
