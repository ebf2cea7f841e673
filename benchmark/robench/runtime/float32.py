"""Float32 is computed as float32: no component may let a device round products to fewer bits.

Attacks run in float32: TF32 gradients differ in sign, and make attacks look weaker (FARE, appendix B.6).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from robench.errors import ContractError
from robench.evidence.provenance import PRODUCTS, rounded_products


def compute_in_float32() -> None:
    """Make every product of float32 numbers a float32 one, and the choice of kernels repeatable."""
    torch.backends.cudnn.allow_tf32 = False  # the older switch too: torch.export refuses two that differ
    for backend, operation in (("generic", "all"), *PRODUCTS):
        torch._C._set_fp32_precision_setter(backend, operation, "ieee")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


@contextmanager
def held_to_float32(who: str) -> Iterator[None]:
    """Raise ContractError if what happens inside lets products of float32 numbers be rounded; they are exact after."""
    before = rounded_products()
    yield
    found = {place: precision for place, precision in rounded_products().items() if before.get(place) != precision}
    if not found:
        return
    compute_in_float32()
    said = ", ".join(f"{place} to {precision}" for place, precision in found.items())
    raise ContractError(
        f"{who} lets torch round products of float32 numbers ({said}): gradients then differ in sign, and attacks look "
        "weaker than they are. Leave torch.backends and torch.set_float32_matmul_precision as they are."
    )
