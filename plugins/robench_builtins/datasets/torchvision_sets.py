"""The data sets of the CLIP papers that torchvision reads, one a class: where they lie, their parts, names and prompts.

Prompts are those of Radford et al. (ICML 2021), as published in openai/CLIP's data/prompts.md, the usual one first;
SVHN, which is not among them, has CLIP_benchmark's.
"""

from __future__ import annotations

from typing import ClassVar

from robench import parameter
from robench_builtins.datasets.shared.class_names import COUNTRIES, SIGNS
from robench_builtins.datasets.shared.torchvision_set import PHOTO, TorchvisionSet

ALL_THREE = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}


class STL10(TorchvisionSet):
    """Serve STL-10: 5,000 train and 8,000 test photos of ten classes at 96 x 96; val is cut from train."""

    name = "stl10"
    source = "Coates, Ng and Lee, An Analysis of Single-Layer Networks in Unsupervised Feature Learning (AISTATS 2011)."
    licence = "none stated by the authors; its images are of ImageNet"
    templates = PHOTO
    official, base, download_size = "STL10", "stl10_binary", "2.6 GB"
    home = "https://cs.stanford.edu/~acoates/stl10/"
    listed = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

    size: int | None = parameter(default=None, help="side in pixels to which images are resized; none: 96", minimum=8)


class Food101(TorchvisionSet):
    """Serve Food-101: 75,750 train and 25,250 test photos of 101 dishes; val is cut from train."""

    name = "food101"
    source = "Bossard, Guillaumin and Van Gool, Food-101 (ECCV 2014)."
    licence = "research only; the photos are Foodspotting's"
    templates = ("a photo of {}, a type of food.",)
    official, base, download_size = "Food101", "food-101", "5 GB"
    home = "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"


class Flowers102(TorchvisionSet):
    """Serve Oxford 102 Flowers: 1,020 train, 1,020 val and 6,149 test photos."""

    name = "flowers102"
    source = "Nilsback and Zisserman, Automated Flower Classification over a Large Number of Classes (ICVGIP 2008)."
    licence = "none stated by the authors"
    templates = ("a photo of a {}, a type of flower.",)
    official, base, download_size = "Flowers102", "flowers-102", "345 MB"
    home = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    parts = ALL_THREE


class OxfordIIITPet(TorchvisionSet):
    """Serve Oxford-IIIT Pet: 3,680 train and 3,669 test photos of 37 breeds; val is cut from train."""

    name = "oxford-pets"
    source = "Parkhi et al., Cats and Dogs (CVPR 2012)."
    licence = "CC BY-SA 4.0"
    templates = ("a photo of a {}, a type of pet.",)
    official, base, download_size = "OxfordIIITPet", "oxford-iiit-pet", "800 MB"
    home = "https://www.robots.ox.ac.uk/~vgg/data/pets/"
    parts: ClassVar = {"train": {"split": "trainval"}, "test": {"split": "test"}}


class DTD(TorchvisionSet):
    """Serve Describable Textures: 1,880 photos of 47 textures in each of train, val and test (partition 1)."""

    name = "dtd"
    source = "Cimpoi et al., Describing Textures in the Wild (CVPR 2014)."
    licence = "research only"
    templates = (
        "a photo of a {} texture.",
        "a photo of a {} pattern.",
        "a photo of a {} thing.",
        "a photo of a {} object.",
        "a photo of the {} texture.",
        "a photo of the {} pattern.",
        "a photo of the {} thing.",
        "a photo of the {} object.",
    )
    official, base, download_size = "DTD", "dtd", "600 MB"
    home = "https://www.robots.ox.ac.uk/~vgg/data/dtd/"
    parts = ALL_THREE


class FGVCAircraft(TorchvisionSet):
    """Serve FGVC-Aircraft: 3,334 train, 3,333 val and 3,333 test photos of 100 variants."""

    name = "fgvc-aircraft"
    source = "Maji et al., Fine-Grained Visual Classification of Aircraft (arXiv:1306.5151)."
    licence = "research only"
    templates = ("a photo of a {}, a type of aircraft.", "a photo of the {}, a type of aircraft.")
    official, base, download_size = "FGVCAircraft", "fgvc-aircraft-2013b", "2.6 GB"
    home = "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
    parts: ClassVar = {split: {"split": split, "annotation_level": "variant"} for split in ("train", "val", "test")}


