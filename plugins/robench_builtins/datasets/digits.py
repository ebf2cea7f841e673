"""Handwritten digits from scikit-learn: real scans that need no download."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Dataset, parameter
from robench_builtins.datasets.shared.stratified_splits import stratified_order

if TYPE_CHECKING:
    from robench import Examples, Split

TEST, VAL = 500, 200


class Digits(Dataset):
    """Serve 1,797 scans of handwritten digits at 32 x 32: the offline default, done in seconds.

    The scans are 8 x 8 with 17 grey levels; they are enlarged bilinearly, repeated over three channels and
    quantised to bytes. 1,097 train, 200 val and 500 test images, stratified by class. The test images are the same
    under every ``split_seed``, so that weights trained on the train split never meet one.
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

    def classes(self) -> tuple[str, ...]:
        """Return the digits' names, zero first."""
        return ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

    def load(self, split: Split) -> Examples:
        """Return one split as uint8 images (N, 3, 32, 32)."""
        import torch
        import torch.nn.functional as F  # noqa: N812 - torch's own spelling
        from sklearn.datasets import load_digits

        from robench import Examples

        scans, labels = load_digits(return_X_y=True)
        # Sixteenths, enlarged by 4: exact in float32, so the bytes are the same on every machine.
        small = torch.from_numpy(scans).float().div(16).view(-1, 1, 8, 8)
        images = F.interpolate(small, (32, 32), mode="bilinear").mul(255).round().to(torch.uint8)
        rows = _rows(labels.tolist(), split, self.split_seed)
        return Examples.from_tensors(images[rows].expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(labels)[rows])


def _rows(labels: list[int], split: Split, seed: int) -> list[int]:
    order = stratified_order(labels, seed=0)
    test, rest = order[:TEST], order[TEST:]
    if split == "test":
        return sorted(test)
    dealt = [rest[place] for place in stratified_order([labels[row] for row in rest], seed)]
    return sorted(dealt[:VAL] if split == "val" else dealt[VAL:])
