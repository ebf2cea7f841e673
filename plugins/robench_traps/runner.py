"""Run one evaluation through the whole harness, as any user would, and see what the gate says."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from robench import Card, RobenchError, run
from robench.api import CellsFailed
from robench.contracts.trap import Evaluation, Trap, role_of
from robench.plugin.catalog import Catalog, Offer, catalog
from robench.plugin.discovery import Plugin
from robench_traps.base import Plain

HERE = Plugin("traps", "robench_traps", "", None)

#: What became of a trap: caught by a check that must catch it; stopped, but by other checks; or ranked.
#: Of a control: cleared, or accused.
Outcome = Literal["caught", "elsewhere", "escaped", "cleared", "accused", "skipped"]


@dataclass(frozen=True)
class Answer:
    """Hold what a detector says of one evaluation.

    Attributes:
        warnings: the names of the warnings that it raises.
        reason: the exception with which it ended, if it did.
        seconds: what asking it took; 0 where the same model had been asked about before.
    """

    warnings: tuple[str, ...]
    reason: str = ""
    seconds: float = 0.0

    def outcome(self, trap: bool) -> str:
        """Return ``caught`` or ``missed`` of a trap, ``cleared`` or ``accused`` of a control."""
        if trap:
            return "caught" if self.warnings else "missed"
        return "accused" if self.warnings else "cleared"


@dataclass(frozen=True)
class Result:
    """Hold what became of one evaluation.

    Attributes:
        verdict: the gate's, ``REFUSED`` if no card was made, ``-`` if it was not run.
        caught_by: the checks that did not pass, in the gate's order.
        refusal: the sentence with which it was refused, if it was; for one not run, why.
        answers: what each detector that was asked says of it, by the detector's name.
        seconds: what the gate's part took.
    """

    evaluation: Evaluation
    outcome: Outcome
    verdict: str
    caught_by: tuple[str, ...] = ()
    refusal: str = ""
    answers: Mapping[str, Answer] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Tell whether this is as it should be."""
        return self.outcome in ("caught", "cleared", "skipped")

    @property
    def trap(self) -> bool:
        """Tell whether this is a trap, and not a control."""
        return isinstance(self.evaluation, Trap)


def attempt(evaluation: Evaluation, store: Path, gate: str = "") -> Result:
    """Return what the harness makes of one evaluation.

    Args:
        evaluation: the trap or control.
        store: a folder that the evaluations of one command share.
        gate: the gate's level; empty is the harness's default.
    """
    reason = evaluation.missing()
    if reason:
        return Result(evaluation, "skipped", "-", refusal=reason)
    started = time.perf_counter()
    level: dict[str, Any] = {"gate": gate} if gate else {}
    refusal = ""
    cards: list[Card] = []
    try:
        cards = run(
            known=offered(evaluation), store=store, device="cpu", batch_size=evaluation.batch_size,
            **evaluation.asked(), **level,
        )  # fmt: skip
    except CellsFailed as failed:
        cards, refusal = failed.cards, str(failed.failures[0].error)
    except RobenchError as error:
        refusal = str(error)
    verdict, caught_by = _weigh(claimed(cards, isinstance(evaluation, Trap)), refusal)
    outcome = _outcome(evaluation, verdict, caught_by, refusal)
    return Result(evaluation, outcome, verdict, caught_by, refusal, seconds=time.perf_counter() - started)


def offered(evaluation: Evaluation) -> Catalog:
    """Return a catalog of the built-ins, the plain network and the evaluation's own parts, and of no other plugin's."""
    everything = catalog()
    built_in = {key: offer for key, offer in everything.offers.items() if offer.plugin.name == "builtins"}
    found = Catalog([HERE], built_in)
    for part in (Plain, *evaluation.parts):
        roles = ("victim", "surrogate") if role_of(part) == "victim" else (role_of(part),)
        found.offers.update({(role, part.name): Offer(role, part.name, part, HERE) for role in roles})
    return found


def claimed(cards: Sequence[Card], trap: bool) -> list[Card]:
    """Return the cards that carry the claim: those of the defense, if there is one; of a control, all."""
    defended = [card for card in cards if not card.cell.undefended]
    return defended if trap and defended else list(cards)


def _weigh(cards: Sequence[Card], refusal: str) -> tuple[str, tuple[str, ...]]:
    """Return the worst verdict and the names of the checks that did not pass on any card."""
    verdicts = {card.gate.verdict for card in cards}
    failing = [check.name for card in cards for check in card.gate.checks if check.status not in ("pass", "skipped")]
    caught_by = tuple(dict.fromkeys(failing))
    if refusal or not cards:
        return "REFUSED", caught_by
    return next(verdict for verdict in ("INVALID", "SUSPECT", "VALID") if verdict in verdicts), caught_by


def _outcome(evaluation: Evaluation, verdict: str, caught_by: Sequence[str], refusal: str) -> Outcome:
    if not isinstance(evaluation, Trap):
        return "cleared" if verdict == "VALID" else "accused"
    if verdict == "VALID":
        return "escaped"
    refused = bool(evaluation.refusal) and evaluation.refusal in refusal
    return "caught" if refused or set(caught_by) & set(evaluation.expected) else "elsewhere"