class PCAM(TorchvisionSet):
    """Serve PatchCamelyon: 262,144 train, 32,768 val and 32,768 test patches of lymph nodes at 96 x 96.

    torchvision names no classes: ``raw`` and ``refined`` are the words of TeCoA's code.
    """

    name = "pcam"
    source = "Veeling et al., Rotation Equivariant CNNs for Digital Pathology (MICCAI 2018)."
    licence = "CC0 1.0"
    templates = ("this is a photo of {}",)
    official, base, download_size = "PCAM", "pcam", "7 GB"
    home = "https://github.com/basveeling/pcam"
    parts = ALL_THREE
    listed = ("lymph node", "lymph node containing metastatic tumor tissue")

    size: int | None = parameter(default=None, help="side in pixels to which images are resized; none: 96", minimum=8)

    def classes(self) -> tuple[str, ...]:
        """Return healthy tissue and that with a tumor, spelt as ``spelling`` says."""
        return self.listed if self.spelling == "words" else ("healthy lymph node tissue", "lymph node tumor tissue")


class Country211(TorchvisionSet):
    """Serve Country211: 31,650 train, 10,550 val and 21,100 test photos by the country they were taken in."""

    name = "country211"
    source = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision (ICML 2021)."
    licence = "that of each photo of YFCC100M, Creative Commons"
    templates = (
        "a photo i took in {}.",
        "a photo i took while visiting {}.",
        "a photo from my home country of {}.",
        "a photo from my visit to {}.",
        "a photo showing the country of {}.",
    )
    official, base, download_size = "Country211", "country211", "11 GB"
    home = "https://github.com/openai/CLIP/blob/main/data/country211.md"
    parts: ClassVar = {"train": {"split": "train"}, "val": {"split": "valid"}, "test": {"split": "test"}}

    def words(self, raw: tuple[str, ...]) -> tuple[str, ...]:
        """Return the countries of the ISO 3166 codes that are the raw names."""
        return tuple(COUNTRIES.get(code, code) for code in raw)


class StanfordCars(TorchvisionSet):
    """Serve Stanford Cars: 8,144 train and 8,041 test photos of 196 models; val is cut from train."""

    name = "stanford-cars"
    source = "Krause et al., 3D Object Representations for Fine-Grained Categorization (3dRR 2013)."
    licence = "research only"
    templates = (
        "a photo of a {}.",
        "a photo of the {}.",
        "a photo of my {}.",
        "i love my {}!",
        "a photo of my dirty {}.",
        "a photo of my clean {}.",
        "a photo of my new {}.",
        "a photo of my old {}.",
    )
    official, base, download_size = "StanfordCars", "stanford_cars", "1.9 GB"
    home = "https://github.com/pytorch/vision/issues/7545"
    fetched = False


class GTSRB(TorchvisionSet):
    """Serve German traffic signs: 26,640 train and 12,630 test photos of 43 signs; val is cut from train."""

    name = "gtsrb"
    source = "Stallkamp et al., Man vs. Computer, Neural Networks 32 (2012)."
    licence = "free for use, as its authors state"
    templates = (
        'a zoomed in photo of a "{}" traffic sign.',
        'a centered photo of a "{}" traffic sign.',
        'a close up photo of a "{}" traffic sign.',
    )
    official, base, download_size = "GTSRB", "gtsrb", "280 MB"
    home = "https://benchmark.ini.rub.de/gtsrb_dataset.html"
    listed = SIGNS


class SVHN(TorchvisionSet):
    """Serve Street View House Numbers: 73,257 train and 26,032 test digits at 32 x 32; val is cut from train."""

    name = "svhn"
    source = "Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning (2011)."
    licence = "non-commercial use only"
    templates = (
        'a photo of the number: "{}".',
        "a photo of the number {} written on a sign",
        "an outdoor house number {}",
        "the number {} in the center of the image",
    )
    official, base, download_size = "SVHN", "test_32x32.mat", "250 MB"
    home = "http://ufldl.stanford.edu/housenumbers/"
    listed = tuple("0123456789")

    size: int | None = parameter(default=None, help="side in pixels to which images are resized; none: 32", minimum=8)


#: Sets with official parts; those without are in whole_sets.py.
SETS: list[type[TorchvisionSet]] = [
    Country211,
    DTD,
    FGVCAircraft,
    Flowers102,
    Food101,
    GTSRB,
    OxfordIIITPet,
    PCAM,
    StanfordCars,
    STL10,
    SVHN,
]
