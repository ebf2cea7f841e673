"""Sparse-RS: a few pixels in other colours, found by asking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from robench import Attack, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class SparseRS(Attack):
    """Change eps pixels, all channels of a pixel counting as one, and exchange those that do not help.

    The norm is L0 and eps a number of pixels: ``--norm L0 --eps 24``. No gradient is asked for.
    """

    name = "sparse-rs"
    source = (
        "Croce et al. 2022, Sparse-RS: a versatile framework for query-efficient sparse black-box adversarial attacks, "
        "https://arxiv.org/abs/2006.12834, its L0 version"
    )
    norms = ("L0",)
    queries_only: ClassVar[bool] = True

    queries: int = parameter(default=5000, help="forwards from each start, its own included", minimum=1)
    restarts: int = parameter(default=1, help="independent searches", minimum=1)
    share: float = parameter(
        default=0.3, help="share of the pixels that the first query exchanges", minimum=0.0, maximum=1.0
    )
    rescale: bool = parameter(
        default=True, help="stretch the schedule of shares, made for 10,000 queries, to the queries there are"
    )

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: every query."""
        return self.queries * self.restarts, 0

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the point of largest margin found."""
        from robench import sparse_rs

        return sparse_rs(
            model,
            images,
            labels,
            task,
            queries=self.queries,
            restarts=self.restarts,
            share=self.share,
            rescale=self.rescale,
        )
