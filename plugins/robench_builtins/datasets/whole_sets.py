"""The data sets of the CLIP papers that torchvision reads and that have no official parts: SUN397, EuroSAT, Caltech.

Prompts are those of Radford et al. (ICML 2021), as published in openai/CLIP's data/prompts.md, the usual one first.
"""

from __future__ import annotations

import re

from robench import parameter
from robench_builtins.datasets.shared.class_names import LAND
from robench_builtins.datasets.shared.torchvision_set import PHOTO, WholeSet


class SUN397(WholeSet):
    """Serve SUN397: 108,754 photos of 397 scenes; torchvision knows no parts, so that all are for test by default."""

    name = "sun397"
    source = "Xiao et al., SUN Database: Large-scale Scene Recognition from Abbey to Zoo (CVPR 2010)."
    licence = "research only"
    templates = PHOTO
    official, base, download_size = "SUN397", "SUN397", "39 GB"
    home = "https://vision.princeton.edu/projects/2010/SUN/"

    def words(self, raw: tuple[str, ...]) -> tuple[str, ...]:
        """Return the scenes with spaces for their slashes, such as ``apse indoor``."""
        return tuple(name.replace("/", " ") for name in raw)


class EuroSAT(WholeSet):
    """Serve EuroSAT (RGB): 27,000 satellite images of ten kinds of land at 64 x 64; all are for test by default."""

    name = "eurosat"
    source = "Helber et al., EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use (JSTARS 2019)."
    licence = "MIT"
    templates = (
        "a centered satellite photo of {}.",
        "a centered satellite photo of a {}.",
        "a centered satellite photo of the {}.",
    )
    official, base, download_size = "EuroSAT", "eurosat", "90 MB"
    home = "https://github.com/phelber/EuroSAT"
    listed = LAND

    size: int | None = parameter(default=None, help="side in pixels to which images are resized; none: 64", minimum=8)


class Caltech101(WholeSet):
    """Serve Caltech-101: 8,677 photos of 101 kinds of objects, without the background; all are for test by default."""

    name = "caltech101"
    source = "Fei-Fei, Fergus and Perona, Learning Generative Visual Models from Few Training Examples (CVPRW 2004)."
    licence = "CC BY 4.0"
    templates = PHOTO
    official, base, download_size = "Caltech101", "caltech101", "140 MB"
    home = "https://data.caltech.edu/records/mzrjq-6wc02"


class Caltech256(WholeSet):
    """Serve Caltech-256: 30,607 photos of 256 kinds of objects and clutter; all are for test by default."""

    name = "caltech256"
    source = "Griffin, Holub and Perona, Caltech-256 Object Category Dataset (2007)."
    licence = "CC BY 4.0"
    templates = PHOTO
    official, base, download_size = "Caltech256", "caltech256", "1.2 GB"
    home = "https://data.caltech.edu/records/nyy15-4j048"

    def words(self, raw: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names without their numbers and the suffix of those that are also in Caltech-101."""
        return tuple(re.sub(r"^\d{3}\.|-101$", "", name).replace("-", " ") for name in raw)


WHOLE_SETS: list[type[WholeSet]] = [Caltech101, Caltech256, EuroSAT, SUN397]
