"""Cards of cells as files: no card is taken that leaves its schema or contradicts itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robench.errors import CardError
from robench.evidence.card import SCHEMA_VERSION, Card
from robench.evidence.card_consistency import check_tables
from robench.evidence.card_identity import identity_problems
from robench.evidence.certificate_consistency import certificate_problems
from robench.evidence.cost_consistency import cost_problems
from robench.evidence.gate_consistency import gate_problems
from robench.evidence.record_file import RecordFile
from robench.evidence.statistics import proportion

SCHEMA_FILE = Path(__file__).with_name("card.schema.json")


def _check(card: Card, where: str) -> None:
    _check_counts(card, where)
    check_tables(card, where)
    for problems in (identity_problems, cost_problems, gate_problems, certificate_problems):
        for problem in problems(card):
            raise CardError(f"{where} contradicts itself: {problem}")


def _refuse(raw: Any, where: str) -> None:
    if isinstance(raw, dict) and raw.get("kind") == "training":
        raise CardError(
            f"{where} is the card of a training, not of a cell; robench explain reads it, and the cards of cells are "
            "in the folder cards beside its own."
        )


def _check_counts(card: Card, where: str) -> None:
    for name, outcome in (("clean", card.clean), ("robust", card.robust)):
        try:
            correct = sum(outcome.mask())
        except CardError as error:
            raise CardError(f"{where} contradicts itself: {name}: {error}") from None
        if outcome.n != card.cell.n or correct != outcome.correct:
            raise CardError(
                f"{where} contradicts itself: {name} counts {outcome.correct} of {outcome.n}, its bits do not."
            )
        hits = outcome.hits
        if (hits is None) != (outcome.draws == 1) or (hits is not None and len(hits) != outcome.n):
            raise CardError(f"{where} contradicts itself: {name} has {outcome.draws} draws, but other hits per image.")
        if hits is not None and [2 * hit > outcome.draws for hit in hits] != outcome.mask():
            raise CardError(f"{where} contradicts itself: the {name} bits are not the majority of the draws.")
        if hits is not None and max(hits) > outcome.draws:
            raise CardError(f"{where} contradicts itself: {name} counts more hits than draws.")
        if proportion(outcome.rate * outcome.n, outcome.n) != (outcome.low, outcome.high):
            raise CardError(f"{where} contradicts itself: the {name} interval does not follow from its counts.")


FILE = RecordFile(Card, SCHEMA_FILE, SCHEMA_VERSION, "robench card", "card", "a robench card", _check, _refuse)
schema, encode, decode, read, write = FILE.schema, FILE.encode, FILE.decode, FILE.read, FILE.write
