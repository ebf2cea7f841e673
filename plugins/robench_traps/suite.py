"""Run many evaluations in one store, and ask each detector what it would have said of them."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from robench import Detector, Evaluated, seeded_globally
from robench.contracts.task import Progress
from robench.contracts.trap import Evaluation
from robench.errors import require
from robench_traps.runner import Answer, Result, attempt, offered
from robench_traps.subject import evaluated, model_key

#: The most images that a detector is shown.
IMAGES = 100

#: What stands where a tool would have ended with an exception of the model or attack, which no user overlooks.
RAISES = "raises"


def run_all(
    evaluations: Sequence[Evaluation], store: Path, gate: str, detectors: Sequence[Detector], progress: Progress
) -> list[Result]:
    """Return what became of each evaluation, in order.

    Args:
        evaluations: traps and controls.
        store: an empty folder; what they share, such as a trained network, is computed once.
        gate: the gate's level; empty is the harness's default.
        detectors: the tools that are asked, too.
        progress: one step an evaluation; where nobody sees a bar, a line each.
    """
    known: dict[str, Answer] = {}
    results = []
    with one_thread():
        for place, evaluation in enumerate(progress.track(evaluations, len(evaluations), "traps"), 1):
            result = attempt(evaluation, store, gate)
            if result.outcome != "skipped":
                result = dataclasses.replace(result, answers=answers(evaluation, store, detectors, known))
            results.append(result)
            if not result.good or not sys.stderr.isatty():
                progress.note(f"{place} of {len(evaluations)}: {line(result)}")
    return results


def line(result: Result) -> str:
    """Return what became of one evaluation, for whoever waits."""
    said = [f"{name} {answer.outcome(result.trap)}" for name, answer in result.answers.items()]
    seconds = result.seconds + sum(answer.seconds for answer in result.answers.values())
    return f"{result.evaluation.name} {', '.join([result.outcome, *said])} ({seconds:.1f} s)"


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


def answers(
    evaluation: Evaluation, store: Path, detectors: Sequence[Detector], known: dict[str, Answer]
) -> dict[str, Answer]:
    """Return what each detector says of an evaluation, by its name; ``known`` keeps what holds for one model."""
    if not detectors:
        return {}
    offers = offered(evaluation)
    model = model_key(evaluation, offers)
    keys = {detector.name: f"{detector.name} {model}" for detector in detectors if detector.model_only}
    shown = None
    if not all(keys.get(detector.name) in known for detector in detectors):
        shown = evaluated(evaluation, offers, store, IMAGES)
    found = {}
    for detector in detectors:
        key = keys.get(detector.name, "")
        # Where the dataset serves no images there is nothing to warn of.
        answer = known.get(key) or (ask(detector, shown) if shown is not None else Answer(()))
        found[detector.name] = answer
        if key:
            known[key] = dataclasses.replace(answer, seconds=0.0)
    return found


def ask(detector: Detector, shown: Evaluated) -> Answer:
    """Return what one detector says; what it raises counts as the warning that no user overlooks."""
    started = time.perf_counter()
    reason = ""
    try:
        with seeded_globally(0):
            said = detector.warnings(shown)
    except Exception as error:  # whatever a trap's model or attack raises
        said, reason = (RAISES,), f"{type(error).__name__}: {error}"
    return Answer(checked(detector, said), reason, time.perf_counter() - started)


def checked(detector: Detector, said: object) -> tuple[str, ...]:
    """Return the warnings; ContractError for what is no list of words."""
    words = tuple(said) if isinstance(said, tuple | list) else None
    require(
        words is not None and all(isinstance(word, str) and word for word in words),
        f"{detector.name}.warnings must return the names of its warnings, a tuple of texts, not {said!r}.",
    )
    return words or ()
