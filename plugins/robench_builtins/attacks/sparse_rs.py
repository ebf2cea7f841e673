"""Sparse-RS: a few pixels in other colours, found by asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import parameter
from robench_builtins.attacks.shared.query_search import QuerySearch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class SparseRS(QuerySearch):
    """Change eps pixels, all channels of a pixel counting as one, and exchange those that do not help.

    The norm is L0 and eps a number of pixels: ``--norm L0 --eps 24``. No gradient is asked for.
    """

    name = "sparse-rs"
    source = (
        "Croce et al. 2022, Sparse-RS: a versatile framework for query-efficient sparse black-box adversarial attacks, "
        "https://arxiv.org/abs/2006.12834, its L0 version"
    )
    norms = ("L0",)
    asks_in_parts = True

    share: float = parameter(
        default=0.3, help="share of the pixels that the first query exchanges", minimum=0.0, maximum=1.0
    )
    rescale: bool = parameter(
        default=True, help="stretch the schedule of shares, made for 10,000 queries, to the queries there are"
    )

    def search(self) -> Callable[..., Tensor]:
        """Return the harness's own."""
        from robench import sparse_rs

        return sparse_rs
