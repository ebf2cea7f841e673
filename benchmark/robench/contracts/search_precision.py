"""What the products of a model under attack may be rounded to while adversarial images are searched for."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "tf32", "bf16"]

#: What everything but the search is computed in, and the search where nothing else is asked for.
EXACT: Precision = "float32"


def searched_in(precision: Precision) -> str:
    """Return what is added to an attack's name: nothing where the search ran in float32."""
    return "" if precision == EXACT else f" in {precision}"
