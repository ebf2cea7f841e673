"""Check one card, from a file of its own or from a bundle, in whatever way is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from robench.contracts.task import Progress
from robench.evidence import card_file
from robench.evidence.card import Card
from robench.evidence.judged_card import card_files
from robench.evidence.store import default_root
from robench.verify.bundle import read_card, verify_bundle
from robench.verify.bundle_file import Bundle, is_bundle
from robench.verify.recompute import rerun as run_again
from robench.verify.recompute import verify
from robench.verify.repetition import Finding


@dataclass(frozen=True)
class Subject:
    """Be a card to check: a file of its own, or one in a bundle."""

    path: Path

    @cached_property
    def bundle(self) -> Bundle | None:
        """Return the bundle, if the file is one."""
        return Bundle(self.path) if is_bundle(self.path) else None

    @cached_property
    def card(self) -> Card:
        """Return the card; CardError if it contradicts itself."""
        return card_file.read(self.path) if self.bundle is None else read_card(self.bundle)

    def evidence(self, store: Path, device: str, progress: Progress, *, trust: bool = False) -> Iterator[Finding]:
        """Yield what the evidence says: that in the bundle, or that in the store."""
        if self.bundle is not None:
            yield from verify_bundle(self.card, self.bundle)
        else:
            yield from verify(self.card, store, device, progress, trust=trust)


@dataclass
class Checked:
    """Hold what was found, and the card of the same cell where it was computed again."""

    findings: list[Finding] = field(default_factory=list)
    again: Card | None = None


def check_card(
    subject: Subject,
    store: Path | None,
    device: str,
    progress: Progress,
    *,
    rerun: bool = False,
    trust: bool = False,
    say: Callable[[Finding], None] = lambda finding: None,
) -> Checked:
    """Return what is found, told to ``say`` as it is found."""
    done = Checked()

    def computed(card: Card) -> None:
        done.again = card

    findings = (
        run_again(subject.card, device, progress, trust=trust, on_again=computed)
        if rerun
        else subject.evidence(store or default_root(), device, progress, trust=trust)
    )
    for finding in findings:
        done.findings.append(finding)
        say(finding)
    return done


def draw(places: Sequence[Path], sample: int | None, seed: str) -> list[Path]:
    """Return the files of cards, folders listed; ``sample`` of them, the same for the same seed and cards."""
    found = card_files(places)
    if sample is None or sample >= len(found):
        return found
    return sorted(random.Random(seed).sample(sorted(found), sample))
