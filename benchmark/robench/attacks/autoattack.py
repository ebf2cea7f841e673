"""AutoAttack: four unlike attacks in a row, each on the images that withstood those before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from robench.attacks.apgd import apgd
from robench.attacks.best_so_far import Best
from robench.attacks.fab import fab
from robench.attacks.losses import FEWEST_CLASSES, Loss, margin, ranks_of
from robench.attacks.square import square
from robench.contracts.asked_in_parts import logits_of
from robench.contracts.classifier import Classifier
from robench.contracts.task import Checkpoint, Task
from robench.contracts.threat_model import Norm

Variant = Literal["standard", "rand"]

#: Target classes of the targeted attacks, as far as there are that many wrong ones; in L1 of APGD, and its starts.
TARGETS, L1_TARGETS, L1_RESTARTS = 9, 5, 5


def autoattack(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    task: Task,
    *,
    variant: Variant = "standard",
    steps: int = 100,
    queries: int = 5000,
    draws: int = 20,
) -> Tensor:
    """Return for each image the first error that one of the attacks finds, else its closest miss (N, C, H, W).

    ``standard``: APGD on cross-entropy, APGD on the targeted DLR loss and targeted FAB for each of the
    ``min(9, K - 1)`` likeliest wrong classes, Square. ``rand``, for models that draw random numbers: APGD on
    cross-entropy and on DLR, gradients and verdicts averaged over ``draws`` forwards. Croce and Hein 2020
    (arXiv 2003.01690), with the constants of the official code. In L1 (Croce and Hein 2021, arXiv 2103.01208)
    ``standard`` has APGD begin in larger balls, five times on cross-entropy, and aim at five classes.

    DLR has a third largest logit in its denominator, its targeted form a fourth: with 3 classes the untargeted DLR
    stands in for the targeted, with 2 classes the margin does; so does it in ``rand`` with 2 classes.

    Each attack takes only the images that all before it left standing, whatever ``task.stop_early`` says; that
    decides only when an image leaves an attack. After each attack and target class the state goes to
    ``task.checkpoint``, from which a killed run goes on.

    Cost of an image that is never lost, with T target classes: forwards ``(steps + 1) + T (steps + 2) +
    T (2 steps + 1) + queries`` and one for each of the 2 + 2 T verdicts, backwards ``(1 + 2 T) steps``. In L1, with
    A = min(5, T) classes that APGD aims at: ``5 (steps + 3) + A (steps + 4) + T (2 steps + 1) + queries + 2 + A + T``
    and ``(5 + A + T) steps``.

    Args:
        model: logits out; its parameters receive no gradient.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model, per-image randomness, ``stop_early`` and ``checkpoint``.
        variant: standard or rand.
        steps: iterations of each start of APGD and FAB.
        queries: of Square.
        draws: forwards averaged by ``rand``.
    """
    if task.threat.eps == 0:
        return images.clone()
    best = Best(images)
    first = _restore(task.checkpoint.load(), best)
    for number, stage in enumerate(plan(model.classes, variant, steps, queries, draws, task.threat.norm)):
        left = ~best.fooled
        if number < first or not bool(left.any()):
            continue
        stage_task = task.keep(left).fork("autoattack", stage.name).replace(checkpoint=Checkpoint())
        candidates = stage.attack(model, images[left], labels[left], stage_task)
        logits = _mean_logits(model, candidates, draws if variant == "rand" else 1)
        rows = left.nonzero().flatten()
        best.offer(rows, candidates, logits.argmax(1) != labels[left], margin(logits, labels[left]))
        task.checkpoint.save(
            {"stages": number + 1, "images": best.images, "fooled": best.fooled, "values": best.values}
        )
    return best.images


class Stage(NamedTuple):
    """Hold one of the attacks that are run in a row, with one target class if it has any."""

    name: str
    attack: Callable[..., Tensor]


def plan(classes: int, variant: Variant, steps: int, queries: int, draws: int, norm: Norm = "Linf") -> list[Stage]:
    """Return the attacks on a model of so many ``classes``, in order."""
    untargeted: Loss = "dlr" if classes >= FEWEST_CLASSES["dlr"] else "margin"
    if variant == "rand":
        losses: tuple[Loss, Loss] = ("ce", untargeted)
        climb = partial(apgd, steps=steps, draws=draws, larger_radii=False)
        return [Stage(f"apgd-{loss}", partial(climb, loss=loss)) for loss in losses]
    restarts = L1_RESTARTS if norm == "L1" else 1
    stages = [Stage("apgd-ce", partial(apgd, loss="ce", steps=steps, restarts=restarts))]
    if classes >= FEWEST_CLASSES["dlr-targeted"]:
        targeted = partial(apgd, loss="dlr-targeted", steps=steps)
        aimed_at = ranks_of(L1_TARGETS if norm == "L1" else TARGETS, classes)
        stages += [Stage(f"apgd-t {rank}", partial(targeted, targets=(rank,))) for rank in aimed_at]
    else:
        stages.append(Stage(f"apgd-{untargeted}", partial(apgd, loss=untargeted, steps=steps)))
    ranks = ranks_of(TARGETS, classes)
    stages += [Stage(f"fab-t {rank}", partial(fab, steps=steps, targets=(rank,))) for rank in ranks]
    return [*stages, Stage("square", partial(square, queries=queries))]


def _restore(state: Any, best: Best) -> int:
    """Put what a checkpoint holds into ``best`` and return how many attacks it has behind it."""
    if not isinstance(state, dict):
        return 0
    for name in ("images", "fooled", "values"):
        getattr(best, name).copy_(state[name])
    return int(state["stages"])


def _mean_logits(model: Classifier, images: Tensor, draws: int) -> Tensor:
    return torch.stack([logits_of(model, images) for _ in range(draws)]).mean(0)
