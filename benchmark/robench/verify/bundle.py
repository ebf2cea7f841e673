"""Bundles: everything that a stranger needs to check one card, in one file; and the check, which executes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robench.contracts.task import Progress
from robench.contracts.threat_model import BALL_TOLERANCE, ThreatModel
from robench.errors import CardError, RobenchError, attributed_to
from robench.evidence import card_file
from robench.evidence.adversarial_set import KIND as ADVERSARIAL
from robench.evidence.adversarial_set import whole
from robench.evidence.card import Card
from robench.evidence.card_identity import CardIds
from robench.evidence.fingerprint import CHUNK
from robench.evidence.image_signatures import image_hashes
from robench.evidence.store import Store
from robench.pipeline.stages.certify import KIND as CERTIFIED
from robench.pipeline.stages.fit import KIND as FIT
from robench.pipeline.stages.probe import KIND as PROBES
from robench.pipeline.stages.score import KIND as OUTCOMES
from robench.pipeline.workbench import Options, Workbench
from robench.plan.references import foreign_code
from robench.verify.bundle_file import Bundle, write_bundle
from robench.verify.recompute import find_cell, weighed_again
from robench.verify.repetition import Finding
from robench.verify.stored_evidence import against_artifacts, chunk_keys, scored
from robench.verify.stored_probes import probe_keys


def make_bundle(card: Card, store: Path, file: Path, device: str, progress: Progress) -> dict[str, Any]:
    """Write a card with its evidence into one file and return what is in it.

    Raises:
        CardError: the store lacks evidence of this card, or has others' in its place.
    """
    artifacts = Store(store, warn=progress.note)
    wanted = _wanted(card)
    lacking = [kind for kind, key in wanted if artifacts.get(kind, key) is None]
    if lacking:
        raise CardError(
            f"The store at {store} lacks {len(lacking)} of the {len(wanted)} artifacts of this card ({lacking[0]} "
            "first); name the store of its run with --store, or run it again."
        )
    chunks = [artifacts.get(kind, key) for kind, key in wanted if kind == ADVERSARIAL]
    if not all(whole(chunk) for chunk in chunks if chunk):
        raise CardError("Not all adversarial images of this card were kept (--keep-images); run it again, keeping all.")
    for finding in against_artifacts(card, artifacts, "in the store"):
        if finding.good is False:
            raise CardError(f"The card is not what the store holds: {finding.what}: {finding.detail}.")

    def contents() -> Iterator[tuple[str, bytes]]:
        for kind, key in wanted:
            yield from _packed(artifacts, kind, key)
        yield from _clean_images(card, store, device, progress)

    return write_bundle(file, contents(), card_file.encode(card))


def _wanted(card: Card) -> list[tuple[str, str]]:
    """Return kind and key of the artifacts that are a card's evidence."""
    ids = CardIds(card)
    if not ids.stated:
        raise CardError("A card of an older schema does not say which artifacts are its own; run it again.")
    found = [(FIT, ids.fit), (OUTCOMES, card.clean.artifact), (OUTCOMES, card.robust.artifact)]
    if card.model.training is not None:
        found.append((FIT, ids.model(card.cell.victim)))
    found += [(CERTIFIED, key) for proved in card.certificates for key in ids.certificate_chunks(proved)]
    found += [(PROBES, key) for key in probe_keys(card)]
    return [*found, *((ADVERSARIAL, key) for key in chunk_keys(card))]


def _packed(artifacts: Store, kind: str, key: str) -> Iterator[tuple[str, bytes]]:
    from safetensors.torch import save

    artifact = artifacts.get(kind, key)
    if artifact is None:
        raise CardError(f"The store lost {kind} {key[:8]} while it was bundled; run it again.")
    place = f"artifacts/{kind}/{key}"
    yield f"{place}/meta.json", json.dumps(artifact.meta, sort_keys=True).encode()
    if kind != PROBES:  # figures alone
        # One key of metadata: the order of several differs from time to time, and so would the file.
        yield f"{place}/data.safetensors", save(artifact.tensors(), {"artifact": f"{kind}/{key}"})


def _clean_images(card: Card, store: Path, device: str, progress: Progress) -> Iterator[tuple[str, bytes]]:
    """Yield the test images, where this installation can serve them without running code that a card names."""
    from safetensors.torch import save

    try:
        cell = find_cell(card, card.environment.device.partition(" ")[0])
        if cell is None or foreign_code([cell]):
            raise CardError("the components of the card are not those that are installed here")
        test = Workbench(Options(store=store, progress=progress), device).data(cell).test
        if test.fingerprint != card.data.test:
            raise CardError("the images served here are others")
    except RobenchError as error:
        progress.note(f"The clean images are not in the bundle, so nobody can measure distances from it: {error}")
        return
    for start in range(0, len(test), CHUNK):
        part = test[start : start + CHUNK]
        images = torch.cat([batch.images for batch in part.batches(CHUNK)])
        octets = (images * 255).round().to(torch.uint8)
        exact = torch.equal(octets.float() / 255, images)
        yield f"images/{start}.safetensors", save({"images": octets if exact else images.contiguous()})


def read_card(bundle: Bundle) -> Card:
    """Return the card of a bundle; CardError if it contradicts itself."""
    return card_file.decode(bundle.card, f"the card in {bundle.file}")


def verify_bundle(card: Card, bundle: Bundle) -> Iterator[Finding]:
    """Yield what the evidence in a bundle says about its card; nothing is executed, no model and no plugin needed."""
    yield weighed_again(card)
    with attributed_to(f"Comparing the card with {bundle.file}", CardError):
        yield from against_artifacts(card, bundle, "in the bundle")
        yield _images(card, bundle)


def _images(card: Card, bundle: Bundle) -> Finding:
    """Measure how far the adversarial images lie from the clean ones, and whether those are what was asked."""
    what = "ball and box"
    answers = bundle.get(OUTCOMES, card.clean.artifact)
    threat = ThreatModel(card.cell.threat.norm, card.cell.threat.eps)
    largest, hashes, n = 0.0, list[Tensor](), 0
    for place, key in enumerate(chunk_keys(card)):
        clean, chunk = bundle.images(place * CHUNK), bundle.get(ADVERSARIAL, key)
        if clean is None or chunk is None:
            return Finding(what, None, "the clean images are not in the bundle")
        moved = chunk.tensors()["images"]
        if clean.shape != moved.shape or tuple(clean.shape[1:]) != card.data.shape:
            return Finding(what, False, "the images have another shape than the card says")
        inside = bool(torch.isfinite(moved).all()) and bool(((moved >= 0) & (moved <= 1)).all())
        largest = max(largest, float(threat.distance(clean, moved).max()) if inside else float("inf"))
        hashes.append(image_hashes(clean))
        n += len(clean)
    if n != card.cell.n:
        return Finding(what, False, f"{n} images are in the bundle, {card.cell.n} in the card")
    asked = scored(answers, card.clean.artifact).hashes if answers is not None else None
    if asked is None or not torch.equal(asked, torch.cat(hashes)):
        return Finding(what, False, "the clean images are not those that were answered")
    good = largest <= threat.eps + BALL_TOLERANCE
    return Finding(what, good, f"largest perturbation {largest:.6f}, eps {threat.eps:.6f}")
