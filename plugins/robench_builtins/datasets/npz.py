"""Arrays in an .npz file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench import DataError, parameter
from robench_builtins.datasets.shared.resizable_set import OwnSet
from robench_builtins.datasets.shared.stratified_splits import share_of

if TYPE_CHECKING:
    from robench import Examples, Split

#: Names of images and labels of each part, as NumPy's, Keras's and MedMNIST's files have them.
PAIRS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "val": (("x_val", "y_val"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
#: Those of a file with one part.
ONE = (("images", "labels"), ("x", "y"), ("image", "label"))


class Npz(OwnSet):
    """Serve arrays: ``npz:FILE`` with images and labels, or with ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Images are uint8, or floats in [0, 1], of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels; an
    array ``classes`` may hold names. Without parts, a share of each class is for test and one for val. Nothing in the
    file is run: arrays of objects are refused.
    """

    name = "npz"
    source = "the user's own arrays"
    licence = "the images' own"

    path: str = parameter(default="", help="the .npz file, as numpy.savez writes it", path=True)
    val: float = parameter(
        default=0.1, help="share of each class for val, where there is no such part", minimum=0, maximum=1
    )
    test: float = parameter(
        default=1.0, help="share of each class for test, where there is no such part", minimum=0, maximum=1
    )
    split_seed: int = parameter(default=0, help="seed that cuts the splits", minimum=0)

    def files(self) -> tuple[Path, ...]:
        """Return the file."""
        return (Path(self.path).expanduser(),) if self.path else ()

    def classes(self) -> tuple[str, ...]:
        """Return the names in the file, else the numbers of the classes."""
        named = [str(name) for name in self._arrays.get("classes", ())]
        if named and len(set(named)) < len(named):
            raise DataError(f"npz: two of the classes in {self.path} have one name; rename one.")
        return tuple(named) or tuple(map(str, range(self._known)))

    def load(self, split: Split) -> Examples:
        """Return one split."""
        import torch

        from robench import Examples

        whole = {part: pair for part in PAIRS if (pair := self._pair(PAIRS[part])) is not None}
        images, labels = whole.get(split) or whole.get("train") or self._one
        if split not in whole or (split == "train" and "val" not in whole):
            test, val = (0.0 if part in whole else share for part, share in (("test", self.test), ("val", self.val)))
            rows = share_of(labels.tolist(), split, test, val, self.split_seed)
            images, labels = images[rows], labels[rows]
        if not len(labels):
            raise DataError(
                f"npz leaves no {split} images of {self.path} with test={self.test:g} and val={self.val:g}; choose "
                "other shares, such as -p dataset.test=0.2."
            )
        if int(labels.min()) < 0 or int(labels.max()) >= len(self.classes()):
            odd = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
            raise DataError(
                f"npz: {self.path} has the label {odd} and {len(self.classes())} classes; number them from 0."
            )
        made = Examples.from_tensors(torch.from_numpy(images), torch.from_numpy(labels), who=f"npz:{self.path}")
        return made.resized(self.resizing)

    @property
    def _known(self) -> int:
        pairs = [pair for names in (*PAIRS.values(), ONE) if (pair := self._pair(names)) is not None]
        return max(2, *(int(labels.max()) + 1 for _, labels in pairs if len(labels)), 0)

    @property
    def _one(self) -> tuple[Any, Any]:
        found = self._pair(ONE)
        if found is None:
            raise DataError(
                f"npz: {self.path} holds {', '.join(self._arrays) or 'nothing'}; name its arrays images and labels, or "
                "x_train, y_train, x_test and y_test."
            )
        return found

    def _pair(self, names: tuple[tuple[str, str], ...]) -> tuple[Any, Any] | None:
        for first, second in names:
            if first in self._arrays and second in self._arrays:
                return self._checked(self._arrays[first], self._arrays[second])
        return None

    def _checked(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """Return images (N, C, H, W), uint8 or float32, and labels (N,), int64."""
        import numpy as np

        stored = images.shape
        if images.ndim == 3:
            images = images[:, None]
        elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
            images = images.transpose(0, 3, 1, 2)
        labels = labels.reshape(-1)
        if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) != len(labels):
            raise DataError(
                f"npz: {self.path} holds images {stored} and {len(labels)} labels; images are (N, H, W), "
                "(N, H, W, C) or (N, C, H, W) with 1 or 3 channels, and each has one label."
            )
        if images.dtype != np.uint8:
            images = images.astype(np.float32)
        return np.ascontiguousarray(images), labels.astype(np.int64)

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        import numpy as np

        if not self.path:
            raise DataError("npz needs a file: write npz:FILE.")
        try:
            with np.load(Path(self.path).expanduser(), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception as error:  # a damaged archive raises whatever its reader meets
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise DataError(
                f"npz cannot read {self.path} ({reason}); give a file of numpy.savez, without arrays of objects."
            ) from None
