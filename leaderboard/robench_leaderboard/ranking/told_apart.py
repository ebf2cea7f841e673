"""Names of cards in one picture or list: what all of them share is said once, what differs tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from robench.contracts.search_precision import searched_in
from robench.evidence.card import Card, CellRecord
from robench_leaderboard.ranking.short_names import Shortened

#: What stands between slashes in a name; all else follows after commas.
SUBJECT = ("victim", "defense", "attack")


def told_apart(cards: Sequence[Card]) -> tuple[list[str], str]:
    """Return a name for each of some cards, no two alike, and what all of them share; eps is in neither.

    A single card is named by victim, defense and attack. Of several, a name has only what is not alike in all, such as
    ``none / pgd`` or ``seed 1``. Long labels lose the parameters that all have, which are said among what is shared.
    Cards that differ in nothing of this are told apart by the start of their ids.
    """
    labels = {role: [getattr(card.cell, role).label for card in cards] for role in SUBJECT}
    whole = [_facts(card, [labels[role][place] for role in SUBJECT]) for place, card in enumerate(cards)]
    shared = [key for key in whole[0] if len({facts[key] for facts in whole}) == 1]
    if len(cards) == 1:
        shared = [key for key in shared if key not in SUBJECT]
    short = {role: Shortened(getattr(card.cell, role) for card in cards) for role in SUBJECT}
    names = []
    for card in cards:
        facts = _facts(card, [short[role].of(getattr(card.cell, role)) for role in SUBJECT])
        names.append(_written({key: text for key, text in facts.items() if key not in shared}))
    times = Counter(names)
    names = [
        name if times[name] == 1 else f"{name} (card {card.id[:8]})".lstrip()
        for name, card in zip(names, cards, strict=True)
    ]
    left_out = [phrase for role in SUBJECT if role not in shared for phrase in short[role].left_out]
    return names, "; ".join([_written({key: whole[0][key] for key in shared}), *left_out])


def _facts(card: Card, labels: Sequence[str]) -> dict[str, str]:
    """Return what tells one card from another, eps aside, in the order in which it is said."""
    cell = card.cell
    victim, defense, attack = labels
    return {
        "victim": victim,
        "defense": f"{defense} trained on {cell.trained_on.label}" if cell.trained_on else defense,
        "attack": attack + searched_in(cell.precision) + _via(cell),
        "dataset": cell.dataset.label,
        "norm": cell.threat.norm,
        "n": f"n = {cell.n:,}",
        "seed": f"seed {cell.seed}",
        "protocol": f"protocol {cell.protocol}" if cell.protocol else "",
    }


def _via(cell: CellRecord) -> str:
    if cell.surrogate is None:
        return ""
    return f" via {'self' if cell.surrogate_is_victim else cell.surrogate.label}"


def _written(facts: dict[str, str]) -> str:
    subject = " / ".join(facts[role] for role in SUBJECT if role in facts)
    return ", ".join(filter(None, (subject, *(text for key, text in facts.items() if key not in SUBJECT))))
