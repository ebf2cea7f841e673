"""Patch-RS: a square of any colours, found by asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import parameter
from robench_builtins.attacks.shared.query_search import QuerySearch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class PatchRS(QuerySearch):
    """Paint one square of side eps into each image, and repaint and move it where that helps.

    The norm is patch and eps a side in pixels: ``--norm patch --eps 5``. No gradient is asked for.
    """

    name = "patch-rs"
    source = (
        "Croce et al. 2022, Sparse-RS: a versatile framework for query-efficient sparse black-box adversarial attacks, "
        "https://arxiv.org/abs/2006.12834, its image-specific patches"
    )
    norms = ("patch",)
    asks_in_parts = True

    share: float = parameter(
        default=0.4, help="share of the square's pixels that the first query repaints", minimum=0.0, maximum=1.0
    )
    rescale: bool = parameter(
        default=True, help="stretch the schedules, made for 10,000 queries, to the queries there are"
    )

    def search(self) -> Callable[..., Tensor]:
        """Return the harness's own."""
        from robench import patch_rs

        return patch_rs
