"""Are corrupted images corrupted: every one, as far as the severity says, without asking, and each kind in its way?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robench.evidence.card import Check
from robench.evidence.check_rules import BLINDLY, DIFFER, EVERY, GROWS, SHARES
from robench.evidence.check_verdict import share, skip, zero
from robench.evidence.image_signatures import image_hashes
from robench.gate.measurement import Measurement
from robench.gate.pass_budget import Exhausted
from robench.gate.probe_context import AttackContext
from robench.gate.worst_case import of_same_model

#: Images that are corrupted at other severities, and stored images that are told apart from those of other corruptions.
CORRUPTED, COMPARED = 16, 64
#: The mildest and the strongest severity, which pictures are compared at, and how much farther from the image (as a
#: share) the one has to lie than the other. Of the nineteen at 32 pixels the least differ by 11 % (motion blur).
ENDS, FARTHER = (1.0, 5.0), 0.03


def probe(probed: AttackContext) -> dict[str, Any]:
    """Return on how many images the severity makes no difference, and what tells the stored images apart."""
    threat = probed.context.task.threat
    if threat.ball or threat.eps == 0 or probed.shown is None:
        return {}
    hashes = image_hashes(probed.shown[:COMPARED]).tolist()
    return {"hashes": hashes, **_severities(probed)}


def _severities(probed: AttackContext) -> dict[str, int]:
    """Return on how many of a few images the corruption moves as far at every severity that is looked at.

    Farther or nearer: of elastic transformations the mildest moves farthest.
    """
    test, threat = probed.context.test, probed.context.task.threat
    batch = next(test[:CORRUPTED].batches(CORRUPTED, probed.context.task.device))
    rows, lengths = list(range(len(batch.images))), list[Tensor]()
    for severity in sorted({*ENDS, threat.eps}):
        task = probed.crafting.replace(indices=rows, threat_model=replace(threat, eps=severity))
        try:
            moved = probed.move(batch.images, batch.labels, task)
        except Exhausted:  # it asks the model, which another check says
            return {"n": 0, "alike": 0}
        lengths.append((moved - batch.images).flatten(1).norm(dim=1))
    seen = torch.stack(lengths)
    alike = (seen.amin(0) >= (1 - FARTHER) * seen.amax(0)) & (seen.amax(0) > 0)
    return {"n": len(rows), "alike": int(alike.sum())}


def every(measured: Measurement, _group: Sequence[Measurement]) -> Check | None:
    """See that a corruption leaves hardly an image as it was."""
    if not _corrupts(measured):
        return None
    given, unmoved = measured.adversarial.total("attacked"), measured.adversarial.total("unmoved")
    if not given:
        return skip(EVERY, SHARES[EVERY].threshold, "No image was corrupted.")
    return _share(
        EVERY, unmoved, given,
        "Hardly an image came back as it was.",
        f"{unmoved} of {given} images came back as they were from {measured.attack_name}: what they are answered is "
        "the clean accuracy.",
    )  # fmt: skip


def grows(measured: Measurement, _group: Sequence[Measurement]) -> Check | None:
    """See that a corruption heeds the severity that is stated."""
    if not _corrupts(measured):
        return None
    found = measured.probes.get("corruption") or {}
    if not found.get("n"):
        return skip(GROWS, SHARES[GROWS].threshold, "No image was corrupted at other severities.")
    return _share(
        GROWS, found["alike"], found["n"],
        "Images are moved otherwise at severity 1 than at 5.",
        f"{measured.attack_name} moves {found['alike']} of {found['n']} images as far at severity 1 as at 5: it does "
        "not heed task.threat.eps, and the severity that is stated is not the one that was drawn.",
    )  # fmt: skip


def unasked(measured: Measurement, _group: Sequence[Measurement]) -> Check | None:
    """See that a corruption was drawn without asking the model, which could choose the mildest draw."""
    if not _corrupts(measured):
        return None
    meter = measured.adversarial.meter
    return zero(
        BLINDLY, meter.forwards + meter.backwards, "passes", measured.adversarial.total("attacked"),
        "The model was not asked while images were corrupted.",
        f"{measured.attack_name} asked the model {meter.forwards + meter.backwards} times while it corrupted: what is "
        "chosen by the answers is no common corruption, but an attack, or the opposite of one.",
    )  # fmt: skip


def differ(measured: Measurement, group: Sequence[Measurement]) -> Check | None:
    """See that no other corruption of the row gave the same images: one would count as several."""
    if not _corrupts(measured):
        return None
    own = (measured.probes.get("corruption") or {}).get("hashes", [])
    others = {
        other.attack_key: (other.cell.attack.record().label, (other.probes.get("corruption") or {}).get("hashes", []))
        for other in of_same_model(measured, group)
        if other is not measured and other.cell.threat == measured.cell.threat and _corrupts(other)
    }
    alike = {label: sum(one == two for one, two in zip(own, seen, strict=False)) for label, seen in others.values()}
    if not own or not alike:
        return skip(DIFFER, SHARES[DIFFER].threshold, "There is no other corruption of this severity in the run.")
    label = max(alike, key=lambda name: alike[name])
    return _share(
        DIFFER, alike[label], len(own),
        "Every corruption of the run gave other images.",
        f"{alike[label]} of {len(own)} images are those of {label}, bit by bit: one corruption counts as several in "
        "the mean of the row.",
    )  # fmt: skip


def _share(name: str, count: int, n: int, good: str, bad: str) -> Check:
    """Return the entry of a check by its own rule; more images come with --n."""
    rule = SHARES[name]
    return share(name, count, n, rule.limits, good, bad, threshold=rule.threshold, more="--n")


def _corrupts(measured: Measurement) -> bool:
    return not measured.cell.threat.ball and bool(measured.cell.threat.eps)
