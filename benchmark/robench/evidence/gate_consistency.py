"""Weigh a card's checks again from the figures that it holds, and hold those to what else the card states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from robench.evidence.card import Card, Check, Verdict
from robench.evidence.check_rules import BLINDLY, CHECKS, LEAKED, LOST, OF_CORRUPTIONS, RELABELLED, SHARES, ZERO, weigh
from robench.evidence.check_verdict import exceeds
from robench.evidence.compound_rules import CONVERGED, FALLS, RULES
from robench.evidence.fingerprint import STAGES
from robench.evidence.statistics import wilson

#: The first version of the gate whose cards hold figures, and the first whose cards hold them for rules of several
#: counts too.
FIRST, COMPOUND = 6, 7
#: The first version of its probes that look at corruptions.
CORRUPTED = 6
REFERENCE = "reference clean accuracy"
#: Checks of a defense that answers by chance, which then weigh more than counts.
OF_CHANCE = ("deterministic", "re-score from disk", "clean answers again", "robust <= clean")


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
    corrupted = (
        card.cell.threat.norm == "corruption"
        and card.cell.threat.eps > 0
        and card.cell.stages.get("probe", 0) >= CORRUPTED
    )
    missing = [name for name in (*CHECKS, *(OF_CORRUPTIONS if corrupted else ())) if name not in names]
    if missing:
        yield f"its gate lacks the check '{missing[0]}'."
        return
    if len(names) != len(set(names)):
        yield "its gate lists a check twice."
    facts, values = facts_of(card), _values(card)
    for one in card.gate.checks:
        own = {"standing": card.robust.correct} if one.name in ("more steps", CONVERGED) else {}
        yield from _figure_problems(one, {**facts, **own}, _exempt(one, card))
        yield from _value_problems(one, values, card)
    if (made := verdict_of(card.gate.checks)) != card.gate.verdict:
        yield f"its verdict is {card.gate.verdict}, but its checks come to {made}."


def _exempt(one: Check, card: Card) -> bool:
    """Tell whether a check weighs more than counts, or was not made."""
    if one.status == "skipped" and one.value is None:
        return True
    if one.name in RULES and card.cell.stages["judge"] < COMPOUND:
        return True
    if one.name == FALLS and one.status == "suspect" and one.value is None:
        return True  # nobody attacked the undefended victim so
    drawn = card.training.randomized and one.name in OF_CHANCE
    return drawn or (card.training.gradient == "none" and one.name == "gradients present")


def _figure_problems(one: Check, facts: Mapping[str, float], exempt: bool) -> Iterator[str]:
    wrong = next((name for name, value in one.figures.items() if name in facts and facts[name] != value), None)
    if wrong is not None:
        yield f"the check '{one.name}' weighs {wrong} = {one.figures[wrong]:g}, but the card has {facts[wrong]:g}."
        return
    try:
        found = weigh(one.name, one.figures)
    except (KeyError, ZeroDivisionError, ValueError, OverflowError):
        found = None
        exempt = False
    if found is None:
        if not exempt and (one.name in {*ZERO, *SHARES, *LOST, *RULES}):
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


#: What must hold of the value of a check that passed, where it is weighed by more than counts.
PASSED: Mapping[str, Callable[[float, Check, Card], bool]] = {
    "images moved": lambda value, one, card: value < 1,
    "model asked": lambda value, one, card: value >= 1,
    "trained parameters": lambda value, one, card: value == 0,
    "declared gradient": lambda value, one, card: value == 0,
    "split leakage": lambda value, one, card: value <= LEAKED[0],
    "class order": lambda value, one, card: not exceeds(value * one.n, one.n, RELABELLED),
    "above chance": lambda value, one, card: _beats_chance(card),
    "deterministic": lambda value, one, card: bool(value) == card.training.randomized,
}


def _value_problems(one: Check, values: Mapping[str, float], card: Card) -> Iterator[str]:
    """Yield whether a value is another than the card's own counts give, or forbids that its check passed."""
    expected = values.get(one.name)
    if one.value is not None and expected is not None and abs(one.value - expected) > 1e-8:
        yield f"the value of the check '{one.name}' is {one.value:g}, but the card's counts make {expected:g}."
    stated = card.model.reference
    if one.name == REFERENCE and one.value is not None and not one.threshold.startswith(f"{stated or 0:.2%} within "):
        yield f"the {REFERENCE} is stated as {stated}, but was compared with {one.threshold[:40]}."
    rule = PASSED.get(one.name)
    if rule is not None and one.status == "pass" and not (one.value is not None and rule(one.value, one, card)):
        shown = "none" if one.value is None else f"{one.value:g}"
        yield f"the status of the check '{one.name}' is pass, but its value is {shown}, required {one.threshold}."


def facts_of(card: Card) -> dict[str, float]:
    """Return, by name, the figures that a card states elsewhere too; a check that weighs one must have the same."""
    counts = {"clean": card.clean.correct, "robust": card.robust.correct, "classes": len(card.data.classes)}
    own = {"control": card.clean.correct, **_changed(card)} if card.cell.undefended and not card.cell.surrogate else {}
    return {"of": card.cell.n, "gradientless": card.training.gradient == "none", **counts, **own}


def _changed(card: Card) -> dict[str, float]:
    """Return how many images fell, and how many rose."""
    pairs = list(zip(card.clean.mask(), card.robust.mask(), strict=True))
    return {
        "lost": sum(before and not now for before, now in pairs),
        "gained": sum(now and not before for before, now in pairs),
    }


def _values(card: Card) -> dict[str, float]:
    """Return the values of checks that follow from counts elsewhere in the card."""
    cell, craft, n = card.cell, card.cost.craft, card.cell.n
    support = [int(row[3]) for row in card.clean.per_class]
    found = {
        "box and ball": card.adversarial.outside_ball + card.adversarial.outside_box,
        "above chance": card.clean.correct / n,
        "classes shown": sum(count > 0 for count in support),
        BLINDLY: craft.forwards + craft.backwards,
        "trained parameters": len(card.training.without_gradient) + len(card.training.undeclared),
    }
    if card.adversarial.attacked:
        found["model asked"] = (craft.forwards + craft.backwards) / card.adversarial.attacked
    if card.robust.draws == 1:
        found["robust <= clean"] = _changed(card)["gained"]
    if cell.undefended and cell.surrogate is None:
        found[FALLS] = card.robust.correct / n
        found["reference clean accuracy"] = card.clean.correct / n
    return found


def _beats_chance(card: Card) -> bool:
    n, classes = card.cell.n, len(card.data.classes)
    most = max((int(row[3]) for row in card.clean.per_class), default=0)
    chance = 1 / classes if most == 1 < n else most / n
    return most == n or wilson(card.clean.correct, n)[0] > chance


def _old_problems(card: Card) -> Iterator[str]:
    """Yield what contradicts itself in a card whose checks hold no figures: what can be told from a value alone."""
    for one in card.gate.checks:
        if one.status == "pass" and one.threshold.startswith("= 0 ") and one.value and "standing" not in one.threshold:
            yield f"the check '{one.name}' passed with {one.value:g}, required {one.threshold}."
