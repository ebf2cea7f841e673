"""Say what became of a cell that was computed again: the same numbers, the same within rounding, or others.

What does not depend on arithmetic must be equal: the cell, the images, what was trained and by which recipe, and the
victim's own weights. What does depend on it may differ as another processor, thread count or batch size rounds
otherwise, and by no more:

- *The same weights on the same images*: an image may be answered otherwise only if the logits of its label and of the
  best other class lie within ``SCORED`` of the largest logit of each other. Rounding decides between such two.
- *The same weights, attacked again*: steps by the sign of a gradient carry rounding on. An image may be answered
  otherwise if its margin is within ``CRAFTED`` of the largest logit, or if no more than ``FEW`` of the images are.
- *Trained again*: training carries rounding on too. The two rates must lie in each other's 95 % intervals, and an exact
  McNemar test on the images that differ must not tell the two models apart at 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from robench.evidence.card import Card, Check, Outcome
from robench.evidence.statistics import mcnemar

SCORED, CRAFTED, FEW = 1e-3, 0.02, 0.01
#: What rounding may change in how many passes were made, as images leave an attack a step sooner or later.
PASSES = 0.25

IDENTICAL, ROUNDING, OTHER = "identical", "repeats within rounding", "does not repeat"

#: Gives the margins of images at these places, of the set that is named: ``clean`` or ``robust``.
Margins = Callable[[str, Sequence[int]], Sequence[float]]


@dataclass(frozen=True)
class Finding:
    """Report one comparison: ``good`` is None where the evidence is not at hand."""

    what: str
    good: bool | None
    detail: str
    #: Good, but not bit for bit.
    rounded: bool = False


def word(findings: Sequence[Finding]) -> str:
    """Return in one of three words what findings come to; empty if they compare nothing but the card with itself."""
    compared = [finding for finding in findings if finding.what != "card" and finding.good is not None]
    if any(finding.good is False for finding in findings):
        return OTHER
    if not compared:
        return ""
    return ROUNDING if any(finding.rounded for finding in compared) else IDENTICAL


def compare(card: Card, again: Card, margins: Margins) -> Iterator[Finding]:
    """Yield what differs between a card and the same cell computed again, part by part."""
    old, new = _deterministic(card), _deterministic(again)
    if card.model.parameters is None:  # older than the field
        new["model"]["parameters"] = None
    rules: dict[str, Callable[[], tuple[bool, str]]] = {
        "cell": lambda: (False, ""),
        "data": lambda: (False, ""),
        "model": lambda: _model(card, again),
        "training": lambda: _training(old["training"], new["training"]),
        "clean": lambda: _outcome("clean", card, again, margins),
        "adversarial": lambda: _adversarial(card, again),
        "robust": lambda: _outcome("robust", card, again, margins),
        "cost": lambda: _costs(card, again),
        "gate": lambda: _gate(card, again),
    }
    if card.certificates or again.certificates:
        rules["certificates"] = lambda: _certificates(card, again)
    for name, rule in rules.items():
        if old[name] == new[name]:
            yield Finding(f"rerun, {name}", True, "the same")
            continue
        allowed, why = rule()
        shown = _first_difference(old[name], new[name])
        yield Finding(f"rerun, {name}", allowed, f"{why}; {shown}" if why else shown, rounded=allowed)


def same_weights(card: Card, again: Card) -> bool:
    """Tell whether the defended victim has the stored weights exactly, so that only arithmetic may differ."""
    return card.model.defended == again.model.defended


def _model(card: Card, again: Card) -> tuple[bool, str]:
    one, other = card.model, again.model
    if one.parameters not in (None, other.parameters):
        return False, ""
    if (one.zero_shot, one.reference, one.training is None) != (
        other.zero_shot,
        other.reference,
        other.training is None,
    ):
        return False, ""
    if one.training is not None and other.training is not None:
        allowed, why = _training(msgspec.to_builtins(one.training), msgspec.to_builtins(other.training))
        if not allowed:
            return False, why
    elif one.victim != other.victim:
        return False, "the victim has other weights, which were not trained here"
    if same_weights(card, again):
        return True, "the same weights; arithmetic differs"
    trained = again.training.trainable > 0 or bool(again.training.buffers) or other.training is not None
    return trained, "trained again: other weights" if trained else "other weights, although nothing was trained"


def _training(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[bool, str]:
    parts = {key for key in old if old[key] != new.get(key)} - {"history"}
    return not parts, "the curves alone differ" if not parts else f"{', '.join(sorted(parts))} differ"


def _outcome(name: str, card: Card, again: Card, margins: Margins) -> tuple[bool, str]:
    one, other = (card.clean, again.clean) if name == "clean" else (card.robust, again.robust)
    if (one.n, one.draws) != (other.n, other.draws):
        return False, ""
    rows = [place for place, (was, now) in enumerate(zip(one.mask(), other.mask(), strict=True)) if was != now]
    counts = f"{one.correct} of {one.n} right in the card, {other.correct} now"
    if not same_weights(card, again):
        return _trained_again(one, other, rows, counts)
    few = max(1, int(FEW * one.n))
    if not rows:
        return _moved(
            one, other
        ) <= few, f"the same images are right, {_moved(one, other)} wrong ones are otherwise wrong"
    attacked = name == "robust" and card.adversarial.fingerprint != again.adversarial.fingerprint
    limit = CRAFTED if attacked else SCORED
    far = [place for place, margin in zip(rows, margins(name, rows), strict=True) if margin > limit]
    allowed = not far or (attacked and len(rows) <= few)
    said = f"{counts}; differing: {_listed(rows)}"
    return allowed, f"{said}, {len(rows) - len(far)} of them within {limit:.1%} of the largest logit" + (
        f", and {len(far)} farther ({_listed(far)})" if far else ""
    )


def _trained_again(one: Outcome, other: Outcome, rows: Sequence[int], counts: str) -> tuple[bool, str]:
    within = one.low <= other.rate <= one.high and other.low <= one.rate <= other.high
    lost = sum(one.mask()[place] for place in rows)
    chance = mcnemar(lost, len(rows) - lost)
    said = f"{counts}, {'inside' if within else 'outside'} each other's 95 % interval; differing: {_listed(rows)}"
    return within and chance >= 0.05, f"{said}, McNemar p = {chance:.2g}"


def _moved(one: Outcome, other: Outcome) -> int:
    """Return on how many images at least the predictions differ."""
    if one.confusion is None or other.confusion is None:
        return abs((one.top5 or 0) - (other.top5 or 0))
    rows = zip(one.confusion, other.confusion, strict=True)
    return sum(abs(was - now) for old, new in rows for was, now in zip(old, new, strict=True)) // 2


def _adversarial(card: Card, again: Card) -> tuple[bool, str]:
    one, other = card.adversarial, again.adversarial
    if one.fingerprint == other.fingerprint or (one.surrogate_clean is None) != (other.surrogate_clean is None):
        return False, ""
    gap = abs((one.surrogate_clean or 0.0) - (other.surrogate_clean or 0.0))
    return gap <= max(FEW, 1 / card.cell.n) + 1e-6, "crafted again: other images"


def _certificates(card: Card, again: Card) -> tuple[bool, str]:
    """Allow other answers to as few images as rounding may decide; of other weights it is another certificate."""
    pairs = list(zip(card.certificates, again.certificates, strict=False))
    if len(card.certificates) != len(again.certificates) or any(
        (one.certificate.label, one.n, one.randomized, one.error)
        != (other.certificate.label, other.n, other.randomized, other.error)
        for one, other in pairs
    ):
        return False, "other certificates"
    if not same_weights(card, again):
        return all(one.low <= other.certified / other.n <= one.high for one, other in pairs), "of other weights"
    most = max(sum(a != b for a, b in zip(one.mask(), other.mask(), strict=True)) for one, other in pairs)
    return most <= max(1, int(FEW * card.cell.n)), f"{most} images are certified otherwise"


def _costs(card: Card, again: Card) -> tuple[bool, str]:
    exact = same_weights(card, again) and card.adversarial.fingerprint == again.adversarial.fingerprint
    for stage in ("fit", "craft", "score", "gate"):
        one, other = getattr(card.cost, stage), getattr(again.cost, stage)
        share = 0.0 if exact and stage != "gate" else PASSES
        for count in ("images", "forwards", "backwards"):
            was, now = getattr(one, count), getattr(other, count)
            if abs(was - now) > share * max(was, now):
                return False, f"{stage}.{count} {was} in the card, {now} now"
    return True, "passes differ as images leave an attack a step sooner or later"


def _undecided(was: Check, now: Check) -> bool:
    """Tell whether a check accuses nobody either way: its share lies below the limit, or above on too few images."""
    found = {check.status: check for check in (was, now)}
    return found.keys() == {"pass", "skipped"} and found["skipped"].value is not None


def _gate(card: Card, again: Card) -> tuple[bool, str]:
    one, other = card.gate, again.gate
    names = [check.name for check in one.checks] == [check.name for check in other.checks]
    pairs = zip(one.checks, other.checks, strict=False)
    changed = [was.name for was, now in pairs if was.status != now.status and not _undecided(was, now)]
    if not names or one.verdict != other.verdict or (one.level, one.images) != (other.level, other.images) or changed:
        return False, f"'{changed[0]}' is otherwise" if changed else ""
    return True, "the same verdict by the same checks; their values differ"


def _listed(rows: Sequence[int]) -> str:
    if not rows:
        return "no image"
    return f"images {', '.join(map(str, rows[:10]))}{f' and {len(rows) - 10} more' if len(rows) > 10 else ''}"


def _deterministic(card: Card) -> dict[str, Any]:
    """Return the card as JSON values without its clocks, its batch size, and keys that name code and places."""
    values: dict[str, Any] = msgspec.to_builtins(card)
    costs = [
        *values["cost"].values(),
        *([values["model"]["training_cost"]] if values["model"]["training_cost"] else []),
    ]
    for stage in costs:
        for clock in ("seconds", "peak_bytes", "joules", "batch_size"):
            stage.pop(clock)
    values["adversarial"].pop("artifact")
    for proved in values["certificates"]:
        for name in ("artifact", "cost"):
            proved.pop(name)
    proofs = zip(card.certificates, values["certificates"], strict=True)
    values["certificates"] = {record.certificate.label: proved for record, proved in proofs}
    # What was typed asks for more than this cell; what names code may differ here, and is said elsewhere.
    for asked in ("given", "stages", "fit_loads"):
        values["cell"].pop(asked)
    parts = [part for part in values["cell"].values() if isinstance(part, dict) and "plugin" in part]
    certificates = [proved["certificate"] for proved in values["certificates"].values()]
    for part in [*parts, *values["cell"]["loads"], *certificates]:
        # What enters no id computes what was computed before there was such a parameter.
        for name in part["left_out"]:
            part["parameters"].pop(name, None)
        for code in ("plugin", "code", "files", "hashed", "left_out", "members", "untrained"):
            part.pop(code)
    for check in values["gate"]["checks"]:
        check.pop("figures")
    for outcome in (values["clean"], values["robust"]):
        outcome.pop("artifact")
    return values


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    for key, value in old.items():
        if value != new.get(key):
            return f"{key} is {str(value)[:80]} in the card, {str(new.get(key))[:80]} now"
    return "new fields"
