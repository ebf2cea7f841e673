"""Put a stored fit back into the structure that ``wrap`` builds anew, and see that it is the same structure.

What is stored is compared exactly. What is computed, on whatever processor, is compared as computed values are: within
rounding. So a fit travels between machines, and a ``wrap`` that draws from the global generator is still found out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robench.contracts.classifier import Classifier
from robench.contracts.components import Defense
from robench.errors import require
from robench.evidence.artifact_folder import Artifact
from robench.evidence.tensor_digests import derived, digest_of_digests
from robench.evidence.victim_digests import digests_of

#: What rounding may change in a computed tensor, relative to its largest value.
ROUNDING = 1e-3


def tensors_of(model: Classifier) -> dict[str, Tensor]:
    """Return a model's parameters and buffers by name, buffers that no state dict holds included."""
    return dict([*model.named_parameters(), *model.named_buffers()])


def built_by_wrap(victim: Mapping[str, str], wrapped: Mapping[str, str], others: set[str]) -> set[str]:
    """Return the names of tensors that are not the victim's, by the digests of both; ``others`` apart."""
    own = {*victim.values()}
    return {name for name, digest in wrapped.items() if digest not in own} - others


def sketch(tensor: Tensor) -> list[float]:
    """Return three numbers that tell a tensor from another one, and not from the same one rounded otherwise."""
    flat = tensor.detach().cpu().double().flatten().nan_to_num(0.0, 1.0, -1.0)
    if not len(flat):
        return [0.0, 0.0, 0.0]
    ramp = torch.cos(torch.arange(len(flat), dtype=torch.float64))
    return [float(flat.abs().mean()), float(flat.mean()), float((flat * ramp).mean())]


def restore(
    defense: Defense, victim: Classifier, defended: Classifier, artifact: Artifact, *, elsewhere: bool = False
) -> None:
    """Load a stored fit's tensors into ``defended``, which ``wrap`` has just built on ``victim``.

    With ``elsewhere`` the victim is the one that was fitted but for its head, which is that of another dataset.

    Raises:
        ContractError: the structure is another, or ``wrap`` gave other values than when the fit was stored.
    """
    state, meta, stored = tensors_of(defended), artifact.meta, artifact.tensors()
    for name, tensor in stored.items():
        fits = name in state and state[name].shape == tensor.shape
        require(
            fits or not elsewhere,
            f"{defense.name} cannot be judged on another dataset than it was fitted on: its tensor {name} is made for "
            "the classes or the image size of that one.",
        )
        require(
            fits,
            f"{defense.name}.wrap no longer builds the tensor {name} that its stored fit has; raise its version.",
        )
    same = all(_near(state[name], stored[name]) for name in meta["made"])
    if not elsewhere:  # the text features of other classes are others
        same = same and all(
            name in state and _alike(sketch(state[name]), seen) for name, seen in meta["derived"].items()
        )
    for name, tensor in stored.items():
        with torch.no_grad():
            state[name].copy_(tensor)
    known = digests_of(victim)
    left_out = derived(defended) - {*stored}
    if same and digest_of_digests(known.of(defended, victim), left_out) == meta["defended"]:
        return
    require(
        known.victim == meta["victim"],
        f"The victim that {defense.name} was fitted on has other weights now, although its files are the same: it "
        "computes some when it is loaded. Register them with register_buffer(..., persistent=False).",
    )
    require(
        False,
        f"{defense.name}.wrap gave other values than when it was fitted; draw initial values from "
        "task.generator(...), never from the global generator.",
    )


def _near(found: Tensor, stored: Tensor) -> bool:
    if not found.is_floating_point():
        return torch.equal(found.detach().cpu(), stored)
    gap = (found.detach().cpu().double() - stored.double()).abs()
    return bool((gap <= ROUNDING * stored.double().abs().max()).all()) if gap.numel() else True


def _alike(found: list[float], stored: list[float]) -> bool:
    return all(abs(one - other) <= ROUNDING * stored[0] for one, other in zip(found, stored, strict=True))
