"""Handwritten digits from scikit-learn: real scans that need no download."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from robench import Dataset, parameter
from robench_builtins.datasets.shared.stratified_splits import stratified_order

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Examples, Split

TEST, VAL = 500, 200


class Digits(Dataset):
    """Serve 1,797 scans of handwritten digits at 32 x 32: the offline default, done in seconds.

    The scans are 8 x 8 with 17 grey levels; they are enlarged bilinearly, repeated over three channels and
    quantised to bytes; ``native=true`` serves them as they are, grey at 8 x 8. 1,097 train, 200 val and 500 test
    images, stratified by class. The test images are the same under every ``split_seed``, so that weights trained on
    the train split never meet one.
    """

    name = "digits"
    default = True
    victim = "tiny-clip"
    source = (
        "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), test part, "
        "as scikit-learn's load_digits."
    )
    licence = "CC BY 4.0"
    templates = (
        "a photo of the digit {}",
        "a photo of a {}",
        "a handwritten {}",
        "a scan of the number {}",
        "a blurry picture of the digit {}",
        "the digit {}",
    )

    split_seed: int = parameter(
        default=0, help="seed that deals the images outside the test set to train and val", minimum=0
    )

    native: bool = parameter(
        default=False, later=True, help="serve the scans as they are, 1 x 8 x 8, in place of 3 x 32 x 32"
    )

    def classes(self) -> tuple[str, ...]:
        """Return the digits' names, zero first."""
        return ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def load(self, split: Split) -> Examples:
        """Return one split as uint8 images (N, 3, 32, 32), or (N, 1, 8, 8)."""
        from robench import Examples

        scans, labels = _scans(self.native)
        rows = _rows(tuple(labels.tolist()), split, self.split_seed)
        images = scans[rows].expand(-1, 1 if self.native else 3, -1, -1)
        return Examples.from_tensors(images.contiguous(), labels[rows])


@cache
def _scans(native: bool) -> tuple[Tensor, Tensor]:
    """Return all scans as uint8 images of one channel, and their labels; read once a process, copied by who serves."""
    import torch
    import torch.nn.functional as F  # noqa: N812 - torch's own spelling
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    # Sixteenths, enlarged by 4: exact in float32, so the bytes are the same on every machine.
    small = torch.from_numpy(scans).float().div(16).view(-1, 1, 8, 8)
    large = small if native else F.interpolate(small, (32, 32), mode="bilinear")
    return large.mul(255).round().to(torch.uint8), torch.from_numpy(labels)


@cache
def _rows(labels: tuple[int, ...], split: Split, seed: int) -> list[int]:
    order = stratified_order(labels, seed=0)
    test, rest = order[:TEST], order[TEST:]
    if split == "test":
        return sorted(test)
    dealt = [rest[place] for place in stratified_order([labels[row] for row in rest], seed)]
    return sorted(dealt[:VAL] if split == "val" else dealt[VAL:])
