"""Hold a card to stored artifacts (of a store or of a bundle) by reading alone: no model, no plugin, no component."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import torch

from robench.errors import CardError
from robench.evidence import adversarial_set
from robench.evidence.adversarial_set import KEPT
from robench.evidence.adversarial_set import KIND as ADVERSARIAL
from robench.evidence.card import Card, Cost, Outcome
from robench.evidence.card_identity import CardIds
from robench.evidence.image_signatures import image_hashes
from robench.evidence.meter import Meter
from robench.evidence.tensor_digests import digest
from robench.pipeline.stages.fit import KIND as FIT
from robench.pipeline.stages.record import outcome
from robench.pipeline.stages.score import KIND as OUTCOMES
from robench.pipeline.stages.score import Outcomes
from robench.verify.certificates import against_certificates
from robench.verify.repetition import Finding
from robench.verify.source import Source, Stored
from robench.verify.stored_probes import against_probes


def against_artifacts(card: Card, source: Source, where: str) -> Iterator[Finding]:
    """Yield what the stored outcomes, adversarial images and fit say about a card's numbers and costs."""
    answers = source.get(OUTCOMES, card.robust.artifact)
    yield _outcome("clean", card, card.clean, source.get(OUTCOMES, card.clean.artifact))
    yield _outcome("robust", card, card.robust, answers)
    yield from against_certificates(card, source)
    yield from _fit(card, source)
    if CardIds(card).stated:
        yield against_probes(card, source)
    else:
        yield Finding(
            "gate's probes", None, "a card of an older schema holds no figures that could be held to what was tried"
        )
    chunks = [source.get(ADVERSARIAL, key) for key in chunk_keys(card)]
    there = [chunk for chunk in chunks if chunk is not None]
    if len(there) < len(chunks):
        yield Finding("adversarial set", None, f"not {where}")
        return
    if any(KEPT in chunk.meta for chunk in there):
        why = "not all of its images were kept (--keep-images), so the model cannot be asked about them again"
        yield Finding("adversarial set", None, f"{why}; recompute with --rerun")
        return
    yield _adversarial(card, there, answers)


def chunk_keys(card: Card) -> list[str]:
    """Return the keys of a card's adversarial images, in order."""
    ids = CardIds(card)
    if ids.stated:
        return ids.chunks()
    return adversarial_set.chunk_keys(card.adversarial.artifact, card.cell.n)


def scored(artifact: Stored, key: str) -> Outcomes:
    """Return stored answers; CardError if they are not what robench stores."""
    try:
        kept, cost = artifact.tensors(), Cost(**artifact.meta["meter"])
        return Outcomes(key=key, **kept, draws=int(artifact.meta["draws"]), cost=cost)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CardError(f"The stored answers {key[:8]} are not what robench stores: {error}.") from None


def _outcome(name: str, card: Card, said: Outcome, artifact: Stored | None) -> Finding:
    what = f"{name} outcomes"
    if artifact is None:
        return Finding(what, None, "not in the store")
    found = scored(artifact, said.artifact)
    right = int(found.correct.sum())
    detail = f"{right} of {len(found.labels)} right in the store, {said.correct} in the card"
    if len(found.labels) != card.cell.n:
        return Finding(what, False, detail)
    try:
        made = msgspec.to_builtins(outcome(found, len(card.data.classes)))
    except (ValueError, RuntimeError, IndexError) as error:
        raise CardError(
            f"The stored answers {said.artifact[:8]} are not those of the card's classes: {error}."
        ) from None
    stated = msgspec.to_builtins(said)
    wrong = next((field for field in stated if stated[field] != made[field]), None)
    if wrong is not None:
        return Finding(what, False, detail if made["bits"] != stated["bits"] else f"{wrong} is another in the store")
    if name == "robust" and (different := _other_cost(card.cost.score, found.cost)):
        return Finding(what, False, f"the cost of scoring is another in the store: {different}")
    return Finding(what, True, detail)


