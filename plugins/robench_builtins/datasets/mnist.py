"""MNIST, and what has its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from robench_builtins.datasets.shared.official_splits import OfficialSplits, data_folder

if TYPE_CHECKING:
    from pathlib import Path

    from robench import Examples, Split


class Mnist(OfficialSplits):
    """Serve MNIST: 70,000 scans of handwritten digits at 28 x 28, grey.

    10,000 test images are the official ones; 5,000 val and 55,000 train images are cut, stratified and seeded, from
    the 60,000 official train images. ``path`` may name a folder of idx files, plain or .gz, or an .npz file with
    x_train, y_train, x_test and y_test.
    """

    name = "mnist"
    victim = "mlp"
    source = "LeCun, Cortes and Burges, The MNIST database of handwritten digits (1998)."
    licence = "none stated by the authors; often given as CC BY-SA 3.0"
    templates = ('a photo of the number: "{}".', "a photo of the digit {}", "a handwritten {}", "the number {}")

    #: torchvision's class, which downloads what is missing.
    official: ClassVar[str] = "MNIST"
    #: Folders in which distributions install the files.
    installed: ClassVar[tuple[str, ...]] = ()
    #: What a download takes.
    size: ClassVar[str] = "12 MB"

    def classes(self) -> tuple[str, ...]:
        """Return the digits, zero first."""
        return tuple("0123456789")

    def files(self) -> tuple[Path, ...]:
        """Return the local copy that the user named; the official files are known by their MD5."""
        from robench_builtins.datasets.shared.idx_files import local_files

        return local_files(data_folder(self.path), self.official) if self.path else ()

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the files of both parts are in one of the usual places."""
        from robench_builtins.datasets.shared.idx_files import found

        folder = data_folder(self.path)
        if folder.suffix == ".npz" or found(folder, self.official, () if self.path else self.installed):
            return ()
        raw = folder / self.official / "raw"
        return (
            f"{self.name} ({self.size}): to {raw}; without a network, put its idx files there, plain or .gz, or pass "
            "-p dataset.path=DIR.",
        )

    def load(self, split: Split) -> Examples:
        """Return one split as uint8 images (N, 1, 28, 28)."""
        import torch
        from torchvision import datasets

        from robench import Examples
        from robench_builtins.datasets.shared.idx_files import read

        source: Any = getattr(datasets, self.official)
        images, labels = read(self.name, source, self.path, self.installed, train=split != "test")
        if split != "test":
            rows = self.rows(labels.tolist(), split)
            images, labels = images[rows], labels[rows]
        return Examples.from_tensors(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())


class FashionMnist(Mnist):
    """Serve Fashion-MNIST: 70,000 pictures of ten kinds of clothing at 28 x 28, grey.

    10,000 test images are the official ones; 5,000 val and 55,000 train images are cut, stratified and seeded, from
    the 60,000 official train images. ``path`` may name a folder of idx files, plain or .gz, or an .npz file with
    x_train, y_train, x_test and y_test; Debian's package dataset-fashion-mnist is found by itself.
    """

    name = "fashion-mnist"
    source = "Xiao, Rasul and Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking (arXiv:1708.07747)."
    licence = "MIT"
    templates = ("a photo of a {}", "a grey photo of a {}", "a blurry photo of a {}", "a {}, a kind of clothing")

    official = "FashionMNIST"
    installed = ("/usr/share/datasets/fashion-mnist",)
    size = "31 MB"

    def classes(self) -> tuple[str, ...]:
        """Return the official names in official order, in small letters."""
        return (
            "t-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        )
