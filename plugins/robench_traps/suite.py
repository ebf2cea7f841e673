"""Run many evaluations in one store, and AutoAttack's warnings once for each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from robench.contracts.task import Progress
from robench_traps.runner import Result, attempt, offered
from robench_traps.subject import key, model_under_attack
from robench_traps.trap import Evaluation

#: Images on which AutoAttack's warnings are looked for.
FLAG_IMAGES = 24


def run_all(
    evaluations: Sequence[Evaluation], store: Path, gate: str, with_flags: bool, progress: Progress
) -> list[Result]:
    """Return what became of each evaluation, in order.

    Args:
        evaluations: traps and controls.
        store: an empty folder; what they share, such as a trained network, is computed once.
        gate: the gate's level; empty is the harness's default.
        with_flags: look for AutoAttack's warnings too.
        progress: one step an evaluation.
    """
    known: dict[str, tuple[str, ...]] = {}
    results = []
    with one_thread():
        for evaluation in progress.track(evaluations, len(evaluations), "traps"):
            result = attempt(evaluation, store, gate)
            if with_flags and result.outcome != "skipped":
                result = dataclasses.replace(result, flags=said(evaluation, store, known))
            results.append(result)
    return results


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread: the order of sums, and so the networks trained on the spot, depend on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def said(evaluation: Evaluation, store: Path, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return AutoAttack's warnings on the evaluation's model; none where its dataset serves no images."""
    from robench_traps.flags import flags

    offers = offered(evaluation)
    same = key(evaluation, offers)
    if same not in known:
        found = model_under_attack(evaluation, offers, store, FLAG_IMAGES)
        known[same] = flags(found.model, found.test, found.task) if found is not None else ()
    return known[same]
