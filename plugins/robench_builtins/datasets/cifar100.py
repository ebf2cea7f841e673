"""CIFAR-100 as torchvision serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench_builtins.datasets.cifar10 import TEMPLATES, archive_missing, checked
from robench_builtins.datasets.shared.official_splits import OfficialSplits, data_folder
from robench_builtins.datasets.shared.resizable_set import NamedSet

if TYPE_CHECKING:
    from pathlib import Path

    from robench import Examples, Split

NAMES = (
    "apple, aquarium fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, bus, butterfly, "
    "camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, cockroach, couch, crab, crocodile, cup, "
    "dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house, kangaroo, keyboard, lamp, lawn mower, "
    "leopard, lion, lizard, lobster, man, maple tree, motorcycle, mountain, mouse, mushroom, oak tree, orange, orchid, "
    "otter, palm tree, pear, pickup truck, pine tree, plain, plate, poppy, porcupine, possum, rabbit, raccoon, ray, "
    "road, rocket, rose, sea, seal, shark, shrew, skunk, skyscraper, snail, snake, spider, squirrel, streetcar, "
    "sunflower, sweet pepper, table, tank, telephone, television, tiger, tractor, train, trout, tulip, turtle, "
    "wardrobe, whale, willow tree, wolf, woman, worm"
)


class Cifar100(OfficialSplits, NamedSet):
    """Serve CIFAR-100: 60,000 photos of a hundred classes at 32 x 32.

    10,000 test images are the official ones; 5,000 val and 45,000 train images are cut, stratified and seeded, from
    the 50,000 official train images. Labels are the fine ones.
    """

    name = "cifar100"
    victim = "clip-vit-b32"
    source = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009)."
    licence = "none stated by the authors; cite the report"
    templates = TEMPLATES

    def classes(self) -> tuple[str, ...]:
        """Return the official names in official order, with spaces for their underscores."""
        return self.spelt(name.replace(" ", "_") for name in NAMES.split(", "))

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the folder of the files is there."""
        return archive_missing(self.name, self._folder(), "cifar-100-python.tar.gz", "cifar-100-python", "path")

    def load(self, split: Split) -> Examples:
        """Return one split as uint8 images, of 3 x 32 x 32 unless a size is asked for."""
        import torch
        from torchvision.datasets import CIFAR100

        from robench import Examples

        official = checked(CIFAR100, self.name, "path", self._folder(), train=split != "test")
        images = torch.from_numpy(official.data).permute(0, 3, 1, 2)
        labels = torch.tensor(official.targets)
        if split != "test":
            rows = self.rows(official.targets, split)
            images, labels = images[rows], labels[rows]
        return Examples.from_tensors(images.contiguous(), labels).resized(self.resizing)

    def _folder(self) -> Path:
        """Return the folder in which the unpacked one lies; the user may have named either."""
        folder = data_folder(self.path)
        return folder.parent if folder.name == "cifar-100-python" else folder
