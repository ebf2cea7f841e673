"""What ``make bench-gpu`` finds to gain in the search itself: fewer bits, and batches that are refilled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

import torch

from robench import ThreatModel, logits_of
from robench.contracts.asked_in_parts import asked_at_once
from robench.contracts.search_precision import EXACT, Precision
from robench.pipeline.joint_chunks import HELD
from robench.runtime.rounded_search import lacking, searching_in
from robench_builtins.attacks.pgd import PGD

from .gpu_clock import Row, seconds
from .gpu_victims import Sizes, Victim, victim

#: Radii between which one is looked for at which a share of the images stands, how often, and on how many images.
LEAST, MOST, HALVINGS, TRIED = 0.01 / 255, 16 / 255, 8, 128
#: Shares of images that stand: as behind a defense, and as without one.
HALF, FEW = 0.5, 0.02


def precision(device: str, sizes: Sizes) -> Iterator[Row]:
    """Time PGD in float32, TF32 and bf16, and count the images on which float32 decides otherwise."""
    steps = sizes.steps[0]
    for name, count, batch in (("ResNet-20", HELD * sizes.resnet_batch, sizes.resnet_batch), *sizes.clip[:1]):
        found = victim(name, count, batch, device)
        attack = PGD(steps=steps)
        task = found.task(device).replace(threat_model=radius(found, attack, HALF, device))
        exact, least = torch.empty(0), 0.0
        for kind in get_args(Precision):
            what = f"{name}, PGD-{steps} in {kind}"
            if said := lacking(kind, device):
                yield what, "not on this card", said
                continue
            with searching_in(kind, found.model, device):
                spent, moved = timed(lambda: _by_batch(found, attack, task), device, sizes.rounds)  # noqa: B023 - at once
            stand = standing(found, moved)
            if kind == EXACT:
                exact, least = stand, spent
                yield what, f"{spent:.3f} s, {_share(stand)} stand", f"{count:,} images, batch {batch}, all steps taken"
            else:
                says = f"{spent / least:.2f} of float32's time, {_differ(stand, exact)}"
                yield what, says, "the model in the search alone; float32 decides who stands"


def refill(device: str, sizes: Sizes) -> Iterator[Row]:
    """Time PGD that lets fallen images go, handed a batch at a time, and several batches' worth that fill batches."""
    steps, batch = sizes.steps[-1], sizes.resnet_batch
    found = victim("ResNet-20", HELD * batch, batch, device)
    attack = PGD(steps=steps)
    for share in (HALF, FEW):
        threat = radius(found, attack, share, device)
        task = found.task(device).replace(threat_model=threat, stop_early=True)

        def refilled(task=task):
            with asked_at_once(batch):
                return attack.craft(found.model, found.images, found.labels, task)

        hands = {"alone": lambda task=task: _by_batch(found, attack, task), "refilled": refilled}
        times, calls, stands = {}, {}, {}
        for hand, work in hands.items():
            calls[hand] = _calls(found, work)
            times[hand], moved = timed(work, device, sizes.rounds)
            stands[hand] = standing(found, moved)
        ratio = f"{times['refilled'] / times['alone']:.2f} of the time of batch by batch"
        asked = f"{calls['refilled']:,} calls of the model instead of {calls['alone']:,}"
        says = f"{ratio}, {asked}, {_differ(stands['refilled'], stands['alone'])}"
        how = f"{HELD * batch:,} images, {HELD} batches of {batch:,} at once, early exit"
        yield f"ResNet-20, PGD-{steps}, batches refilled, {_share(stands['alone'])} stand", says, how


def radius(found: Victim, attack: PGD, share: float, device: str) -> ThreatModel:
    """Return the Linf ball in which about this share of the images stands, by bisection on some of them."""
    images, labels = found.images[:TRIED], found.labels[:TRIED]
    low, high = LEAST, MOST
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        task = found.task(device).replace(threat_model=ThreatModel("Linf", middle), stop_early=True)
        with asked_at_once(found.batch):
            moved = attack.craft(found.model, images, labels, task)
            stand = float((logits_of(found.model, moved).argmax(1) == labels).float().mean())
        low, high = (middle, high) if stand > share else (low, middle)
    return ThreatModel("Linf", high)


def timed(work: Callable[[], torch.Tensor], device: str, rounds: int) -> tuple[float, torch.Tensor]:
    """Return the median time of ``work`` and what it gave last."""
    given: list[torch.Tensor] = []

    def keep() -> None:
        given[:] = [work()]

    return seconds(keep, device, rounds), given[0]


def standing(found: Victim, moved: torch.Tensor) -> torch.Tensor:
    """Return which images float32 still gets right, (N,)."""
    with asked_at_once(found.batch):
        return logits_of(found.model, moved).argmax(1) == found.labels


def _by_batch(found: Victim, attack: PGD, task) -> torch.Tensor:
    rows = torch.arange(len(found.images)).split(found.batch)
    return torch.cat(
        [
            attack.craft(found.model, images, labels, task.replace(indices=places.tolist()))
            for (images, labels), places in zip(found.batches(), rows, strict=True)
        ]
    )


def _calls(found: Victim, work: Callable[[], object]) -> int:
    """Return how often the model is asked."""
    asked: list[int] = []
    handle = found.model.register_forward_pre_hook(lambda _model, given: asked.append(len(given[0])))
    work()
    handle.remove()
    return len(asked)


def _share(stand: torch.Tensor) -> str:
    return f"{float(stand.float().mean()):.0%}"


def _differ(stand: torch.Tensor, other: torch.Tensor) -> str:
    return f"{int((stand != other).sum()):,} of {len(stand):,} verdicts differ"
