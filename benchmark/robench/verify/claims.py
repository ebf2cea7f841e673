"""Hold a card's statements on its cell to the installed components; nothing is loaded or run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from robench.contracts.components import Attack, Defense
from robench.evidence.card import Card, ComponentRecord
from robench.plan.cell import Cell, type_of
from robench.plan.place_labels import Places

#: What a card says of a component, in words.
PARTS = {
    "name": "name",
    "version": "version",
    "parameters": "parameters",
    "changed": "changed parameters",
    "code": "source code",
    "files": "local files",
}


def false_claims(card: Card, cell: Cell) -> Iterator[str]:
    """Yield what a card states otherwise than the cell that has its id."""
    stated = card.cell
    roles: dict[str, tuple[ComponentRecord | None, ComponentRecord | None]] = {
        "dataset": (stated.dataset, cell.dataset.record()),
        "victim": (stated.victim, cell.victim.record()),
        "defense": (stated.defense, cell.defense.record()),
        "attack": (stated.attack, cell.attack.record()),
        "surrogate": (stated.surrogate, cell.surrogate.record() if cell.surrogate is not None else None),
        "training dataset": (stated.trained_on, cell.train.record() if cell.train is not None else None),
    }
    for role, (said, is_so) in roles.items():
        if said is None or is_so is None:
            if said is not is_so:
                yield f"a {role} is named, where the cell has none" if said else f"the cell's {role} is not named"
            continue
        for part, words in PARTS.items():
            claimed, holds = getattr(said, part), getattr(is_so, part)
            if part == "parameters":
                # A card may be older than a parameter that is at what was the case before, and enters no id.
                holds = {name: value for name, value in holds.items() if name in claimed or name not in is_so.left_out}
            if claimed != holds:
                yield f"the {words} of the {role} ({_short(claimed)}, not {_short(holds)})"
                break
    attack, defense = type_of(cell.attack, Attack), type_of(cell.defense, Defense)
    facts = {
        "access": (stated.threat.access, cell.threat.access),
        "norm": (stated.threat.norm, cell.threat.norm),
        "eps": (stated.threat.eps, cell.threat.eps),
        "seed": (stated.seed, cell.seed),
        "undefended": (stated.undefended, cell.undefended),
        "iterative": (stated.iterative, bool(attack.iterative)),
        "surrogate is the victim": (stated.surrogate_is_victim, cell.by_self),
        "weakness": (stated.weakness, cell.weakness),
        "precision": (stated.precision, cell.precision),
        "gradient": (card.training.gradient, defense.gradient),
        "randomized": (card.training.randomized, defense.randomized),
        "draws": (card.robust.draws, defense.draws if defense.randomized else 1),
        "recipe": (dict(card.training.recipe), Places(cell.components).recipe(defense.recipe(), cell.defense)),
    }
    for what, (claimed, holds) in facts.items():
        if claimed != holds:
            yield f"{what} is {_short(claimed)}, not {_short(holds)}"


def _short(value: Any) -> str:
    return str(value)[:80] or "none"
