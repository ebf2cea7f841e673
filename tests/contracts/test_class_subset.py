"""Some classes of a dataset: which are kept, how they are numbered, and what is refused."""

from __future__ import annotations

import pytest
import torch

from robench import Dataset, Examples
from robench.contracts.class_subset import with_classes
from robench.errors import SpecError
from robench.evidence.fingerprint import of_component
from robench.plan.references import split_reference
from robench.plan.spec import Spec, plan


class Pets(Dataset):
    """Serve two images a class, of its label's grey level."""

    name = "pets"

    def classes(self):
        return ("cat", "dog", "fish", "bird")

    def load(self, split):
        labels = torch.tensor([3, 0, 1, 2, 2, 1, 0, 3])
        return Examples.from_tensors(labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous(), labels)


@pytest.mark.parametrize(
    ("text", "written", "names"),
    [
        ("0,2", "0,2", ("cat", "fish")),
        ("2, 0,0", "0,2", ("cat", "fish")),
        ("1-3", "1-3", ("dog", "fish", "bird")),
        ("1,2,3", "1-3", ("dog", "fish", "bird")),
        ("bird,cat", "bird,cat", ("cat", "bird")),
        ("0-1,bird", "0-1,bird", ("cat", "dog", "bird")),
    ],
)
def test_classes_are_kept_in_the_order_of_the_dataset(text, written, names):
    pets = with_classes(Pets(), text)

    assert pets.parameters == {"classes": written}
    assert pets.classes() == names
    assert pets.origin() == f"pets[classes={written}]"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_images_of_other_classes_are_served_in_no_split_and_labels_begin_at_0(split):
    served = with_classes(Pets(), "1,3").load(split)

    assert served.labels.tolist() == [1, 0, 0, 1]
    assert served.images()[:, 0, 0, 0].tolist() == [3, 1, 1, 3]
    assert next(served.batches(2)).labels.tolist() == [1, 0]
    assert served.fingerprint != Pets().load(split).fingerprint


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0", "pets.classes keeps the one class '0'; keep at least two, such as 0,1."),
        ("0,,1", "pets.classes is '0,,1'; write labels or names separated by commas, such as 0,1,2, 0-4 or cat,dog."),
        ("3-1", "pets.classes is '3-1'; write labels or names separated by commas, such as 0,1,2, 0-4 or cat,dog."),
        ("0,4", "pets has the classes 0 to 3, and pets.classes asks for 4."),
        ("cat,bog", "pets has no class 'bog'; did you mean 'dog'? Known: bird, cat, dog, fish."),
    ],
)
def test_what_are_no_classes_is_refused(text, sentence):
    with pytest.raises(SpecError) as raised:
        with_classes(Pets(), text).classes()
    assert str(raised.value) == sentence


def test_a_dataset_with_all_its_classes_is_known_as_before():
    assert of_component(Pets())["parameters"] == {}
    assert of_component(with_classes(Pets(), "0,1"))["parameters"] == {"classes": "0-1"}
    assert of_component(with_classes(Pets(), "0,1"))["code"] == of_component(Pets())["code"]


def test_every_dataset_takes_classes_in_brackets_and_by_role():
    assert split_reference("digits[classes=0,1,5-7,split_seed=1]") == (
        "digits",
        {"classes": "0,1,5-7", "split_seed": "1"},
    )
    (cell,) = plan(Spec(dataset="digits[classes=3,4]"))
    (same,) = plan(Spec(parameters={"dataset.classes": "3-4"}))
    (all_,) = plan(Spec())

    assert cell.score_id == same.score_id != all_.score_id
    assert cell.dataset.record().label == "digits[classes=3-4]"
    assert cell.dataset.component.classes() == ("three", "four")
    assert "classes" not in all_.dataset.record().parameters
