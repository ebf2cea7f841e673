"""The Square attack, which only asks for logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import parameter
from robench_builtins.attacks.shared.query_search import QuerySearch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Square(QuerySearch):
    """Change random square patches and keep those that shrink the margin.

    No gradient is asked for, so none can be masked: what falls here but withstood a gradient attack had its
    gradients obfuscated.
    """

    name = "square"
    source = (
        "Andriushchenko et al. 2020, Square Attack: a query-efficient black-box adversarial attack via random search, "
        "https://arxiv.org/abs/1912.00049"
    )
    norms = ("Linf", "L2", "L1")
    asks_in_parts = True

    share: float = parameter(
        default=0.8, help="share of the pixels that the first patch changes", minimum=0.0, maximum=1.0
    )
    rescale: bool = parameter(
        default=False, help="stretch the schedule of patch sizes, made for 10,000 queries, to the queries there are"
    )

    def search(self) -> Callable[..., Tensor]:
        """Return the harness's own."""
        from robench import square

        return square
