"""The lower end of a row's bracket: the images of which a certificate says that they stand."""

from __future__ import annotations

from collections.abc import Sequence

from robench.evidence.card import Card, CertificateRecord
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.attack_outcome import Score


def certificates_of(cards: Sequence[Card]) -> tuple[CertificateRecord, ...]:
    """Return the certificates that cards of one row state, each once, those that certify most first."""
    found = {record.artifact: record for card in cards for record in card.certificates}
    return tuple(sorted(found.values(), key=lambda record: (-record.certified, record.certificate.label)))


def certified_mask(records: Sequence[CertificateRecord]) -> tuple[bool, ...] | None:
    """Return, per image, whether any of these certificates says that it stands; None without a certificate."""
    if not records:
        return None
    return tuple(any(flags) for flags in zip(*(record.mask() for record in records), strict=True))


def described(record: CertificateRecord) -> str:
    """Return a certificate in one phrase, such as ``crown, 51 of 60, proved``."""
    how = f"each wrong with probability {record.error:g} at most" if record.error else "proved"
    return f"{plain(record.certificate.label, 80)}, {record.certified:,} of {record.n:,}, {how}"


def score_of(mask: Sequence[bool] | None) -> Score | None:
    """Return how many images are certified; None without a certificate."""
    return None if mask is None else Score(sum(mask), len(mask))
