"""Train on one dataset, judge on another: one fit for all test sets, and the head of each."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn

from robench import Dataset, Examples, Model, ZeroShotClassifier
from robench.errors import ContractError, SpecError
from robench.plan.spec import plan
from robench.verify.recompute import request_of

from ..grey import Greys, checks


def grey_images(levels, labels, mark):
    images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    images[:, :, 0, 0] += mark  # so that no image is another dataset's
    return Examples.from_tensors(images, torch.tensor(labels))


class Levels(Dataset):
    """Serve grey images of three kinds."""

    name = "levels"
    loads: ClassVar[list[str]] = []

    def classes(self):
        return ("dark", "middle", "bright")

    def load(self, split):
        self.loads.append(split)
        levels = [*range(10, 40), *range(113, 143), *range(210, 240)]
        return grey_images(levels, [0] * 30 + [1] * 30 + [2] * 30, 9 if split == "train" else 5)


class Others(Levels):
    """Serve other images of the classes of greys."""

    name = "others"

    def classes(self):
        return ("bright", "dark")

    def load(self, split):
        self.loads.append(split)
        return grey_images([*range(140, 160), *range(90, 110)], [0] * 20 + [1] * 20, 7 if split == "train" else 3)


class Leaky(Others):
    """Train on the test images of greys."""

    name = "leaky"

    def load(self, split):
        return Greys().load("test")


class Brightness(nn.Module):
    """Embed an image as its brightness and a constant."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(10.0))

    def forward(self, images):
        brightness = self.gain * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, torch.ones_like(brightness)], 1)


class Words(Model):
    """Compare images with class names."""

    name = "words"
    texts: ClassVar[dict[str, tuple[float, float]]] = {"bright": (1.0, 0.1), "dark": (-1.0, 0.1), "middle": (0.0, 1.0)}

    def load(self, task):
        texts = torch.tensor([self.texts[name] for name in task.classes])
        return ZeroShotClassifier(Brightness(), texts, 10.0, nn.Identity())


MORE = (("dataset", Levels), ("dataset", Others), ("dataset", Leaky), ("victim", Words))


@pytest.fixture
def elsewhere(grey):
    Levels.loads.clear()

    def go(**request):
        return grey.run(*MORE, **{"eps": "4/255", "defense": "scale", "baseline": False, **request})

    return go


def test_a_defense_is_fitted_on_the_training_dataset_alone(elsewhere, grey):
    (card,) = elsewhere(train_dataset="others")

    assert "train" not in grey.Greys.loads
    assert card.cell.trained_on.name == "others"
    assert (card.data.train, card.data.train_n) == (Others().load("train").fingerprint, 40)
    assert card.data.test == Greys().load("test").fingerprint
    assert card.robust.correct == grey.survivors[4]


def test_a_zero_shot_victim_is_fitted_on_other_classes_and_answers_with_those_of_the_test_set(elsewhere, grey):
    (card,) = elsewhere(train_dataset="levels", victim="words")

    assert card.data.classes == ["bright", "dark"]
    assert card.clean.correct == grey.clean
    assert card.training.names == ["network.gain"]
    assert card.data.train == Levels().load("train").fingerprint


def test_one_fit_serves_every_test_set_and_its_own(elsewhere, grey):
    one = elsewhere(train_dataset="levels", victim="words")
    other = elsewhere(train_dataset="levels", victim="words", dataset="others")
    own = elsewhere(victim="words", dataset="levels")

    assert grey.Scale.fits == [2]
    assert len({card.model.defended for card in (*one, *other, *own)}) == 1
    assert [card.cell.trained_on is None for card in (*one, *other, *own)] == [False, False, True]


def test_training_on_the_dataset_itself_is_no_other_cell(elsewhere):
    (named,) = elsewhere(train_dataset="greys")
    (plain,) = elsewhere()

    assert named.id == plain.id
    assert named.cell.trained_on is None


def test_the_undefended_row_is_the_same_with_and_without(elsewhere):
    with_, _ = elsewhere(train_dataset="others", baseline=True)
    without, _ = elsewhere(baseline=True)

    assert with_.id == without.id
    assert with_.cell.trained_on is None


def test_leakage_is_looked_for_in_the_images_trained_on(elsewhere):
    (leaky,), (clean,) = elsewhere(train_dataset="leaky"), elsewhere(train_dataset="others")
    assert checks(leaky)["split leakage"].status == "invalid"
    assert checks(clean)["split leakage"].status == "pass"


def test_a_supervised_victim_of_other_classes_is_refused(elsewhere):
    with pytest.raises(SpecError) as raised:
        elsewhere(train_dataset="levels", victim="mean")
    assert str(raised.value) == (
        "mean answers with the classes that it is trained on, and those of levels (dark, middle, bright) are not those "
        "of greys (bright, dark), in this order; choose a train_dataset of the same classes, or a zero-shot victim, "
        "such as tiny-clip."
    )


def test_a_training_dataset_without_anything_to_train_is_refused(elsewhere):
    with pytest.raises(SpecError) as raised:
        elsewhere(train_dataset="others", defense="none")
    assert str(raised.value) == (
        "train_dataset='others' is for what is trained, and nothing of this run is; name a defense that trains, such "
        "as defense tecoa, or leave it out."
    )


def test_a_card_asks_for_its_own_cell_again(elsewhere, catalog_of):
    (card,) = elsewhere(train_dataset="levels", victim="words")

    cells = plan(request_of(card), "cpu", catalog_of(*MORE))
    assert card.id in {cell.score_id for cell in cells}


def test_a_fit_whose_tensors_are_made_for_the_classes_is_refused(elsewhere, catalog_of):
    from ..grey import Scale

    class PerClass(Scale):
        """Train one number a class."""

        name = "per-class"

        def wrap(self, victim, task):
            victim = super().wrap(victim, task)
            victim.network.offsets = nn.Parameter(torch.zeros(len(task.classes)))
            victim.network.offsets.requires_grad_(False)
            return victim

    with pytest.raises(ContractError) as raised:
        elsewhere(
            train_dataset="levels", victim="words", defense="per-class", known=catalog_of(*MORE, ("defense", PerClass))
        )
    assert str(raised.value) == (
        "per-class cannot be judged on another dataset than it was fitted on: its tensor network.offsets is made for "
        "the classes or the image size of that one."
    )
