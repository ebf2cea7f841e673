"""Check a card before it goes into a leaderboard, and put it there under its canonical name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from robench.contracts.task import Progress
from robench.errors import CardError, RobenchError
from robench.evidence import card_file
from robench.evidence.card import Card, ComponentRecord
from robench.evidence.judged_card import judged_with
from robench.plan.cell import Cell
from robench.plan.spec import plan
from robench.plugin.catalog import catalog
from robench.verify.check_card import Subject
from robench.verify.recompute import Finding, claimed, request_of

#: What a card may say of a component that this installation could say differently.
_PARTS = {"code": "source code", "version": "version", "files": "local files", "parameters": "parameters"}


def examine(
    subject: Subject, store: Path, device: str, progress: Progress, beside: Iterable[Card] = ()
) -> Iterator[Finding]:
    """Yield what can be said of a card here, ``beside`` others; a finding that is not good forbids submitting it."""
    card = subject.card
    yield _gate(judged_with(card, beside))
    yield fingerprints(card)
    if subject.bundle is None and not store.is_dir():
        yield Finding("re-score", None, f"there is no store at {store}; the maintainers see the card's numbers only")
        return
    yield from (finding for finding in subject.evidence(store, device, progress) if finding.what != "card")


def fingerprints(card: Card) -> Finding:
    """Say whether the card's id follows from this installation's components; nothing is loaded or run."""
    try:
        # The id depends on the kind of device that the card was made on, not on what is here.
        cells = plan(request_of(card), card.environment.device.partition(" ")[0], catalog())
    except CardError:
        raise
    except RobenchError as error:
        return Finding("id", None, f"it cannot be recomputed here: {error}")
    same = next((cell for cell in cells if cell.score_id == card.id), None)
    if same is not None:
        is_so = claimed(card, same)
        return Finding("id", True, "follows from this installation's components") if is_so.good else is_so
    differences = sorted({difference for cell in cells for difference in _differences(card, cell)})
    if differences:
        parts = {part: ", ".join(whose for other, whose in differences if other == part) for part, _ in differences}
        words = "; ".join(f"the {part} of {whose}" for part, whose in parts.items())
        return Finding("id", None, f"it cannot be recomputed here, where these differ from the card's: {words}")
    return Finding("id", False, "it does not follow from the card's components, which are those of this installation")


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there: cards are put into a leaderboard, which is not made by this."""
    if not folder.is_dir():
        raise CardError(
            f"There is no folder {folder} here; run this in a checkout of the leaderboard's repository, or name its "
            "folder of cards with --to."
        )


def place(cards: Sequence[Card], folder: Path, replace: bool = False) -> list[Path]:
    """Write the cards into ``folder`` and return their paths.

    Raises:
        CardError: the folder is not there, or already has one of these cells and ``replace`` is false.
    """
    check_folder(folder)
    there = _by_id(folder)
    for card in cards:
        for path in there.get(card.id, []) * (not replace):
            raise CardError(
                f"{path} is the same cell already ({_compare(card, card_file.read(path))}); give --replace to put the "
                "new card in its place."
            )
    written = []
    for card in cards:
        path = card_file.write(card, folder)
        for old in there.get(card.id, []):
            if old != path:
                old.unlink()
        written.append(path)
    return written


def _gate(card: Card) -> Finding:
    failed = [check for check in card.gate.checks if check.status in ("suspect", "invalid")]
    if card.gate.verdict != "VALID" or failed:
        why = f": {failed[0].meaning}" if failed else ""
        names = ", ".join(f"'{check.name}'" for check in failed) or "no check that it lists"
        return Finding(
            "gate", False, f"{card.gate.verdict} by {names}{why} Only VALID cards are taken; robench explain says more."
        )
    if not card.gate.checks:
        return Finding("gate", False, "VALID without a single check; only cards that robench run judged are taken.")
    skipped = sum(check.status == "skipped" for check in card.gate.checks)
    return Finding("gate", True, f"VALID by {len(card.gate.checks)} checks, {skipped} of them skipped")


def _differences(card: Card, cell: Cell) -> Iterator[tuple[str, str]]:
    """Yield what differs between a card's component and the one of that name here, and whose it is."""
    pairs = [("dataset", cell.dataset), ("victim", cell.victim), ("defense", cell.defense), ("attack", cell.attack)]
    if card.cell.trained_on is not None and cell.train is not None:
        pairs.append(("trained_on", cell.train))
    for role, chosen in pairs:
        theirs: ComponentRecord = getattr(card.cell, role)
        mine = chosen.record()
        for part, words in _PARTS.items():
            if theirs.name == mine.name and getattr(theirs, part) != getattr(mine, part):
                yield words, f"{role} '{mine.name}'"


def _by_id(folder: Path) -> dict[str, list[Path]]:
    """Return the cards that are there, by id; a file that is no card is the maintainers' concern."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.json")):
        if path.is_symlink() or path.name.startswith("."):
            continue
        try:
            found.setdefault(card_file.read(path).id, []).append(path)
        except CardError:
            continue
    return found


def _compare(card: Card, other: Card) -> str:
    if msgspec.to_builtins(card) == msgspec.to_builtins(other):
        return "the same card"
    if card.robust.bits == other.robust.bits and card.clean.bits == other.clean.bits:
        return f"the same answers, recorded {other.created[:40]}"
    return f"other answers, recorded {other.created[:40]}: {other.robust.correct} of {other.robust.n} under attack"
