"""judge: weigh the probes, the outcomes and the cells beside a cell before its number may be ranked."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robench.case import Case
from robench.evidence.card import Check, Gate, Status
from robench.evidence.statistics import proportion

#: Share of all images that a weaker attack may win over a stronger one: above, SUSPECT; far above, INVALID.
TOLERATED, INTOLERABLE = 0.01, 0.05


def judge(case: Case, ring: Sequence[Case]) -> Gate:
    """Return the verdict on ``case``, judged beside the cells of its ring (itself among them)."""
    checks = [check(case, ring) for check in _CHECKS]
    statuses = {check.status for check in checks}
    verdict = "INVALID" if "invalid" in statuses else "SUSPECT" if "suspect" in statuses else "VALID"
    return Gate(verdict=verdict, checks=checks)  # type: ignore[arg-type]  # one of the three literals


def _check(name: str, status: Status, value: float | None, threshold: str, n: int, meaning: str) -> Check:
    # As float from the first: 0 and 0.0 are two texts in JSON.
    number = None if value is None else float(value)
    return Check(name=name, status=status, value=number, threshold=threshold, n=n, meaning=meaning)


def _skip(name: str, threshold: str, reason: str) -> Check:
    return _check(name, "skipped", None, threshold, 0, reason)


def _contract(case: Case, _ring: Sequence[Case]) -> Check:
    found = case.adversarial
    wrong = found.total("outside_ball") + found.total("outside_box")
    if not wrong:
        return _check(
            "box and ball",
            "pass",
            0,
            "= 0 images",
            case.n,
            "Every stored image lies in [0, 1] and in the ball.",
        )
    return _check(
        "box and ball", "invalid", wrong, "= 0 images", case.n,
        f"{case.attack_name} left the ball by up to {found.largest('excess'):.3g} or the box [0, 1]; the harness "
        "projected those images, so this is not the attack it claims to be. Project with task.threat.project.",
    )  # fmt: skip


def _identity(case: Case, _ring: Sequence[Case]) -> Check:
    moved, n = case.probes.identity_moved, case.probes.identity_n
    meaning = (
        "With eps = 0 the images come back bit by bit, so robust accuracy at eps = 0 is the clean accuracy."
        if not moved
        else f"With eps = 0 {case.attack_name} still changed images: it returns something else than the image plus a "
        "perturbation, or scales it wrongly."
    )
    return _check("eps = 0", "invalid" if moved else "pass", moved, "= 0 images moved", n, meaning)


def _rescored(case: Case, _ring: Sequence[Case]) -> Check:
    differ, n = case.probes.rescored_differ, case.probes.rescored_n
    meaning = (
        "The plain model answers the stored images as they were scored."
        if not differ
        else "The plain model, in other batches, answers stored images differently: predictions depend on batch-mates, "
        "on randomness or on the inference rewrites."
    )
    return _check("re-score from disk", "invalid" if differ else "pass", differ, "= 0 images differ", n, meaning)


def _not_above_clean(case: Case, _ring: Sequence[Case]) -> Check:
    if case.transfer:
        return _skip(
            "robust <= clean",
            "= 0 images",
            "A transferred image may by chance be answered right; that proves nothing.",
        )
    gained = int((case.robust.correct & ~case.clean.correct).sum())
    meaning = (
        "No image is right under attack that was wrong without."
        if not gained
        else "Images that were wrong clean, and were left as they are, are now answered right: the model is "
        "not deterministic."
    )
    return _check("robust <= clean", "invalid" if gained else "pass", gained, "= 0 images", case.n, meaning)


def _falls(case: Case, ring: Sequence[Case]) -> Check:
    name, threshold = "undefended victim falls", "its robust interval lies below its clean interval"
    if case.cell.threat.eps == 0:
        return _skip(name, threshold, "There is nothing to fall under at eps = 0.")
    reference = [
        other for other in ring if other.cell.undefended and not other.transfer and other.attack_key == case.attack_key
    ]
    if not reference:
        return _check(
            name, "suspect", None, threshold, 0,
            "The undefended victim was not measured under this attack, so nobody knows whether the attack works; run "
            "it with the defense 'none'.",
        )  # fmt: skip
    clean, robust = reference[0].clean.correct, reference[0].robust.correct
    lowest_clean, highest_robust = (
        proportion(int(clean.sum()), len(clean))[0],
        proportion(int(robust.sum()), len(robust))[1],
    )
    fell = highest_robust < lowest_clean
    meaning = (
        "The attack works where there is no defense."
        if fell
        else f"{case.attack_name} hardly moves the undefended victim (clean {float(clean.float().mean()):.1%}, "
        f"attacked {float(robust.float().mean()):.1%}), so it cannot show what a defense is worth: more steps, another "
        "step size, a larger eps or more images."
    )
    return _check(name, "pass" if fell else "suspect", float(robust.float().mean()), threshold, len(robust), meaning)


def _one_step(case: Case, ring: Sequence[Case]) -> Check:
    name, threshold = "one step <= many steps", f"<= {TOLERATED:.0%} of the images"
    if case.transfer or not case.iterative:
        return _skip(name, threshold, "Only an iterative white-box attack must beat one gradient step.")
    beaten = [
        int((case.robust.correct & ~other.robust.correct).sum())
        for other in ring
        if other.row == case.row and not other.transfer and not other.iterative
    ]
    won = max([case.probes.one_step_won, *beaten])
    return _tolerance(
        name, won, case.n,
        "One gradient step beats no image that the attack left standing, beyond tolerance.",
        f"{won} images survive {case.attack_name} but fall to a single gradient step: its gradients or its step size "
        "are wrong, or the model masks gradients.",
    )  # fmt: skip


def _transfer(case: Case, ring: Sequence[Case]) -> Check:
    name, threshold = "transfer <= white-box", f"<= {TOLERATED:.0%} of the images"
    row = [other for other in ring if other.row == case.row]
    white, black = [o for o in row if not o.transfer], [o for o in row if o.transfer]
    if not white or not black:
        return _skip(name, threshold, "Needs a white-box and a transfer attack on this row (--surrogate self).")
    standing = torch.stack([other.robust.correct for other in white]).all(0)
    won = int((standing & ~torch.stack([other.robust.correct for other in black]).all(0)).sum())
    return _tolerance(
        name, won, case.n,
        "What survives the white-box attack survives transfer too, within tolerance.",
        f"{won} images survive every white-box attack but fall to one crafted on another model: the white-box attack "
        "is too weak, or the defense masks its gradients.",
    )  # fmt: skip


def _tolerance(name: str, won: int, n: int, good: str, bad: str) -> Check:
    share = won / n
    status: Status = "invalid" if share > INTOLERABLE else "suspect" if share > TOLERATED else "pass"
    return _check(name, status, share, f"<= {TOLERATED:.0%} of the images", n, good if status == "pass" else bad)


def _reference(case: Case, ring: Sequence[Case]) -> Check:
    name = "reference clean accuracy"
    stated, tolerance = case.reference
    undefended = next((other for other in ring if other.cell.undefended), None)
    if stated is None:
        return _skip(name, "within the stated interval", "The victim's author states no accuracy for this dataset.")
    if undefended is None:
        return _skip(name, "within the stated interval", "The undefended victim was not run.")
    correct = int(undefended.clean.correct.sum())
    low, high = proportion(correct, undefended.n)
    good = low - tolerance <= stated <= high + tolerance
    meaning = (
        "The victim classifies as its author states."
        if good
        else f"The victim reaches {correct / undefended.n:.1%}, but {stated:.1%} is stated: wrong weights, "
        "preprocessing, class order or prompts."
    )
    threshold = f"{stated:.2%} within [{low:.2%}, {high:.2%}] +- {tolerance:.1%}"
    return _check(name, "pass" if good else "suspect", correct / undefended.n, threshold, undefended.n, meaning)


def _manifest(case: Case, _ring: Sequence[Case]) -> Check:
    training = case.fitted.training
    wrong = [*training.without_gradient, *training.undeclared]
    if not wrong:
        meaning = f"Exactly the {len(training.names)} declared parameter tensors were trained."
        return _check("trained parameters", "pass", 0, "= 0 tensors", 0, meaning)
    meaning = (
        f"Declared but never given a gradient: {', '.join(training.without_gradient[:5]) or 'none'}; changed but "
        f"not declared: {', '.join(training.undeclared[:5]) or 'none'}. The defense does not train what it says."
    )
    return _check("trained parameters", "invalid", len(wrong), "= 0 tensors", 0, meaning)


def _adaptive(case: Case, _ring: Sequence[Case]) -> Check:
    training = case.fitted.training
    if training.gradient == "exact" and not training.randomized:
        return _check(
            "gradients declared exact",
            "pass",
            None,
            "exact and deterministic",
            0,
            "End-to-end gradients count.",
        )
    return _check(
        "gradients declared exact", "suspect", None, "exact and deterministic", 0,
        f"The defense declares gradient = {training.gradient}, randomized = {training.randomized}: a plain gradient "
        "attack proves little about it, and robench has no adaptive attack (BPDA, EOT) for it yet.",
    )  # fmt: skip


_CHECKS = (
    _contract,
    _identity,
    _rescored,
    _not_above_clean,
    _reference,
    _falls,
    _one_step,
    _transfer,
    _manifest,
    _adaptive,
)
