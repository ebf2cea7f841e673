"""Ask the defended victim again about the stored adversarial images of a card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robench.contracts.adaptive import Expected
from robench.contracts.classifier import Classifier
from robench.contracts.threat_model import BALL_TOLERANCE
from robench.evidence.adversarial_set import KIND as CRAFTED
from robench.evidence.adversarial_set import AdversarialSet, chunk_key, images_of
from robench.evidence.artifact_folder import Artifact
from robench.evidence.card import Card
from robench.evidence.fingerprint import CHUNK
from robench.evidence.meter import Meter
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import Cell
from robench.verify.repetition import SCORED, Finding, Margins


def against_images(
    card: Card, cell: Cell, chunks: list[Artifact], outcomes: Artifact | None, workbench: Workbench
) -> Iterator[Finding]:
    """Yield what the stored adversarial images, asked of the defended victim again, say about a card.

    An image may be answered otherwise than in the card only where the class that the card's run put first, which
    ``outcomes`` holds, is one that rounding may put first here as well.
    """
    data, device = workbench.data(cell), workbench.device
    yield Finding("test images", data.test.fingerprint == card.data.test, "fingerprint of the images served here")
    adversarial = AdversarialSet(card.adversarial.artifact, chunks, data.test.labels, Meter(device=device))
    defended = workbench.defended(cell)
    yield Finding("weights", defended.fitted.digest == card.model.defended, "digest of the defended victim")
    largest, right = 0.0, []
    near: list[bool] = []
    size, draws = workbench.batch_size(data), card.robust.draws
    before = outcomes.tensors()["predictions"].to(device) if outcomes is not None else data.test.labels.to(device)
    asked: Classifier = Expected(defended.prepared.model, draws) if draws > 1 else defended.prepared.model
    for clean, (moved, *_) in zip(data.test.batches(size, device), adversarial.batches(size, device), strict=True):
        inside = bool(((moved >= 0) & (moved <= 1)).all())
        distance = float(cell.threat.distance(clean.images, moved).max())
        largest = max(largest, distance if inside else float("inf"))
        with torch.no_grad():
            logits = asked(moved)
        first = before[clean.indices]
        near += ((lead(logits, first) <= SCORED) & (lead(logits, clean.labels).abs() <= SCORED)).tolist()
        right += (logits.argmax(1) == clean.labels).tolist()
    good = largest <= card.cell.threat.eps + BALL_TOLERANCE
    yield Finding("ball and box", good, f"largest perturbation {largest:.6f}, eps {card.cell.threat.eps:.6f}")
    if draws > 1:
        low, high = card.robust.low, card.robust.high
        rate = sum(right) / len(right)
        # Drawn anew, and by majority: the same within twice the interval, or it is another defense.
        good = 2 * low - high <= rate <= 2 * high - low
        yield Finding("re-score", good, f"{rate:.1%} right when drawn anew, {card.robust.rate:.1%} in the card")
        return
    rows = [place for place, (one, other) in enumerate(zip(right, card.robust.mask(), strict=True)) if one != other]
    answered = (before == data.test.labels.to(device)).tolist() if outcomes is not None else card.robust.mask()
    far = [place for place in rows if not near[place] or answered[place] != card.robust.mask()[place]]
    said = f"{len(rows)} of {len(right)} images are answered differently"
    if rows:
        said += f" (images {', '.join(map(str, rows[:10]))}): {len(far)} by more than rounding can do"
    yield Finding("re-score", not far, said, rounded=bool(rows) and not far)


def lead(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (N,): how far the highest other logit lies above that of each label, relative to the largest logit."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
    return (others - own) / logits.abs().amax(1).clamp_min(1.0)


def margins_of(cell: Cell, options: Options, device: str) -> Margins:
    """Return a function that says how far the defended victim is from answering images otherwise than it does."""
    workbench = Workbench(options, device)

    def of(name: str, rows: Sequence[int]) -> list[float]:
        data, store = workbench.data(cell), workbench.store
        images = next(data.test[list(rows)].batches(len(rows), device)).images
        if name == "robust":
            stored = [store.get(CRAFTED, chunk_key(cell.craft_id, row - row % CHUNK)) for row in rows]
            images = torch.stack(
                [images_of(chunk)[row % CHUNK] for chunk, row in zip(stored, rows, strict=True) if chunk]
            ).to(device)
        labels = data.test.labels[list(rows)].to(device)
        with torch.no_grad():
            logits = workbench.defended(cell).prepared.model(images)
        relative: list[float] = lead(logits, labels).abs().tolist()
        return relative

    return of
