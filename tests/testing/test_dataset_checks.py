"""The kit against datasets: right ones pass, each wrong one gets its sentence."""

from __future__ import annotations

import random

import pytest
import torch

from robench import DataError, Dataset, Examples, parameter

SEEDS = {"train": 0, "val": 1, "test": 2}


class Right(Dataset):
    """Serve noise, each split from a seed of its own."""

    name = "right"
    victim = "tiny-clip"
    count: int = parameter(default=12, help="images a split", minimum=1)

    def classes(self):
        return ("one", "two", "three")

    def load(self, split):
        generator = torch.Generator().manual_seed(SEEDS[split])
        images = torch.randint(0, 256, (self.count, 3, 8, 8), dtype=torch.uint8, generator=generator)
        return Examples.from_tensors(images, torch.arange(self.count) % 3)


class Floating(Right):
    """Serve float32."""

    def load(self, split):
        served = super().load(split)
        return Examples.from_tensors(served.images() / 255, served.labels)


class OnlyTest(Right):
    """Have test images only."""

    def load(self, split):
        if split != "test":
            raise DataError("there are test images only.")
        return super().load(split)


@pytest.mark.parametrize("dataset", [Right, Floating])
def test_a_right_dataset_passes_every_check(judged, dataset):
    assert {r.status for r in judged(dataset).values()} == {"passed"}


def test_a_split_that_is_refused_in_a_sentence_is_not_tried(judged):
    results = judged(OnlyTest)
    assert results["images and labels"].status == "passed"
    assert results["disjoint splits"].status == "not tried"
    assert results["disjoint splits"].sentence == "only the split test can be loaded here."


class Absent(Right):
    """Have nothing."""

    def load(self, split):
        raise DataError("download it first.")


def test_data_that_is_not_here_is_checked_as_far_as_possible(judged):
    results = judged(Absent)
    assert {name for name, r in results.items() if r.status == "not tried"} == {
        "images and labels", "repeatable", "any slice", "disjoint splits",
    }  # fmt: skip
    assert results["repeatable"].sentence == "download it first."


class Twins(Right):
    """Name a class twice."""

    def classes(self):
        return ("one", "two", "one")


class Lone(Right):
    """Have one class."""

    def classes(self):
        return ("one",)


class Listed(Right):
    """Return a list of names."""

    def classes(self):
        return ["one", "two", "three"]


class Templated(Right):
    """Have a template without a place."""

    templates = ("a photo",)


class Untemplated(Right):
    """Have no template."""

    templates = ()


class Tensors(Right):
    """Return tensors."""

    def load(self, split):
        return torch.zeros(1), torch.zeros(1)


class Shifted(Right):
    """Number labels from 1."""

    def load(self, split):
        served = super().load(split)
        return Examples.from_tensors(served.images(), served.labels + 1)


class Empty(Right):
    """Serve nothing."""

    def load(self, split):
        return super().load(split)[:0]


class Uneven(Right):
    """Serve test images of another size."""

    def load(self, split):
        served = super().load(split)
        return Examples.from_tensors(served.images()[..., :6] if split == "test" else served.images(), served.labels)


class Misshapen(Right):
    """State another shape than is served."""

    def load(self, split):
        served = super().load(split)
        served.shape = (3, 9, 9)
        return served


class Normalised(Right):
    """Serve normalised pixels."""

    def load(self, split):
        images = super().load(split).images() / 128 - 1
        labels = torch.arange(len(images)) % 3
        return Examples(labels, (3, 8, 8), lambda rows: images[list(rows)], lambda rows: b"")


class Shuffled(Right):
    """Shuffle with the global generator."""

    def load(self, split):
        rows = list(range(self.count))
        random.shuffle(rows)
        return super().load(split)[rows]


class Augmented(Right):
    """Flip at random when served."""

    def load(self, split):
        served = super().load(split)
        images = served.images()

        def fetch(rows):
            return images[list(rows)].flip(3) if len(rows) > 1 else images[list(rows)]

        return Examples(served.labels, (3, 8, 8), fetch, lambda rows: bytes(rows))


class Leaking(Right):
    """Test on what was trained on."""

    def load(self, split):
        return super().load("train" if split == "test" else split)


class Lost(Right):
    """Name a victim that is not there."""

    victim = "tiny-clap"


class Greedy(Right):
    """Claim to be the default."""

    default = True


class Nameless(Right):
    """Come from nowhere."""

    def origin(self):
        return ""


WRONG = {
    Twins: ("class names", "right names 'one' twice; a zero-shot victim cannot tell such classes apart"),
    Lone: ("class names", "right.classes must return a tuple of two or more names, not ('one',)."),
    Listed: ("class names", "right.classes must return a tuple of two or more names, not ['one', 'two', 'three']."),
    Templated: (
        "class names",
        "The template 'a photo' of right has 0 places for the class name; write one {}, such as",
    ),
    Untemplated: ("class names", "right has no template; give one, such as 'a photo of a {}'."),
    Tensors: ("images and labels", "right.load must return robench.Examples, not tuple; build them with Examples.from"),
    Shifted: ("images and labels", "right serves train labels 1 to 3 for 3 classes; number them 0 to 2."),
    Empty: ("images and labels", "right has no train images; raise robench.DataError if there are none."),
    Uneven: ("images and labels", "right serves splits of different shapes: [(3, 8, 6), (3, 8, 8)]."),
    Misshapen: (
        "images and labels",
        "right serves train images torch.float32 (3, 8, 8) and states the shape (3, 9, 9);",
    ),
    Normalised: ("images and labels", "right serves train pixels outside [0, 1]; normalise inside the model, never in"),
    Shuffled: ("repeatable", "right serves other train images the second time; sort files by name, and draw from a"),
    Augmented: ("any slice", "right serves other pixels for an image alone than in a batch; augment in Defense.fit"),
    Leaking: ("disjoint splits", "right serves 12 of 12 images in both train and test; what a defense trained on must"),
    Lost: ("usual victim", "right.victim cannot be run: There is no victim 'tiny-clap'; did you mean 'tiny-clip'?"),
    Greedy: ("usual victim", "right is marked default, and so is digits; leave 'default' out."),
    Nameless: ("usual victim", "right.origin must return a name, not ''."),
}


@pytest.mark.parametrize("dataset", WRONG, ids=lambda dataset: dataset.__name__)
def test_a_wrong_dataset_fails_its_check(sentence, dataset):
    check, words = WRONG[dataset]
    assert words in sentence(dataset, check)


@pytest.mark.parametrize("dataset", [Twins, Templated, Shifted, Uneven, Augmented, Leaking, Lost, Greedy, Nameless])
def test_and_no_other_check(caught, dataset):
    assert list(caught(dataset)) == [WRONG[dataset][0]]


def test_a_picture_met_twice_in_a_large_collection_is_forgiven(judged):
    class Duplicate(Right):
        """Hold one picture twice."""

        def load(self, split):
            served = super().load(split)
            images = served.images()
            if split != "val":
                images[0] = 7
            return Examples.from_tensors(images, served.labels)

    assert judged(Duplicate, count=200)["disjoint splits"].status == "passed"
    assert judged(Duplicate, count=50)["disjoint splits"].status == "failed"
