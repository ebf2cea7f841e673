"""Let each attack at each model, through the harness's own stage, and compare with the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch

from robench import Attack, Classifier, Examples, RobenchError, Task
from robench.contracts.task import Progress, derive_seed
from robench.evidence.adversarial_set import AdversarialSet
from robench.evidence.fingerprint import hashed
from robench.evidence.store import Store
from robench.evidence.tensor_digests import digest
from robench.pipeline.stages.craft import craft
from robench.plan.cell import SelectedComponent, type_of
from robench_exam.candidates import refusal
from robench_exam.ground import Ground, Subject

#: Raise it when the same subject is examined otherwise.
VERSION = 1


@dataclass(frozen=True)
class Score:
    """Hold what one attack found on one subject.

    Attributes:
        vulnerable: images of which the truth is that they can fall.
        found: those that the attack felled.
        impossible: places of the images that it felled and that cannot fall: the truth, the harness or both are wrong.
        forwards: image forwards, all images together.
        backwards: image backwards.
        outside: images that it returned outside the ball or the box, and that were moved back before they counted.
        fell: places of the images that it felled.
        failure: the sentence with which it ended, if it did.
        untried: why it cannot be tried here, if so.
    """

    attack: str
    subject: str
    group: str
    norm: str
    images: int
    vulnerable: int
    found: int = 0
    impossible: tuple[int, ...] = ()
    forwards: int = 0
    backwards: int = 0
    outside: int = 0
    fell: tuple[int, ...] = ()
    failure: str = ""
    untried: str = ""

    @property
    def tried(self) -> bool:
        """Tell whether it ran to its end."""
        return not (self.failure or self.untried)


@lru_cache(maxsize=32)
def ground_of(subject: Subject) -> Ground:
    """Return the subject's model, images and truth, computed once a process."""
    return subject.make(subject.threat)


def examine(
    attacks: Mapping[str, SelectedComponent], subjects: Sequence[Subject], folder: Path, progress: Progress
) -> list[Score]:
    """Return a score for each attack on each subject.

    Args:
        attacks: by the name that is shown.
        subjects: the models.
        folder: the store; what is in it already is not computed again.
        progress: one step a truth, then one an attack and subject.
    """
    store = Store(folder, warn=progress.note)
    grounds = {subject.name: ground_of(subject) for subject in progress.track(subjects, len(subjects), "exact truths")}
    pairs = [(name, subject) for name in attacks for subject in subjects]
    return [
        score(name, attacks[name], subject, grounds[subject.name], store)
        for name, subject in progress.track(pairs, len(pairs), "exam")
    ]


def score(name: str, selected: SelectedComponent, subject: Subject, ground: Ground, store: Store) -> Score:
    """Return what one attack finds on one subject; one that fails has failed, and its sentence is kept."""
    known = {
        "attack": name, "subject": subject.name, "group": subject.group, "norm": subject.threat.norm,
        "images": len(ground.labels), "vulnerable": int(ground.vulnerable.sum()),
    }  # fmt: skip
    untried = refusal(selected, subject)
    if untried:
        return Score(**known, untried=untried)  # type: ignore[arg-type]  # texts and counts by name
    try:
        made = _craft(selected, subject, ground, store)
    except RobenchError as error:
        return Score(**known, failure=str(error))  # type: ignore[arg-type]  # likewise
    fell = fallen(ground.model, made)
    places = tuple(fell.nonzero().flatten().tolist())
    return Score(
        **known,  # type: ignore[arg-type]  # likewise
        found=int((fell & ground.vulnerable).sum()),
        impossible=tuple((fell & ~ground.vulnerable).nonzero().flatten().tolist()),
        forwards=made.meter.forwards,
        backwards=made.meter.backwards,
        outside=made.total("outside_ball") + made.total("outside_box"),
        fell=places,
    )


@torch.no_grad()
def fallen(model: Classifier, made: AdversarialSet) -> torch.Tensor:
    """Return which images are answered wrongly as they lie in the store (N,)."""
    wrong = [model(batch.images).argmax(1) != batch.labels for batch in made.batches(len(made.labels), "cpu")]
    return torch.cat(wrong)


def _craft(selected: SelectedComponent, subject: Subject, ground: Ground, store: Store) -> AdversarialSet:
    attack: Attack = type_of(selected, Attack)
    test = Examples.from_tensors(ground.images, ground.labels)
    task = Task(
        classes=tuple(str(place) for place in range(ground.model.classes)),
        shape=test.shape,
        seed=derive_seed("exam", subject.name),
        stop_early=True,
        batch_size=len(test),
        threat_model=subject.threat,
        training_images=partial(_training, ground),
    )
    key = hashed("exam", VERSION, {
        "attack": selected.key, "weights": [*_digests(ground)], "norm": subject.threat.norm, "eps": subject.threat.eps,
        "model": subject.name,
    })  # fmt: skip
    return craft(attack, ground.model, test, None, task, store, key, text="")


def _training(ground: Ground) -> Examples:
    """Return the images that one perturbation is fitted on, which only subjects for it have."""
    images, labels = ground.training or (ground.images[:0], ground.labels[:0])
    return Examples.from_tensors(images, labels)


def _digests(ground: Ground) -> Iterator[str]:
    for tensor in (*ground.model.state_dict().values(), ground.images, ground.labels):
        yield digest(tensor)
