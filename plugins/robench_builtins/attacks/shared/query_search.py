"""What attacks that search at random by queries alone have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from robench import Attack, parameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from robench import Classifier, Task


class QuerySearch(Attack):
    """Ask for logits alone, and keep what makes the margin grow; a subclass says which search, with its parameters."""

    queries_only: ClassVar[bool] = True

    queries: int = parameter(default=5000, help="forwards from each start, its own included", minimum=1)
    restarts: int = parameter(default=1, help="independent searches", minimum=1)

    def passes(self) -> tuple[int, int]:
        """Return the most an image costs: every query."""
        return self.queries * self.restarts, 0

    def search(self) -> Callable[..., Tensor]:
        """Return the function that searches, which takes this attack's parameters by name."""
        raise NotImplementedError

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the point of largest margin found."""
        return self.search()(model, images, labels, task, **self.parameters)