def _fit(card: Card, source: Source) -> Iterator[Finding]:
    """Yield what the stored fits of the defense, and of a victim that was trained first, say of training and cost."""
    ids = CardIds(card)
    if not ids.stated:
        yield Finding("fit", None, "a card of an older schema does not say which fit is its own")
        return
    artifact = source.get(FIT, ids.fit)
    yield _one_fit("fit", artifact, msgspec.to_builtins(card.training), card.cost.fit, card.model.defended)
    if artifact is not None:
        known: dict[str, tuple[Any, Any]] = {}
        if card.cell.trained_on is None:  # else the victim was fitted with the head of another dataset
            known["victim's weights"] = (card.model.victim, artifact.meta.get("victim"))
        if artifact.meta.get("train") is not None:
            known["training images"] = (card.data.train, artifact.meta["train"])
            known["number of training images"] = (card.data.train_n, artifact.meta.get("train_n"))
        wrong = next((name for name, (said, kept) in known.items() if said != kept), None)
        if wrong is not None:
            yield Finding("fit", False, f"the {wrong} are others in the store")
    if card.model.training is not None and card.model.training_cost is not None:
        own = source.get(FIT, ids.model(card.cell.victim))
        said = msgspec.to_builtins(card.model.training)
        yield _one_fit("victim's training", own, said, card.model.training_cost, card.model.victim)


def _one_fit(what: str, artifact: Stored | None, training: dict[str, Any], cost: Cost, weights: str) -> Finding:
    if artifact is None:
        return Finding(what, None, "not in the store")
    meta = artifact.meta
    kept = dict(meta.get("training", {}))
    # The recipe is the defense's own statement, to which the card is held where that is installed.
    wrong = next((name for name, value in training.items() if name != "recipe" and kept.get(name) != value), None)
    if wrong is not None:
        return Finding(
            what, False, f"{wrong} is {str(training[wrong])[:80]} in the card, {str(kept.get(wrong))[:80]} in the store"
        )
    if meta.get("defended") != weights:
        return Finding(what, False, "the weights have another digest in the store")
    if different := _other_cost(cost, _cost(meta.get("cost"))):
        return Finding(what, False, f"its cost is another in the store: {different}")
    return Finding(what, True, "training, digest of the weights, and cost are those in the store")


def _adversarial(card: Card, chunks: Sequence[Stored], answers: Stored | None) -> Finding:
    """Hold the adversarial images to their digests, to what was counted on them, and to the images that were asked."""
    what, said, meter = "adversarial set", card.adversarial, Meter()
    # Earlier releases stored a hash of each image that was asked; now the answers name the set.
    asked = answers.tensors().get("hashes") if answers is not None else None
    named = answers.meta.get("images", said.fingerprint) if answers is not None else said.fingerprint
    digests, hashes = [], []
    for chunk in chunks:
        images = chunk.tensors().get("images")
        if images is None or chunk.meta.get("images") != (own := digest(images)):
            return Finding(what, False, "stored images are not those of their digest")
        digests.append(own)
        if asked is not None:
            hashes.append(image_hashes(images))
        meter.add(dict(chunk.meta["meter"]))
    if hashlib.sha256("".join(digests).encode()).hexdigest() != said.fingerprint:
        return Finding(what, False, "fingerprint of the stored images")
    counts = {name: sum(chunk.meta[name] for chunk in chunks) for name in ("attacked", "outside_ball", "outside_box")}
    most = {name: float(max(chunk.meta[name] for chunk in chunks)) for name in ("largest", "excess")}
    for name, value in {**counts, **most}.items():
        if getattr(said, name) != value:
            return Finding(what, False, f"{name} is {getattr(said, name)} in the card, {value} in the store")
    if different := _other_cost(card.cost.craft, meter.cost()):
        return Finding(what, False, f"the cost of crafting is another in the store: {different}")
    if named != said.fingerprint or (asked is not None and not torch.equal(asked, torch.cat(hashes))):
        return Finding(what, False, "the stored answers are to other images than these")
    return Finding(what, True, "fingerprint of the stored images; counts and cost are those in the store")


def _cost(state: Any) -> Cost | None:
    try:
        return Cost(**state)
    except TypeError:
        return None


def _other_cost(said: Cost, kept: Cost | None) -> str:
    """Return which cost differs, in words; empty if none does."""
    if kept is None:
        return "there is none"
    one, other = msgspec.to_builtins(said), msgspec.to_builtins(kept)
    name = next((name for name in one if one[name] != other[name]), None)
    return "" if name is None else f"{name} is {one[name]} in the card, {other[name]} there"
