"""Hold the figures that a card's checks weigh to what the gate's probes stored when it tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from robench.errors import SpecError
from robench.evidence.card import Card
from robench.evidence.card_identity import CardIds
from robench.evidence.fingerprint import hashed
from robench.gate.level import level_of
from robench.pipeline.stages.probe import KIND as PROBES
from robench.verify.repetition import Finding
from robench.verify.source import Source

#: Check -> figure -> where the probe of the defended victim stored it.
OF_MODEL: Mapping[str, Mapping[str, str]] = {
    "deterministic": {"count": "answers.again", "n": "answers.n"},
    "batch-mates": {"count": "answers.company", "n": "answers.n"},
    "same answer while attacked": {"count": "answers.attacked", "n": "answers.n"},
    "straight-through path": {"count": "path.differ", "n": "path.n"},
    "straight-through leads": {"count": "path.astray", "among": "path.followed"},
    "gradients present": {"among": "gradients.n"},
    "gradients true": {"count": "gradients.untrue", "among": "gradients.checked"},
    "gradients useful": {"count": "gradients.stuck", "among": "gradients.checked"},
    "logit scale": {"count": "gradients.ce_blind", "among": "gradients.n"},
    "stronger attack": {"won": "strength.stronger.won", "tried": "strength.stronger.n"},
    "another loss": {"among": "strength.stronger.n"},
    "measured slopes <= gradients": {"won": "strength.tiles.won", "tried": "strength.tiles.n"},
    "queries <= gradients": {"won": "strength.queries.won", "tried": "strength.queries.n"},
    "noise <= gradients": {"won": "strength.noise.won", "tried": "strength.noise.n"},
    "stable loss": {"count": "landscape.rough", "among": "landscape.n"},
    "generalisation gap": {
        "clean_others": "unseen.n",
        "clean_others_right": "unseen.right",
        "compared": "unseen.compared",
        "easier": "unseen.easier",
    },
}
#: And the probe of the attack.
OF_ATTACK: Mapping[str, Mapping[str, str]] = {
    "eps = 0": {"count": "identity.moved", "n": "identity.n"},
    "best iterate": {"count": "trace.silent", "n": "trace.n"},
    "step size": {"among": "trace.n"},
    "unbounded attack": {"count": "effort.sweep.unbounded", "among": "effort.sweep.n"},
    "re-score from disk": {"count": "rescored.differ", "n": "rescored.n"},
    "clean answers again": {"count": "clean again.differ", "n": "clean again.n"},
    "binarization": {"among": "binarization.n"},
    "stronger universal": {"won": "shared.won", "lost": "shared.lost", "among": "shared.tried"},
    "severity counts": {"count": "corruption.alike", "among": "corruption.n"},
    "generalisation gap": {
        "robust_others": "unseen.n",
        "robust_others_right": "unseen.right",
        "pairs": "moved.pairs",
        "pairs_right": "moved.pairs_right",
        "pairs_moved_right": "moved.pairs_moved_right",
    },
}


def probe_keys(card: Card) -> list[str]:
    """Return the keys of the probes of the defended victim and of the attack, at the level that the card states.

    Cards of schema 1 and 2 do not state what these follow from, and have none.
    """
    ids = CardIds(card)
    if not ids.stated:
        return []
    gate, version = card.gate, card.cell.stages.get("probe", 0)
    try:
        level = asdict(level_of(gate.level, gate.images or None, gate.limit))
    except SpecError:  # a level that no release has
        return []
    row = sorted(gate.probed) or [ids.fit]
    return [
        hashed("probe", version, {"row": row, "level": level}),
        hashed("probe", version, {"cell": card.id, "level": level}),
    ]


def against_probes(card: Card, source: Source) -> Finding:
    """Say whether the figures in a card are those that the gate's probes found."""
    keys, what = probe_keys(card), "gate's probes"
    found = [source.get(PROBES, key) for key in keys]
    if not found or None in found:
        return Finding(what, None, f"what the gate tried at level {card.gate.level[:20]} is not at hand")
    checks = {one.name: one for one in card.gate.checks}
    spent = dict.fromkeys(("forwards", "backwards"), 0)
    for places, artifact in zip((OF_MODEL, OF_ATTACK), found, strict=True):
        meta: Mapping[str, Any] = artifact.meta if artifact is not None else {}
        for name, figures in places.items():
            for figure, place in figures.items():
                said = checks[name].figures.get(figure) if name in checks else None
                kept = _at(meta, place)
                if said is not None and kept is not None and said != round(float(kept), 9):
                    return Finding(what, False, f"'{name}' weighs {figure} = {said:g}, but {float(kept):g} was found")
        for count in spent:
            spent[count] += meta["meter"][count]
    for count, passes in spent.items():
        # The probes of a defended victim are charged to its dearest attack alone.
        if getattr(card.cost.gate, count) > passes:
            return Finding(what, False, f"the gate counts {getattr(card.cost.gate, count)} {count}, {passes} were made")
    return Finding(what, True, "the figures that its checks weigh are those that the gate's probes stored")


def _at(meta: Mapping[str, Any], place: str) -> float | None:
    value: Any = meta
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None
