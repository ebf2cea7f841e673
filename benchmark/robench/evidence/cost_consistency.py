"""Hold what a card says of cost and training to its own counts; clocks can only be held to the store."""

from __future__ import annotations

from collections.abc import Iterator

from robench.contracts.threat_model import BALL_TOLERANCE, has_ball
from robench.evidence.card import Card, Cost


def cost_problems(card: Card) -> Iterator[str]:
    """Yield which costs contradict each other or the outcomes; old cards are taken as they are."""
    if card.schema_version < 3:
        return
    cell, cost, n = card.cell, card.cost, card.cell.n
    for name, stage in (("fit", cost.fit), ("craft", cost.craft), ("score", cost.score), ("gate", cost.gate)):
        yield from _stage_problems(name, stage)
    whole = cell.surrogate is not None or not has_ball(cell.threat.norm)
    worth = n if whole else card.clean.correct
    if card.adversarial.attacked != worth:
        which = "there are to be crafted for transfer or corrupted" if whole else "were right clean"
        yield f"{card.adversarial.attacked} images were attacked, but {worth} {which}."
    if cost.craft.images != card.adversarial.attacked:
        yield f"crafting counts {cost.craft.images} images, but {card.adversarial.attacked} were attacked."
    passes = n * card.robust.draws
    if cost.score.images != n or (cost.score.forwards != passes if card.robust.draws == 1 else False):
        yield f"scoring counts {cost.score.images} images and {cost.score.forwards} forwards, not {n} and {passes}."
    if card.adversarial.largest > cell.threat.eps + 2 * BALL_TOLERANCE:
        yield f"the largest perturbation is {card.adversarial.largest:.6f}, but eps {cell.threat.eps:.6f}."
    yield from _training_problems(card)
    yield from _share_problems(card)


def _stage_problems(name: str, stage: Cost) -> Iterator[str]:
    passes = stage.forwards + stage.backwards
    if passes and not (stage.seconds > 0 and stage.peak_bytes > 0):
        yield f"{name} made {passes:,} passes in {stage.seconds:g} seconds and {stage.peak_bytes:,} bytes of memory."
    if stage.backwards and not stage.forwards:
        yield f"{name} counts backwards without a forward."


def _training_problems(card: Card) -> Iterator[str]:
    training, fit = card.training, card.cost.fit
    if training.trainable and not (training.names or training.buffers):
        yield f"{training.trainable:,} parameters are trainable in no tensor."
    if training.trainable < len(training.names):
        yield f"{len(training.names)} tensors have only {training.trainable:,} trainable parameters."
    if fit.images and fit.images != card.data.train_n:
        yield f"fitting counts {fit.images} images, but the training split has {card.data.train_n}."
    if fit.backwards and not training.trainable:
        yield f"fitting made {fit.backwards:,} backwards and trained no parameter."


def _share_problems(card: Card) -> Iterator[str]:
    """Yield whether the gate's share of passes follows from the passes that are counted."""
    cost = card.cost
    own = card.cell.n * card.clean.draws + cost.craft.forwards + cost.craft.backwards + cost.score.forwards
    share = (cost.gate.forwards + cost.gate.backwards) / max(own, 1)
    if card.robust.draws == 1 and abs(share - card.gate.share) > 2e-6:
        yield f"the gate's share of passes is {card.gate.share:g}, but its counts make {share:g}."
