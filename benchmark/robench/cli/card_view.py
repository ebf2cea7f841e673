"""A card's verdict in the terminal: what failed first, then what passed, then what was not tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from robench.evidence.card import Card, CertificateRecord, Check, Outcome

#: More checks than the gate has; a stranger's card may list any number.
MOST_ROWS = 200

_ORDER = {"invalid": 0, "suspect": 1, "pass": 2, "skipped": 3}
_STYLE = {"invalid": "bold red", "suspect": "yellow", "pass": "green", "skipped": "dim"}
_MEANS = {
    "VALID": "the number stood up to every check that was made; it may be ranked",
    "SUSPECT": "the number may be right, but could not be confirmed; it is not ranked",
    "INVALID": "the number does not hold up; it is not ranked",
}


def print_verdict(card: Card, console: Console) -> None:
    """Print every check of a card's gate with value, threshold, N and meaning, the failed ones first."""
    from rich.text import Text

    from robench.evidence.plain_text import plain

    cell, gate, spent = card.cell, card.gate, card.cost.gate
    via = "" if cell.surrogate is None else f" via {'self' if cell.surrogate_is_victim else cell.surrogate.label}"
    title = f"{cell.victim.label} / {cell.defense.label} / {cell.attack_label}{via}"
    threat = f"{cell.threat.norm} {cell.threat.counted}, {cell.threat.access}, n = {cell.n}"
    rates = f"clean {_rates(card.clean)}, attacked {_rates(card.robust)}"
    # A card may come from anyone: no control characters reach the terminal.
    console.print(Text(f"{plain(title, 300)}: {threat}, {rates}"))
    for proved in card.certificates:
        console.print(Text(f"certified: {_proved(proved)}"))
    for note in card.model.loading:
        console.print(Text(f"loaded: {plain(note, 300)}"))
    console.print(f"verdict: {gate.verdict}: {_MEANS[gate.verdict]}")
    effort = f"{spent.forwards:,} forwards + {spent.backwards:,} backwards, {gate.share:.2f} of the cell's own"
    console.print(Text(f"gate: {plain(gate.level, 40)}, {effort}\n"))
    checks = sorted(gate.checks, key=lambda check: _ORDER[check.status])
    console.print(_table(checks[:MOST_ROWS]))
    if len(checks) > MOST_ROWS:
        left = Counter(check.status for check in checks[MOST_ROWS:])
        counts = ", ".join(f"{number:,} {status}" for status, number in left.items())
        console.print(f"and {len(checks) - MOST_ROWS:,} more, which are in the card: {counts}")


def verdict_json(card: Card) -> dict[str, Any]:
    """Return a card as one flat record, with its verdict's meaning, what the gate spent, and every check."""
    from robench.api.results import record

    gate, spent = card.gate, card.cost.gate
    return {
        **record(card),
        "means": _MEANS[gate.verdict],
        "loading": list(card.model.loading),
        "certificates": [
            {
                "certificate": proved.certificate.label,
                "certified": proved.certified,
                "n": proved.n,
                "low": proved.low,
                "high": proved.high,
                "error": proved.error,
            }
            for proved in card.certificates
        ],
        "gate": {"forwards": spent.forwards, "backwards": spent.backwards, "share": gate.share},
        "checks": [
            {
                "name": check.name,
                "status": check.status,
                "value": check.value,
                "threshold": check.threshold,
                "n": check.n,
                "meaning": check.meaning,
            }
            for check in sorted(gate.checks, key=lambda check: _ORDER[check.status])
        ],
    }


def _proved(found: CertificateRecord) -> str:
    """Return how many images a certificate certifies, with the interval, and how sure it is of each."""
    from robench.evidence.plain_text import plain

    share = f"{100 * found.certified / found.n:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    sure = f", each wrong with probability {found.error:g} at most" if found.error else ", proved"
    return f"{share} by {plain(found.certificate.label, 100)}{sure}"


def _rates(outcome: Outcome) -> str:
    top5 = "" if outcome.top5 is None else f" (top-5 {100 * outcome.top5 / outcome.n:.1f} %)"
    return f"{100 * outcome.rate:.1f} %{top5}"


def _table(checks: Sequence[Check]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from robench.evidence.plain_text import plain

    table = Table(
        "check", "status", "value", "threshold", "N", "meaning", box=None, header_style="bold", pad_edge=False
    )
    for check in checks:
        value = "" if check.value is None else f"{check.value:.4g}"
        words = [check.name, check.status, value, check.threshold, str(check.n or ""), check.meaning]
        cells = [Text(plain(word, 600)) for word in words]
        cells[1].stylize(_STYLE[check.status])
        table.add_row(*cells)
    return table
