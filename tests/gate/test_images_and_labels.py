"""Images, labels and clean answers: overlaps, copies, permutations and accuracies known by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from robench import Classifier, Dataset, Examples, Model
from robench.gate import duplicates
from robench.gate.images_and_labels import above_chance

from ..grey import Greys, accused, attack, checks, corner, only, row, victim

KNOWS = attack("knows", corner)


def sharing(count):
    """Return the grey images, ``count`` of whose training images are test images."""

    class Sharing(Greys):
        """Serve some test images for training."""

        name = "sharing"
        default = False

        def load(self, split):
            served = Greys().load(split)
            if split != "train":
                return served
            images, labels = served.images().clone(), served.labels.clone()
            test = Greys().load("test")
            images[:count] = test.images()[:count]
            return Examples.from_tensors(images, labels)

    return "dataset", Sharing


@pytest.mark.parametrize(("count", "status"), [(0, "pass"), (1, "suspect"), (2, "suspect"), (3, "invalid")])
def test_a_known_overlap_of_train_and_test(grey, count, status):
    # 1 of 44 is 2.3 %, 2 are 4.5 %, 3 are 6.8 %.
    cards = grey.run(KNOWS, sharing(count), dataset="sharing", attack="knows", defense="scale", eps="8/255")
    card = row(cards, "scale")
    check = checks(card)["split leakage"]

    assert (check.status, check.value, check.n) == (status, pytest.approx(count / 44), 44)
    assert accused(card) == ({"split leakage"} if count else set())
    if count:
        assert f"{count} of 44 test images are in the training split, bit by bit" in check.meaning
    # The undefended victim was not trained, so nothing can have leaked into it.
    assert checks(row(cards, "none"))["split leakage"].status == "pass"


@pytest.mark.parametrize(("count", "status"), [(2, "pass"), (3, "suspect")])
def test_copies_among_the_test_images(grey, count, status):
    # 2 of 46 are 4.3 %, 3 of 47 are 6.4 %.
    class Copied(Greys):
        """Serve some test images twice."""

        name = "copied"
        default = False

        def load(self, split):
            served = Greys().load(split)
            images, labels = served.images(), served.labels
            return Examples.from_tensors(torch.cat([images, images[:count]]), torch.cat([labels, labels[:count]]))

    (card,) = grey.run(KNOWS, ("dataset", Copied), dataset="copied", attack="knows", eps="8/255")
    check = checks(card)["split leakage"]

    assert check.status == status
    if status == "suspect":
        assert check.value == pytest.approx(3 / 47)
        assert check.meaning.startswith("6% of the test images are copies of others, bit by bit or but for brightness")
        assert "so N is smaller than it looks: 44 different pictures, not 47." in check.meaning


def test_copies_are_looked_for_once_among_the_same_images(grey, monkeypatch, tmp_path):
    varied, looked = duplicates.varied_thumbnails, []
    monkeypatch.setattr(duplicates, "_KNOWN", {})
    monkeypatch.setattr(duplicates, "varied_thumbnails", lambda images: looked.append(len(images)) or varied(images))

    rows = {"attack": "step", "defense": ["none", "scale"], "eps": ["2/255", "4/255"]}
    cards = grey.run(sharing(3), dataset="sharing", **rows)
    # Four rows: once for the victim, which was not trained here, and once for the training images of the defense.
    assert looked == [44, 44]
    # Other training images, and other test images, are looked at again.
    honest = grey.run(sharing(0), dataset="sharing", store=tmp_path / "other", **rows)
    assert looked == [44] * 3
    grey.run(sharing(0), dataset="sharing", store=tmp_path / "other", n=20, **rows)
    assert looked == [44] * 3 + [20] * 2
    assert [checks(card)["split leakage"].status for card in cards] == ["pass", "invalid"] * 2
    assert [checks(card)["split leakage"].status for card in honest] == ["pass"] * 4


class Swapped(nn.Module):
    """Call bright dark and dark bright."""

    def forward(self, images):
        brightness = 10 * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([-brightness, brightness], 1)


def sorted_split(count, classes=2):
    """Return the grey images, of which only the ``count`` first ones of the first class are tested."""

    class Sorted(Greys):
        """Serve the head of a split that is sorted by class."""

        name = "sorted"
        default = False

        def load(self, split):
            served = Greys().load(split)
            if split != "test":
                return served
            rows = (served.labels == 0).nonzero().flatten()[:count]
            return Examples.from_tensors(served.images()[rows], served.labels[rows])

    return "dataset", Sorted


# One class of two, by chance: 2 ** -9 of the time for 10 images, 2 ** -10 for 11.
@pytest.mark.parametrize(("count", "status"), [(10, "pass"), (11, "suspect")])
def test_a_split_of_one_class_is_no_random_one(grey, count, status):
    (card,) = grey.run(KNOWS, sorted_split(count), dataset="sorted", attack="knows", eps="8/255")
    check = checks(card)["classes shown"]

    assert (check.status, check.value, check.threshold, check.n) == (status, 1, "> 1 classes", count)
    if status == "suspect":
        assert f"The {count} test images show 1 of 2 classes; 2 would be seen at random" in check.meaning


class Always(nn.Module):
    """Answer bright, whatever is shown."""

    def forward(self, images):
        brightness = 0.1 * images.flatten(1).mean(1)
        return torch.stack([1 + brightness, -brightness], 1)


def test_a_permuted_class_order_is_told_with_the_names(grey):
    # Right on the 4 wrongly labelled images; relabelled on the other 40.
    (card,) = grey.run(KNOWS, victim("swapped", Swapped), victim="swapped", attack="knows", eps="8/255")
    # The attack knows the optimum for the true order, so it leads the wrong way.
    astray = ("undefended victim falls", "accuracy falls with eps", "unbounded attack")
    check = only(card, "class order", "above chance", *astray)

    assert card.clean.correct == 4
    assert (check.status, check.value, check.n) == ("invalid", pytest.approx(36 / 44), 44)
    assert "With the classes relabelled (bright as dark, dark as bright) 90.9% of the clean answers" in check.meaning
    assert "would be right instead of 9.1%: the class order of the model is not that of the dataset" in check.meaning


def test_the_right_class_order_gains_nothing(grey):
    (card,) = grey.run(KNOWS, attack="knows", eps="8/255")

    assert (checks(card)["class order"].status, checks(card)["class order"].value) == ("pass", 0)
    assert (checks(card)["above chance"].status, checks(card)["above chance"].value) == (
        "pass",
        pytest.approx(40 / 44),
    )


def test_a_model_that_answers_one_class_is_not_above_chance(grey):
    (card,) = grey.run(KNOWS, victim("always", Always), victim="always", attack="knows", eps="8/255", gate="quick")
    check = checks(card)["above chance"]

    assert (card.clean.correct, check.status, check.value) == (22, "suspect", 0.5)
    assert "right on 50.0% of the clean images; always answering the most frequent class would be right on 50.0%" in (
        check.meaning
    )


def captioned(images, wrong, classes=20):
    """Return a dataset of one image a class, greys 10 apart, and a model that takes each of ``wrong`` for the next."""

    class Captions(Dataset):
        """Serve one image a class."""

        name = "captions"
        victim = "matcher"

        def classes(self):
            return tuple(f"caption {place}" for place in range(classes))

        def load(self, split):
            pixels = torch.arange(images, dtype=torch.uint8).mul(10).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
            return Examples.from_tensors(pixels, torch.arange(images))

    class Matcher(nn.Module):
        """Answer the class whose grey is nearest."""

        def __init__(self):
            super().__init__()
            answers = torch.arange(classes)
            answers[list(wrong)] = answers[list(wrong)].roll(-1)
            self.register_buffer("levels", 10 * answers.argsort() / 255)

        def forward(self, images):
            return -1000 * (images.flatten(1).mean(1)[:, None] - self.levels).square()

    class Matching(Model):
        """Match greys."""

        name = "matcher"

        def load(self, task):
            return Classifier(Matcher(), classes=classes)

    return ("dataset", Captions), ("victim", Matching)


def answered(right, n, classes=10, undefended=False):
    """Return what the check looks at, of a model that is right on the first ``right`` of ``n`` images."""
    clean = SimpleNamespace(labels=torch.arange(n) % classes, correct=torch.arange(n) < right)
    cell = SimpleNamespace(undefended=undefended)
    return SimpleNamespace(clean=clean, n=n, cell=cell, data=SimpleNamespace(classes=tuple(map(str, range(classes)))))


@pytest.mark.parametrize(
    ("right", "n", "status", "meaning"),
    [
        (23, 100, "pass", "The model hardly beats the most frequent class: 23 of 100 clean images are right, of the"),
        (60, 100, "pass", "The model beats the most frequent class."),
        (12, 100, "suspect", "The model is right on 12.0% of the clean images; always answering the most frequent"),
        (2, 10, "skipped", "Not enough images to tell from chance (6% to 51% right); add --n."),
    ],
)
def test_training_that_ends_near_chance_is_told_and_few_images_accuse_nobody(right, n, status, meaning):
    check = above_chance(answered(right, n), [answered(9 * n // 10, n, undefended=True)])

    assert (check.status, check.value) == (status, right / n)
    assert check.meaning.startswith(meaning)


def test_with_one_image_a_class_mistakes_are_no_other_class_order(grey):
    # Twelve of twenty are right; the other eight have answers of their own, so that relabelling would explain all.
    offers = captioned(20, wrong=range(12, 20))
    (card,) = grey.run(*offers, dataset="captions", eps="1/255")
    found = checks(card)

    assert card.clean.correct == 12
    assert (found["class order"].status, found["class order"].value) == ("pass", 0)
    assert (found["classes shown"].status, found["classes shown"].value) == ("pass", 20)
    assert found["above chance"].status == "pass"


def test_of_many_captions_few_images_show_as_many_classes_as_can_be(grey):
    (card,) = grey.run(*captioned(8, wrong=[], classes=24), dataset="captions", eps="1/255")
    found = checks(card)

    assert {name: found[name].status for name in ("class order", "classes shown", "above chance")} == dict.fromkeys(
        ("class order", "classes shown", "above chance"), "pass"
    )
    assert (found["above chance"].threshold, found["above chance"].meaning) == (
        "> 4.2%",
        "The model beats guessing.",
    )


def test_right_on_two_of_eight_captions_is_more_than_guessing_among_all(grey):
    # Wilson's lower end of 2 of 8 is 7.1 %: less than one of the eight shown, more than one of the 24 candidates.
    (card,) = grey.run(*captioned(8, wrong=range(2, 8), classes=24), dataset="captions", eps="1/255")

    assert card.clean.correct == 2
    assert checks(card)["above chance"].status == "pass"


def test_right_on_no_caption_is_not_above_guessing(grey):
    (card,) = grey.run(*captioned(8, wrong=range(8), classes=24), dataset="captions", eps="1/255")
    check = checks(card)["above chance"]

    assert (check.status, check.value) == ("suspect", 0)
    assert check.meaning == (
        "The model is right on 0.0% of the clean images; a guess among 24 classes would be right on 4.2%. Check "
        "weights, classes and preprocessing."
    )


def test_images_of_one_class_cannot_be_beaten(grey):
    class Bright(Greys):
        """Serve the bright images alone."""

        name = "brights"
        default = False

        def load(self, split):
            return Greys().load(split)[:20]

    (card,) = grey.run(KNOWS, ("dataset", Bright), dataset="brights", attack="knows", eps="8/255")

    assert card.clean.correct == 20
    assert checks(card)["above chance"].status == "pass"


def test_the_declared_parameters_are_counted_where_all_is_well(grey):
    cards = grey.run(KNOWS, attack="knows", defense="scale", eps="8/255")
    check = checks(row(cards, "scale"))["trained parameters"]

    assert (check.status, check.value) == ("pass", 0)
    assert check.meaning == "Exactly the 1 declared parameter tensors were trained."
