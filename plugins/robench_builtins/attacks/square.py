"""The Square attack, which only asks for logits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from robench import Attack, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class Square(Attack):
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
    queries_only: ClassVar[bool] = True

    queries: int = parameter(default=5000, help="forwards from each start, its own included", minimum=1)
    restarts: int = parameter(default=1, help="independent searches", minimum=1)
    share: float = parameter(
        default=0.8, help="share of the pixels that the first patch changes", minimum=0.0, maximum=1.0
    )
    rescale: bool = parameter(
        default=False, help="stretch the schedule of patch sizes, made for 10,000 queries, to the queries there are"
    )

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: every query."""
        return self.queries * self.restarts, 0

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the point of largest margin found."""
        from robench import square

        return square(
            model,
            images,
            labels,
            task,
            queries=self.queries,
            restarts=self.restarts,
            share=self.share,
            rescale=self.rescale,
        )
