"""Ask the defended victim again about the stored adversarial images of a card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from robench.contracts.adaptive import Expected
from robench.contracts.classifier import Classifier
from robench.contracts.threat_model import BALL_TOLERANCE
from robench.evidence.card import Card
from robench.evidence.store import Artifact
from robench.pipeline.stages.craft import AdversarialSet
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import Cell


@dataclass(frozen=True)
class Finding:
    """Report one comparison: ``good`` is None where the evidence is not at hand."""

    what: str
    good: bool | None
    detail: str


def against_images(card: Card, cell: Cell, chunks: list[Artifact], options: Options, device: str) -> Iterator[Finding]:
    """Yield what the stored adversarial images, asked of the defended victim again, say about a card."""
    workbench = Workbench(options, device)
    data = workbench.data(cell)
    yield Finding("test images", data.test.fingerprint == card.data.test, "fingerprint of the images served here")
    adversarial = AdversarialSet(card.adversarial.artifact, chunks, data.test.labels)
    yield Finding(
        "adversarial set",
        adversarial.fingerprint == card.adversarial.fingerprint,
        "fingerprint of the stored images",
    )
    defended = workbench.defended(cell)
    yield Finding("weights", defended.fitted.digest == card.model.defended, "digest of the defended victim")
    largest, right = 0.0, []
    size, draws = workbench.batch_size(data), card.robust.draws
    asked: Classifier = Expected(defended.prepared.model, draws) if draws > 1 else defended.prepared.model
    for clean, moved in zip(data.test.batches(size, device), _aligned(adversarial, size, device), strict=True):
        inside = bool(((moved >= 0) & (moved <= 1)).all())
        distance = float(cell.threat.distance(clean.images, moved).max())
        largest = max(largest, distance if inside else float("inf"))
        with torch.no_grad():
            right += (asked(moved).argmax(1) == clean.labels).tolist()
    good = largest <= card.cell.threat.eps + BALL_TOLERANCE
    yield Finding("ball and box", good, f"largest perturbation {largest:.6f}, eps {card.cell.threat.eps:.6f}")
    if draws > 1:
        low, high = card.robust.low, card.robust.high
        rate = sum(right) / len(right)
        # Drawn anew, and by majority: the same within twice the interval, or it is another defense.
        good = 2 * low - high <= rate <= 2 * high - low
        yield Finding("re-score", good, f"{rate:.1%} right when drawn anew, {card.robust.rate:.1%} in the card")
        return
    differ = sum(one != other for one, other in zip(right, card.robust.mask(), strict=True))
    yield Finding("re-score", differ == 0, f"{differ} of {len(right)} images are answered differently")


def _aligned(adversarial: AdversarialSet, size: int, device: str) -> Iterator[Tensor]:
    """Yield the stored images in batches cut where the clean ones are cut."""
    waiting = torch.empty(0)
    for batch in adversarial.batches(size, device):
        waiting = torch.cat([waiting.to(device), batch.images]) if len(waiting) else batch.images
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if len(waiting):
        yield waiting
