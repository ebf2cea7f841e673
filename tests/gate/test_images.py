"""Images, labels and clean answers: overlaps, copies, permutations and accuracies known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Examples

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
        assert "6% of the test images are copies of others, so N is smaller than it looks" in check.meaning


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
