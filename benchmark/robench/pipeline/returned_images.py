"""What an attack really did, by the tensors that it returned: shape, finiteness, box and ball."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robench.contracts.components import Attack
from robench.contracts.task import Task
from robench.contracts.threat_model import BALL_TOLERANCE
from robench.errors import require


def inspect(attack: Attack, images: Tensor, adversarial: Any, task: Task, found: dict[str, Any]) -> Tensor:
    """Return the adversarial images, projected where they left the ball or the box, counting what was wrong.

    Raises:
        ContractError: not a float32 tensor of the images' shape, or not finite.
    """
    check_returned(attack, images, adversarial)
    moved: Tensor = adversarial.detach().to(images.device)
    pixels = moved.flatten(1)
    lowest, highest = pixels.amin(1), pixels.amax(1)  # NaN if one of them is; a tenth of what aminmax costs a CPU
    distance = task.threat.distance(images, moved)
    # Written so that NaN counts as outside.
    out_of_ball = ~(distance <= task.threat.eps + BALL_TOLERANCE)
    out_of_box = ~((lowest >= 0) & (highest <= 1))
    bad = ~(torch.isfinite(lowest) & torch.isfinite(highest))
    counts = [mask.sum().float() for mask in (bad, out_of_ball, out_of_box, out_of_ball | out_of_box, distance == 0)]
    # Together, because a GPU is waited for at each copy.
    facts = torch.stack([*counts, (distance - task.threat.eps).max(), distance.max()]).tolist()
    broken, over_ball, over_box, wrong, unmoved = map(int, facts[:5])
    excess, largest = facts[5:]
    require(
        not broken,
        f"{attack.name} returned NaN or infinite pixels in {broken} of {len(images)} images; guard its "
        "divisions, for example against an all-zero gradient.",
    )
    if wrong:
        rows = out_of_ball | out_of_box
        moved = moved.clone()
        moved[rows] = task.threat.project(images[rows], moved[rows])
        largest = float(task.threat.distance(images, moved).max())
    found["outside_ball"] += over_ball
    found["outside_box"] += over_box
    found["unmoved"] += unmoved
    found["excess"] = max(found["excess"], excess, 0.0)
    found["largest"] = max(found["largest"], largest)
    return moved


def check_returned(attack: Attack, images: Tensor, adversarial: Any) -> None:
    """Raise ContractError unless what an attack returned is a float32 tensor of the images' shape."""
    require(
        isinstance(adversarial, Tensor),
        f"{attack.name} must return a tensor, not {type(adversarial).__name__}.",
    )
    require(
        adversarial.shape == images.shape and adversarial.dtype == torch.float32,
        f"{attack.name} must return float32 images of shape {tuple(images.shape)}, not {adversarial.dtype} "
        f"{tuple(adversarial.shape)}.",
    )


def inside(images: Tensor, moved: Tensor, task: Task) -> bool:
    """Tell whether images are finite, in the box and in the ball, as those are that :func:`inspect` returned."""
    finite = bool(torch.isfinite(moved).all())
    # Clean images that were not worth attacking are among them, at no distance.
    return (
        finite
        and bool(((moved >= 0) & (moved <= 1)).all())
        and bool((task.threat.distance(images, moved) <= task.threat.eps + BALL_TOLERANCE).all())
    )
