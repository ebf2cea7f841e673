"""load: get the images and the models, and refuse what is not what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from robench.contracts.classifier import Classifier, check_logits
from robench.contracts.components import Dataset, Model, Split
from robench.contracts.examples import Examples
from robench.contracts.shared_weights import own_memory
from robench.contracts.task import Progress, Task, derive_seed
from robench.errors import DataError, attributed_to, require
from robench.evidence.image_signatures import KnownSignatures
from robench.plan.request_values import check_count
from robench.runtime.default_dtype import float32_by_default
from robench.runtime.float32 import held_to_float32
from robench.runtime.forward_side_effects import contain_side_effects
from robench.runtime.inference import freeze

#: One order of test images for every seed and every n: results stay comparable and a larger n holds a smaller one.
SAMPLE_SEED = 0


@dataclass(frozen=True)
class Data:
    """Hold the test images of a run and what describes them."""

    dataset: Dataset
    test: Examples
    classes: tuple[str, ...]

    @cached_property
    def signatures(self) -> KnownSignatures:
        """Return what takes the test images' signatures, once for all models that answer them."""
        return KnownSignatures(len(self.test))

    def task(self, seed: int, device: str, batch_size: int, progress: Progress, *stage: object) -> Task:
        """Return the task of one stage, with the stage's own seed."""
        return Task(
            classes=self.classes,
            templates=tuple(self.dataset.templates),
            shape=self.test.shape,
            seed=derive_seed(seed, *stage),
            device=device,
            batch_size=batch_size,
            progress=progress,
        )


def load_data(dataset: Dataset, n: int | None) -> Data:
    """Return the test split, or ``n`` images of it drawn once for all seeds."""
    test = serve(dataset, "test")
    with attributed_to(f"naming the classes of {dataset.name}", DataError):
        classes = dataset.classes()
    check_count(dataset.name, n, len(test))
    chosen = test.sample(n, SAMPLE_SEED) if n is not None and n < len(test) else test
    labels = chosen.labels
    require(
        len(chosen) > 0 and int(labels.min()) >= 0 and int(labels.max()) < len(classes),
        f"{dataset.name} serves labels outside 0..{len(classes) - 1}, the {len(classes)} classes it names.",
    )
    return Data(dataset, chosen, classes)


def serve(dataset: Dataset, split: Split) -> Examples:
    """Return one split; whatever a dataset raises becomes a sentence."""
    with attributed_to(f"loading {dataset.name} ({split})", DataError):
        examples = dataset.load(split)
    kind = type(examples).__name__
    require(isinstance(examples, Examples), f"{dataset.name}.load must return robench.Examples, not {kind}.")
    return examples


def load_model(model: Model, data: Data, task: Task) -> Classifier:
    """Return the model's classifier on the task's device, frozen, after holding it to its contract."""
    with held_to_float32(f"Loading {model.name}"), attributed_to(f"loading {model.name}"), float32_by_default():
        classifier = model.load(task)
    require(
        isinstance(classifier, Classifier),
        f"{model.name}.load must return a robench.Classifier, not {type(classifier).__name__}; wrap the network: "
        "Classifier(network, classes=len(task.classes)).",
    )
    own_memory(freeze(classifier, task.device))
    probe = next(data.test[: min(2, len(data.test))].batches(2, task.device)).images
    with attributed_to(f"{model.name} on the dataset's images"):
        contain_side_effects(classifier, probe, model.name)
    with torch.no_grad():
        check_logits(classifier(probe), len(probe), len(task.classes), model.name)
    classifier.notes = tuple(task.notes)
    return classifier
