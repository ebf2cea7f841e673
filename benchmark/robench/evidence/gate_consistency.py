"""Weigh a card's checks again from the figures that it holds, and hold those to what else the card states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from robench.evidence.card import Card, Check, Verdict
from robench.evidence.check_rules import RULES
from robench.evidence.check_verdict import weigh
from robench.evidence.cross_cell_checks import FALLS, fell
from robench.evidence.fingerprint import STAGES

#: The first version of the rules whose cards hold figures.
FIRST = 5


def verdict_of(checks: Iterable[Check]) -> Verdict:
    """Return the verdict that checks come to: the worst of them."""
    statuses = {one.status for one in checks}
    return "INVALID" if "invalid" in statuses else "SUSPECT" if "suspect" in statuses else "VALID"


def gate_problems(card: Card) -> Iterator[str]:
    """Yield what of a card's verdict does not follow from its figures; cards of schema 1 and 2 hold none."""
    if card.schema_version < 3:
        yield from _old_problems(card)
        return
    judged = card.cell.stages.get("judge", 0)
    if not FIRST <= judged <= STAGES["judge"]:
        yield (
            f"it says that version {judged} of the gate judged it; this release knows {FIRST} to {STAGES['judge']}, of "
            "which each card holds the figures."
        )
        return
    names = [one.name for one in card.gate.checks]
    if names != list(RULES):
        missing = [name for name in RULES if name not in names]
        yield (
            f"its gate lacks the check '{missing[0]}'."
            if missing
            else "its gate lists other checks than the gate makes, or one twice."
        )
        return
    facts = facts_of(card)
    for one in card.gate.checks:
        yield from _check_problems(one, {**facts, **_own_facts(one.name, card)})
    if (made := verdict_of(card.gate.checks)) != card.gate.verdict:
        yield f"its verdict is {card.gate.verdict}, but its checks come to {made}."


def _check_problems(one: Check, facts: Mapping[str, float]) -> Iterator[str]:
    wrong = next((name for name, value in one.figures.items() if name in facts and facts[name] != value), None)
    if wrong is not None:
        yield f"the check '{one.name}' weighs {wrong} = {one.figures[wrong]:g}, but the card has {facts[wrong]:g}."
        return
    try:
        found = weigh(one.name, one.figures)
    except (KeyError, ZeroDivisionError, ValueError, OverflowError):
        yield f"the check '{one.name}' lacks figures that it weighs."
        return
    value = None if found.value is None else round(float(found.value), 9)
    stated = {
        "status": (one.status, found.status),
        "value": (one.value, value),
        "threshold": (one.threshold, found.threshold),
        "n": (one.n, found.n),
    }
    for what, (said, follows) in stated.items():
        if said != follows:
            yield f"the {what} of the check '{one.name}' is {said}, but its figures come to {follows}."
            return


def facts_of(card: Card) -> dict[str, float]:
    """Return, by name, the figures that a card states elsewhere too; a check that weighs one must have the same."""
    cell, craft = card.cell, card.cost.craft
    support = [int(row[3]) for row in card.clean.per_class]
    shares = {} if card.robust.draws > 1 else {"gained": _gained(card)}
    return {
        **shares,
        "of": cell.n,
        "eps": round(cell.threat.eps, 9),
        "transfer": cell.surrogate is not None,
        "iterative": cell.iterative,
        "randomized": card.training.randomized,
        "gradientless": card.training.gradient == "none",
        "draws": card.robust.draws,
        "chance": card.robust.draws > 1,
        "classes": len(card.data.classes),
        "attacked": card.adversarial.attacked,
        "passes": craft.forwards + craft.backwards,
        "right": card.clean.correct,
        "most": max(support, default=0),
        "present": sum(count > 0 for count in support),
        "withstood": card.robust.correct,
    }


def _own_facts(name: str, card: Card) -> dict[str, float]:
    """Return the figures that only the check of this name weighs, and the card states elsewhere too."""
    training, cell = card.training, card.cell
    if name == "box and ball":
        return {"count": card.adversarial.outside_ball + card.adversarial.outside_box, "n": cell.n}
    if name == "trained parameters":
        return {"count": len(training.without_gradient) + len(training.undeclared)}
    if name == "reference clean accuracy" and card.model.reference is not None:
        own = {"undefended_right": card.clean.correct, "images": cell.n} if cell.undefended else {}
        return {"stated": round(card.model.reference, 9), **own}
    if name == FALLS and cell.undefended and cell.surrogate is None:
        return {"undefended_robust": card.robust.correct, "images": cell.n, "works": _falls(card)}
    return {}


def _gained(card: Card) -> int:
    return sum(now and not before for before, now in zip(card.clean.mask(), card.robust.mask(), strict=True))


def _falls(card: Card) -> bool:
    lost = sum(before and not now for before, now in zip(card.clean.mask(), card.robust.mask(), strict=True))
    return fell(lost, _gained(card))


def _old_problems(card: Card) -> Iterator[str]:
    """Yield what contradicts itself in a card whose checks hold no figures: what can be told from a value alone."""
    for one in card.gate.checks:
        if one.status == "pass" and one.threshold.startswith("= 0 ") and one.value and "standing" not in one.threshold:
            yield f"the check '{one.name}' passed with {one.value:g}, required {one.threshold}."
