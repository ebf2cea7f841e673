"""Adversarial images that were made elsewhere, with any library, read from a file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from robench import Attack, DataError, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Examples, Task
    from robench_builtins.attacks.shared.image_arrays import GivenImages


class Images(Attack):
    """Take images from a file: whatever made them, what they make the model answer counts.

    The file is .npz or .safetensors and holds two arrays: ``positions``, the places of the images in the test set that
    the run serves (from 0; ``robench.load_test`` gives it), and ``images``, float32 in [0, 1] or uint8, (N, C, H, W).
    Positions that are not named stay clean. Nothing is projected: an image outside the ball or the box, of another
    size, with NaN, or made from another image than the one at its position is refused, with what is wrong and by how
    much. Nobody knows how they were made, so they may lower a row, but are no white-box attack that speaks for one.
    """

    name = "images"
    source = "the file's own"
    norms = ("Linf", "L2", "L1", "L0", "patch")
    queries_only: ClassVar[bool] = True
    made_elsewhere: ClassVar[bool] = True

    path: str = parameter(default="", help="the file, .npz or .safetensors, of positions and images", path=True)

    @classmethod
    def shorthand(cls, text: str) -> Mapping[str, str] | None:
        """Read ``images:FILE``."""
        word, colon, path = text.partition(":")
        return {"path": path} if colon and word == cls.name else None

    def passes(self) -> tuple[int, int]:
        """Return that the model is not asked."""
        return 0, 0

    def files(self) -> tuple[Path, ...]:
        """Return the file."""
        return (Path(self.path).expanduser(),) if self.path else ()

    def fits(self, test: Examples, task: Task) -> None:
        """Raise DataError unless every image of the file may stand at its position under this threat model."""
        from robench_builtins.attacks.shared.image_arrays import inspect

        inspect(self._given, self.path, test, task)

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the file's images at their positions, and the others as they are."""
        moved = images.clone()
        if task.threat.eps == 0:
            return moved
        given = self._given
        for row, position in enumerate(task.indices):
            if position in given.rows:
                moved[row] = given.image(position).to(images.device)
        return moved

    @cached_property
    def _given(self) -> GivenImages:
        from robench_builtins.attacks.shared.image_arrays import read

        if not self.path:
            raise DataError("images needs the file of positions and images: write --attack images:FILE.")
        return read(Path(self.path).expanduser())
