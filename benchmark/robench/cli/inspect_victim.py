"""What ``robench inspect`` says of a victim: what it makes of the images, and how many it gets right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from robench.cli.inspect_dataset import Known, Line
from robench.contracts.classifier import Classifier, Preprocess
from robench.contracts.components import Model
from robench.contracts.task import Progress
from robench.evidence.statistics import proportion
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import Cell, type_of


@dataclass
class View:
    """Hold a victim's answers, and what its network is given.

    Attributes:
        label: the victim, as a card names it.
        preprocess: what stands before its network.
        answers: (N,) predicted classes; None if it has no weights yet.
        lines: what there is to say.
    """

    label: str
    preprocess: nn.Module
    answers: Tensor | None
    lines: list[Line] = field(default_factory=list)

    def seen(self, images: Tensor) -> tuple[Tensor, bool]:
        """Return what the network is given, in [0, 1] again, and whether that took stretching it."""
        return undone(self.preprocess, images)


def look_through(cell: Cell, known: Known, device: str, progress: Progress) -> View:
    """Return what the cell's victim makes of the chosen test images; nothing is trained."""
    model: Model = type_of(cell.victim, Model)
    label = cell.victim.record().label
    with TemporaryDirectory(prefix="robench-") as folder:
        bench = Workbench(Options(store=Path(folder), device=device), device)
        classifier = bench.loaded(cell, cell.victim)
    said = in_words(classifier.preprocess, known.data.test.shape[1:])
    lines: list[Line] = [("victim", label), ("input", said)]
    lines += [("loaded", str(note)) for note in getattr(classifier, "notes", ())]  # what a checkpoint was unwrapped of
    if model.untrained():
        lines.append(("accuracy", "not measured: it comes without weights, and a run trains it first"))
        return View(label, classifier.preprocess.cpu(), None, lines)
    answers = _answers(classifier, known, device, progress)
    correct, n = int((answers == known.data.test.labels).sum()), len(answers)
    lines.append(("accuracy", f"{_accuracy(correct, n)}; {_stated(model, known, correct, n)}"))
    return View(label, classifier.preprocess.cpu(), answers, lines)


def _answers(classifier: Classifier, known: Known, device: str, progress: Progress) -> Tensor:
    batches = known.data.test.batches(16, device)
    total = -(-len(known.data.test) // 16)
    with torch.no_grad():
        tracked = progress.track(batches, total, "classify clean images")
        return torch.cat([classifier(batch.images).argmax(1).cpu() for batch in tracked])


def _accuracy(correct: int, n: int) -> str:
    low, high = proportion(correct, n)
    return f"{correct / n:.1%} of {n} clean test images [{low:.1%}, {high:.1%}]"


def _stated(model: Model, known: Known, correct: int, n: int) -> str:
    origin = known.data.dataset.origin()
    stated = model.reference.get(origin)
    if stated is None:
        return f"none is stated for {origin}"
    low, high = proportion(correct, n)
    fits = low - model.reference_tolerance <= stated <= high + model.reference_tolerance
    verdict = "which fits" if fits else "which does NOT fit: wrong weights, preprocessing or class order"
    return f"{stated:.1%} is stated for {origin}, {verdict}"


def in_words(preprocess: nn.Module, sides: tuple[int, int]) -> str:
    """Return what a victim does to images of this height and width before its network."""
    if isinstance(preprocess, Preprocess):
        return f"{_resizing(preprocess, sides)}; {_normalising(preprocess)}"
    if isinstance(preprocess, nn.Identity):
        return "as served, in [0, 1]; whatever else is done happens inside the network"
    if isinstance(preprocess, nn.Sequential):
        return "; then ".join(in_words(part, sides) for part in preprocess)
    return repr(preprocess).replace("\n", " ")


def _resizing(preprocess: Preprocess, sides: tuple[int, int]) -> str:
    size = preprocess.size
    if size is None or sides == (size, size):
        return f"{sides[0]} x {sides[1]}, not resized"
    crop = "" if sides[0] == sides[1] else " by the short side, the centre cropped"
    return f"resized to {size} x {size}{crop} ({preprocess.interpolation}, antialiased)"


def _normalising(preprocess: Preprocess) -> str:
    mean, std = (preprocess.get_buffer(name).flatten().tolist() for name in ("mean", "std"))
    if all(part == 0 for part in mean) and all(part == 1 for part in std):
        return "not normalised"
    said = [", ".join(f"{part:.4g}" for part in parts) for parts in (mean, std)]
    return f"minus the mean ({said[0]}), divided by ({said[1]})"


def undone(preprocess: nn.Module, images: Tensor) -> tuple[Tensor, bool]:
    """Return preprocessed ``images`` with the normalisation undone, and whether they had to be stretched to [0, 1]."""
    with torch.no_grad():
        seen: Tensor = preprocess(images.clone())
    for part in preprocess.modules():
        buffers = dict(part.named_buffers(recurse=False))
        if {"mean", "std"} <= set(buffers):
            seen = seen * buffers["std"].view(1, -1, 1, 1) + buffers["mean"].view(1, -1, 1, 1)
            break
    low, high = float(seen.min()), float(seen.max())
    if low >= -1e-3 and high <= 1 + 1e-3:
        return seen.clamp(0, 1), False
    return (seen - low) / max(high - low, 1e-12), True
