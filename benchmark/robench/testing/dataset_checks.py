"""Checks of a dataset: splits that are disjoint, repeatable and labelled as they say."""

from __future__ import annotations

import hashlib
from typing import cast, get_args

import torch

from robench.contracts.components import Dataset, Split
from robench.contracts.examples import Examples
from robench.contracts.global_generators import seeded_globally
from robench.errors import RobenchError, attributed_to, require
from robench.plugin.catalog import catalog
from robench.testing.component_under_test import Checks, NotTried, Subject, may_refuse

SPLITS: tuple[Split, ...] = get_args(Split)

#: Bytes of each split that are looked at; photos would take minutes.
BUDGET = 2**26

#: Share of a split's images that may also be in another: real collections hold the same picture twice.
DUPLICATES = 0.01


def split_of(subject: Subject, split: Split) -> Examples:
    """Return one split, loaded once for all checks."""
    found: Examples = subject.once(("split", split), lambda: _load(subject, split, 0))
    return found


def _load(subject: Subject, split: Split, scramble: int) -> Examples:
    component = subject.component
    with (
        may_refuse(),
        attributed_to(f"loading {subject.name} ({split})"),
        seeded_globally(scramble),
        subject.untouched(),
    ):
        examples = component.load(split)
    kind = type(examples).__name__
    require(
        isinstance(examples, Examples),
        f"{subject.name}.load must return robench.Examples, not {kind}; build them with Examples.from_tensors or "
        "Examples.from_files.",
    )
    return cast(Examples, examples)


def named(subject: Subject) -> None:
    """Class names are unique, and every template has a place for one."""
    with may_refuse(), attributed_to(f"{subject.name}.classes"):
        classes = subject.component.classes()
    require(
        isinstance(classes, tuple)
        and len(classes) >= 2
        and all(isinstance(name, str) and name.strip() for name in classes),
        f"{subject.name}.classes must return a tuple of two or more names, not {classes!r}.",
    )
    twice = sorted({name for name in classes if classes.count(name) > 1})
    require(
        not twice,
        f"{subject.name} names '{''.join(twice[:1])}' twice; a zero-shot victim cannot tell such classes apart, so "
        "make the names unique.",
    )
    for template in subject.component.templates:
        require(
            template.count("{}") == 1,
            f"The template '{template}' of {subject.name} has {template.count('{}')} places for the class name; write "
            "one {}, such as 'a photo of a {}'.",
        )
    require(
        bool(subject.component.templates), f"{subject.name} has no template; give one, such as 'a photo of a {{}}'."
    )


def served(subject: Subject) -> None:
    """Images are (N, C, H, W) of one shape, in [0, 1] when served; labels are classes that have names."""
    with may_refuse():
        count = len(subject.component.classes())
    for split, examples in _splits(subject).items():
        require(len(examples) > 0, f"{subject.name} has no {split} images; raise robench.DataError if there are none.")
        labels = examples.labels
        require(
            int(labels.min()) >= 0 and int(labels.max()) < count,
            f"{subject.name} serves {split} labels {int(labels.min())} to {int(labels.max())} for {count} classes; "
            f"number them 0 to {count - 1}.",
        )
        with attributed_to(f"reading images of {subject.name} ({split})"):
            images = next(examples[:8].batches(8)).images
        require(
            images.dtype == torch.float32 and tuple(images.shape[1:]) == tuple(examples.shape),
            f"{subject.name} serves {split} images {images.dtype} {tuple(images.shape[1:])} and states the shape "
            f"{tuple(examples.shape)}; they must agree, as float32 after batching.",
        )
        require(
            bool(((images >= 0) & (images <= 1)).all()),
            f"{subject.name} serves {split} pixels outside [0, 1]; normalise inside the model, never in the data.",
        )
    shapes = {tuple(examples.shape) for examples in _splits(subject).values()}
    require(len(shapes) == 1, f"{subject.name} serves splits of different shapes: {sorted(shapes)}.")


def repeatable(subject: Subject) -> None:
    """Another load serves the same images in the same order, whatever the global generators hold."""
    for split, examples in _splits(subject).items():
        again = _load(subject, split, scramble=7)
        part = slice(0, _share(examples))
        require(
            len(again) == len(examples) and again[part].fingerprint == examples[part].fingerprint,
            f"{subject.name} serves other {split} images the second time; sort files by name, and draw from a "
            "generator seeded with a parameter.",
        )


def any_slice(subject: Subject) -> None:
    """An image is the same alone, in a slice and in a batch."""
    examples = next(iter(_splits(subject).values()))
    count = min(len(examples), 5)
    whole = torch.cat([batch.images for batch in examples[:count].batches(2)])
    alone = torch.cat([next(examples[[row]].batches(1)).images for row in range(count)])
    require(
        torch.equal(whole, alone),
        f"{subject.name} serves other pixels for an image alone than in a batch; augment in Defense.fit, not in the "
        "data.",
    )


def disjoint(subject: Subject) -> None:
    """No image is in two splits, as far as its bytes tell."""
    splits = _splits(subject)
    if len(splits) < 2:
        raise NotTried(f"only the split {', '.join(splits)} can be loaded here.")
    seen = {split: _hashes(examples) for split, examples in splits.items()}
    names = list(seen)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            common = len(set(seen[first]) & set(seen[second]))
            least = min(len(seen[first]), len(seen[second]))
            require(
                common <= DUPLICATES * least,
                f"{subject.name} serves {common} of {least} images in both {first} and {second}; what a defense "
                "trained on must not be what it is tested on, so cut the splits apart.",
            )


def usual_victim(subject: Subject) -> None:
    """The victim it names exists, and it does not stand in for the default dataset."""
    component, known = subject.component, catalog()
    if component.victim:
        try:
            known.find("victim", component.victim)
        except RobenchError as error:
            require(False, f"{subject.name}.victim cannot be run: {error}")
    others = [offer for offer in known.of("dataset") if _is_default(offer.component)]
    others = [offer for offer in others if offer.component is not type(component)]
    require(
        not (component.default and others),
        f"{subject.name} is marked default, and so is {', '.join(offer.name for offer in others)}; leave 'default' "
        "out.",
    )
    origin = component.origin()
    require(isinstance(origin, str) and bool(origin), f"{subject.name}.origin must return a name, not {origin!r}.")


def _is_default(component: type) -> bool:
    return issubclass(component, Dataset) and component.default


def _splits(subject: Subject) -> dict[Split, Examples]:
    """Return the splits that can be loaded; NotTried with the first reason if there is none."""
    found: dict[Split, Examples] = {}
    reasons = []
    for split in SPLITS:
        try:
            found[split] = split_of(subject, split)
        except NotTried as reason:
            reasons.append(str(reason))
    if not found:
        raise NotTried(reasons[0])
    return found


def _share(examples: Examples) -> int:
    """Return how many images of a split are looked at."""
    channels, height, width = examples.shape
    return min(len(examples), max(64, BUDGET // (channels * height * width)))


def _hashes(examples: Examples) -> list[bytes]:
    chosen = examples.sample(_share(examples), seed=0)
    return [
        hashlib.sha256(image.numpy().tobytes()).digest()
        for start in range(0, len(chosen), 64)
        for image in chosen[start : start + 64].images()
    ]


CHECKS: Checks = {
    "class names": named,
    "images and labels": served,
    "repeatable": repeatable,
    "any slice": any_slice,
    "disjoint splits": disjoint,
    "usual victim": usual_victim,
}
