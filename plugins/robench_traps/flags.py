"""AutoAttack's own five warnings, on the models of the traps: what the best tool there is would have said.

Definitions and thresholds are those of fra31/auto-attack (Croce and Hein 2020, arXiv 2003.01690, and its checks).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from unittest.mock import patch

import torch
from torch import Tensor

from robench import Classifier, Examples, RobenchError, Task, input_gradient
from robench.attacks.apgd import apgd
from robench.attacks.directions import random_direction
from robench.attacks.losses import FEWEST_CLASSES, Loss, dlr
from robench.attacks.square import square

#: Five forwards whose normalised logits differ by more than this are random.
RANDOM_FORWARDS, RANDOM_DIFFERENCE = 5, 1e-4
#: How far outputs may miss [0, 1] and a sum of 1 and still be probabilities.
SOFTMAX_TOLERANCE = 1e-5
#: Robust accuracy that Square may still take after the gradient attacks.
SQUARE_DROP = 0.002
STEPS, QUERIES = 100, 5000

#: What stands in the table where AutoAttack itself would have stopped with an exception, which no user overlooks.
RAISES = "raises"


def flags(model: Classifier, test: Examples, task: Task) -> tuple[str, ...]:
    """Return the names of the warnings that AutoAttack gives on this model and these images.

    Square, by far the dearest, is run where none of the other four has spoken: one warning is a warning.
    """
    images, labels, indices = next(test.batches(len(test)))
    task = task.replace(stop_early=True, indices=indices)
    try:
        if not model(images.clone().requires_grad_(True)).requires_grad:
            return (RAISES,)
        left = first_round(model, images, labels, task)
        found = {
            "randomised": randomised(model, images, labels),
            "softmax output": softmax_output(model, images),
            "zero gradient": zero_gradient(model, images, labels, left, task),
            "dynamic": dynamic(model, images),
        }
        if not any(found.values()):
            found["square"] = square_wins(model, images, labels, left, task) > SQUARE_DROP
    except RobenchError:  # our APGD refuses NaN gradients; the official code goes on without a word
        return ()
    except Exception:  # whatever a trap raises, its user would have seen it
        return (RAISES,)
    return tuple(name for name, raised in found.items() if raised)


@torch.no_grad()
def randomised(model: Classifier, images: Tensor, labels: Tensor) -> bool:
    """Tell whether five forwards differ in the number of right answers or in their normalised logits."""
    answers = [model(images) for _ in range(RANDOM_FORWARDS)]
    right = {int((logits.argmax(1) == labels).sum()) for logits in answers}
    unit = [logits / (logits.norm(dim=1, keepdim=True) + 1e-10) for logits in answers]
    gap = max(float((one - other).norm(dim=1).max()) for one, other in combinations(unit, 2))
    return len(right) > 1 or gap > RANDOM_DIFFERENCE


@torch.no_grad()
def softmax_output(model: Classifier, images: Tensor) -> bool:
    """Tell whether every row lies in [0, 1] and sums to 1."""
    answers = model(images)
    inside = bool((answers < 1 + SOFTMAX_TOLERANCE).all() and (answers > -SOFTMAX_TOLERANCE).all())
    return inside and bool(((answers.sum(1) - 1).abs() < SOFTMAX_TOLERANCE).all())


def first_round(model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
    """Return which images are right and withstand APGD on the cross-entropy, shape (N,): the others see no DLR."""
    with torch.no_grad():
        right = model(images).argmax(1) == labels
    attack = partial(apgd, loss="ce", steps=STEPS)
    left: Tensor = right & ~fooled(attack, model, images, labels, right, task.fork("apgd-ce"))
    return left


def zero_gradient(model: Classifier, images: Tensor, labels: Tensor, left: Tensor, task: Task) -> bool:
    """Tell whether an image that is ``left`` (N,) has an all-zero gradient of the DLR loss at the start of APGD."""
    if model.classes < FEWEST_CLASSES["dlr"] or not bool(left.any()):
        return False
    unit = random_direction(images, task, "start")
    start = task.threat.project(images, images + task.threat.eps * unit)[left]
    _, gradient = input_gradient(lambda x: dlr(model(x), labels[left]), start)
    return bool((gradient.flatten(1).abs().sum(1) == 0).any())


def square_wins(model: Classifier, images: Tensor, labels: Tensor, left: Tensor, task: Task) -> float:
    """Return the share of images that withstand APGD on both losses and fall to Square.

    AutoAttack runs targeted FAB before Square; without it Square has more to win, so the warning comes sooner.
    """
    # Square first: who falls to both does not depend on the order, and targeted APGD then sees few images.
    queries = partial(square, queries=QUERIES)
    fallen = left & fooled(queries, model, images, labels, left, task.fork("square"))
    loss: Loss = "dlr-targeted" if model.classes >= FEWEST_CLASSES["dlr-targeted"] else "margin"
    gradients = partial(apgd, loss=loss, steps=STEPS)
    return float((fallen & ~fooled(gradients, model, images, labels, fallen, task.fork("apgd-t"))).float().mean())


def fooled(
    attack: Callable[..., Tensor], model: Classifier, images: Tensor, labels: Tensor, rows: Tensor, task: Task
) -> Tensor:
    """Return which of the images at ``rows`` (N,) the attack fells, shape (N,)."""
    won = torch.zeros_like(rows)
    if bool(rows.any()):
        moved = attack(model, images[rows], labels[rows], task.keep(rows))
        with torch.no_grad():
            won[rows] = model(moved).argmax(1) != labels[rows]
    return won


def dynamic(model: Classifier, images: Tensor) -> bool:
    """Tell whether a forward calls autograd, as a defense that optimises at test time does.

    The one function is watched through which every backward of torch.autograd goes. A profile function, which sees any
    call, does not end in a process in which torch.export has traced before.
    """
    engine = "_engine_run_backward"
    with patch.object(torch.autograd, engine, wraps=getattr(torch.autograd, engine)) as backward:
        model(images)
    return bool(backward.called)
