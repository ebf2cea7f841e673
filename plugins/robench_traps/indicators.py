"""The six indicators of attack failure, from what an attack asks of its model (Pintor et al. 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor

from robench import Classifier, Evaluated, ThreatModel, input_gradient

#: Draws around an image, and the side of the cube that they are drawn from (I2).
DRAWS, SIDE = 100, 8 / 255
#: Iterates at the end of a trace, and how much of the whole descent may still happen there (I4).
LAST, CHANGE = 10, 0.05
#: What a loss may change, relative to itself, and stand still: in another batch the same image is rounded otherwise.
ROUNDING = 1e-5
#: Images at once where a trace is scored.
AT_ONCE = 512


class Trace(NamedTuple):
    """Hold one attack on one image.

    Attributes:
        queries: what the model was asked, in order (Q, C, H, W).
        found: what the attack returned (1, C, H, W).
    """

    queries: Tensor
    found: Tensor


def indicators(evaluated: Evaluated, count: int) -> tuple[float, float, float, float, float, float]:
    """Return I1 to I6, each the mean over the first ``count`` images, in [0, 1].

    I1: the loss has no gradient, or an all-zero one. I2: how much the loss changes, relative to itself, within 4/255.
    I3: the attack failed although it had asked about an image that fools the model. I4: the attack failed and its loss
    still fell by more than 5 % in its last ten steps. I5: what was found fools what was attacked otherwise than what is
    scored. I6: the attack fails without bounds, too.
    """
    images, labels, indices = next(evaluated.test[:count].batches(count))
    rows = [(images[row : row + 1], labels[row : row + 1], indices[row]) for row in range(len(images))]
    values = torch.tensor([of_image(evaluated, *row) for row in rows])
    one, two, three, four, five, six = values.mean(0).tolist()
    return one, min(two, 1.0), three, four, five, six


def of_image(evaluated: Evaluated, image: Tensor, label: Tensor, index: int) -> tuple[float, ...]:
    """Return the six values of one image (1, C, H, W) with its label (1,)."""
    trace = traced(evaluated, image, label, index, evaluated.task.threat)
    answers = predicted(evaluated.model, trace.found), predicted(evaluated.target, trace.found)
    failed = bool(answers[1] == label)
    return (
        float(unavailable(evaluated.target, image)),
        unstable(evaluated.target, image, label),
        float(failed and won(evaluated.target, trace.queries, label)),
        float(failed and incomplete(descent(evaluated.target, trace.queries, label))),
        float(bool(answers[0] != answers[1])),
        float(unbounded_fails(evaluated, image, label, index)),
    )


def traced(evaluated: Evaluated, image: Tensor, label: Tensor, index: int, threat: ThreatModel) -> Trace:
    """Run the attack on one image, and note every image that it asks its target about."""
    task = evaluated.task.replace(threat_model=threat, indices=[index], batch_size=1)
    with asked(evaluated.target) as queries:
        found = evaluated.attack.craft(evaluated.target, image.clone(), label, task)
    evaluated.target.zero_grad(set_to_none=True)
    return Trace(torch.cat([*queries, found.detach()]), found.detach())


@contextmanager
def asked(model: Classifier) -> Iterator[list[Tensor]]:
    """Collect the images (N, C, H, W) of every forward of ``model`` inside."""
    found: list[Tensor] = []

    def note(_: Any, given: tuple[Tensor, ...]) -> None:
        found.append(given[0].detach().clone())

    handle = model.register_forward_pre_hook(note)
    try:
        yield found
    finally:
        handle.remove()


def unavailable(model: Classifier, image: Tensor) -> bool:
    """Tell whether the loss of what is answered cannot be differentiated, or has no gradient but zero (I1)."""
    answer = predicted(model, image)
    try:
        _, gradient = input_gradient(lambda x: F.cross_entropy(model(x), answer, reduction="none"), image)
    except Exception:  # whatever keeps the gradient away
        return True
    return not bool(gradient.abs().sum())


def unstable(model: Classifier, image: Tensor, label: Tensor) -> float:
    """Return the mean of |L(x) - L(x + u)| / |L(x)| over draws u around the image (I2); L(x) = 0 divides by 1."""
    noise = (torch.rand(DRAWS, *image.shape[1:]) - 0.5) * SIDE
    here = float(losses(model, image, label))
    change = (losses(model, image + noise, label) - here).abs().mean()
    return float(change) / (abs(here) or 1.0)


def won(model: Classifier, queries: Tensor, label: Tensor) -> bool:
    """Tell whether an image before the last of ``queries`` fools the model (I3)."""
    return any(bool((predicted(model, part) != label).any()) for part in queries[:-1].split(AT_ONCE))


def descent(model: Classifier, queries: Tensor, label: Tensor) -> Tensor:
    """Return the attacker's loss, minus the cross-entropy, of each query, shape (Q,)."""
    return -torch.cat([losses(model, part, label) for part in queries.split(AT_ONCE)])


def incomplete(path: Tensor) -> bool:
    """Tell whether the running minimum of a loss path (Q,), scaled to [0, 1], fell by over 5 % at its end (I4)."""
    low, high = path.min(), path.max()
    moved = high - low > ROUNDING * path.abs().max()
    scaled = (path - low) / (high - low) if moved else torch.zeros_like(path)
    end = scaled.cummin(0).values[-LAST:]
    return bool(end.max() - end.min() > CHANGE)


def unbounded_fails(evaluated: Evaluated, image: Tensor, label: Tensor, index: int) -> bool:
    """Tell whether the attack fails on an image that is right where only the box [0, 1] bounds it (I6)."""
    if bool(predicted(evaluated.target, image) != label):
        return False
    trace = traced(evaluated, image, label, index, whole_box(evaluated.task.threat, image))
    stands = bool(predicted(evaluated.target, trace.found.clamp(0, 1)) == label)
    return stands and not won(evaluated.target, trace.queries.clamp(0, 1), label)


def whole_box(threat: ThreatModel, image: Tensor) -> ThreatModel:
    """Return the threat model whose ball holds the box around any image: the length of its diagonal in the norm."""
    black = torch.zeros_like(image)
    return ThreatModel(threat.norm, float(threat.distance(black, black + 1)))


@torch.no_grad()
def predicted(model: Classifier, images: Tensor) -> Tensor:
    """Return the class that each image is given, shape (N,)."""
    classes: Tensor = model(images).argmax(1)
    return classes


@torch.no_grad()
def losses(model: Classifier, images: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy of each image (N, C, H, W) with the one label (1,), shape (N,)."""
    return F.cross_entropy(model(images), label.expand(len(images)), reduction="none")
