"""What ``robench inspect`` says of a dataset: how its images are stored, what is left out, and what is served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

from robench.contracts.components import Dataset, Split
from robench.contracts.examples import Examples
from robench.contracts.image_files import StoredImage
from robench.contracts.task import Progress
from robench.errors import RobenchError
from robench.pipeline.stages.load import Data, load_data, serve

#: One line: what it is about, and what it says.
Line = tuple[str, str]

#: Images of each split whose heads are read, evenly spaced.
LOOKED_AT = 2000

#: Different sizes, and classes at either end, that are printed.
SIZES, CLASSES = 6, 40


@dataclass
class Known:
    """Hold what was found out about a dataset, and the test images that were chosen."""

    label: str
    data: Data
    lines: list[Line] = field(default_factory=list)


def survey(label: str, dataset: Dataset, n: int, progress: Progress) -> Known:
    """Return what a dataset serves; RobenchError for what cannot be read."""
    served: dict[Split, Examples] = {"test": serve(dataset, "test")}
    reasons = {}
    for split in get_args(Split):
        try:
            served.setdefault(split, serve(dataset, split)) if split != "test" else None
        except RobenchError as reason:  # a set with nothing to train on is one
            reasons[split] = str(reason)
    data = load_data(dataset, min(n, len(served["test"])))
    known = Known(label, data, [("dataset", label)])
    known.lines += _stored(served, progress)
    known.lines += [("left out", note) for note in dataset.notes()]
    channels, height, width = data.test.shape
    known.lines.append(("served", f"{channels} x {height} x {width}, {'RGB' if channels == 3 else 'grey'}, in [0, 1]"))
    known.lines.append(("pixels", _pixels(data.test, progress)))
    for split in get_args(Split):
        text = f"{len(served[split])} images" if split in served else f"none: {reasons[split]}"
        known.lines.append((split, text))
    known.lines += _classes(data.classes, served)
    return known


def _stored(served: dict[Split, Examples], progress: Progress) -> Iterator[Line]:
    """Yield how the images are stored, where they are files."""
    found: list[StoredImage] = []
    for split, examples in served.items():
        if examples.stored(0) is None:
            continue
        rows = range(0, len(examples), max(1, -(-len(examples) // LOOKED_AT)))
        for row in progress.track(rows, len(rows), f"look at the {split} files"):
            stored = examples.stored(row)
            found += [stored] if stored is not None else []
    if not found:
        yield "stored", "not as image files"
        return
    total = sum(map(len, served.values()))
    if len(found) < total:
        yield "looked at", f"{len(found)} of {total} images, evenly spaced"
    yield "formats", _counted(Counter(image.format for image in found))
    yield "modes", _counted(Counter(image.mode for image in found))
    yield "sizes", _sizes(Counter((image.width, image.height) for image in found))
    turned = Counter(f"EXIF orientation {image.orientation}" for image in found if image.orientation > 1)
    upright = Counter({"stored upright": len(found) - turned.total()})
    yield "turned", _counted(+upright + turned) + ("; served upright" if turned else "")
    several = sum(image.frames > 1 for image in found)
    if several:
        yield "frames", f"{several} {'image has' if several == 1 else 'images have'} several; the first is served"


def _pixels(test: Examples, progress: Progress) -> str:
    """Decode the chosen test images; tell what their pixels are, and which are of a single colour."""
    low, high, total, flat = 1.0, 0.0, 0.0, 0
    batches = progress.track(test.batches(32), -(-len(test) // 32), "decode test images")
    for batch in batches:
        ends = batch.images.flatten(2).aminmax(dim=2)
        low, high = min(low, float(ends.min.min())), max(high, float(ends.max.max()))
        total += float(batch.images.mean((1, 2, 3)).sum())
        flat += int((ends.min == ends.max).all(1).sum())
    said = f"{low:.3f} to {high:.3f}, {total / len(test):.3f} on average, in {len(test)} test images"
    return said + (f"; {flat} of them are of one single colour" if flat else "")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _sizes(counts: Counter[tuple[int, int]]) -> str:
    common = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    said = ", ".join(f"{count} of {width} x {height}" for (width, height), count in common[:SIZES])
    return said + (f", and {len(common) - SIZES} other sizes" if len(common) > SIZES else "")


def _classes(names: tuple[str, ...], served: dict[Split, Examples]) -> Iterator[Line]:
    """Yield the classes in label order, with the images of each in each split."""
    counts = {split: examples.labels.bincount(minlength=len(names)).tolist() for split, examples in served.items()}
    order = [split for split in get_args(Split) if split in served]
    yield "classes", f"{len(names)}, in label order:"
    for label, name in enumerate(names):
        if len(names) > CLASSES and CLASSES // 2 <= label < len(names) - CLASSES // 2:
            if label == CLASSES // 2:
                yield "", f"... {len(names) - CLASSES} more ..."
            continue
        yield f"{label:>10}", f"{name} ({', '.join(f'{counts[split][label]} {split}' for split in order)})"
