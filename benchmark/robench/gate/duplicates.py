"""Was the model trained on what it is tested on, and how many different pictures is it tested on?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robench.errors import ContractError
from robench.evidence.card import Check, Status
from robench.evidence.check_rules import LEAKED
from robench.evidence.check_verdict import check, too_few, weighed
from robench.evidence.near_duplicates import groups, shown_again, varied_thumbnails
from robench.evidence.tensor_digests import digest
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext

#: Share of test images that may be copies of others.
COPIES = 0.05
#: Share of test images of which the training split may hold a near copy; CIFAR-100, with 1 in 10 by a wider measure,
#: must not be accused.
NEAR = 0.10
#: What a copy may have undergone.
EDITS = "brightness, contrast, noise, a shift, a crop, a turn, a tilt, a mirror or a negative"
#: Test images whose near copies are looked for in the training split, and among each other.
COMPARED, LINKED = 1000, 10_000
#: What was found in this process, by the test images' and the training images' content: six numbers each.
_KNOWN: dict[tuple[str, str], dict[str, int]] = {}


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many test images the training split shows in another form, and how many pictures there are.

    What is found by likeness may be chance on a few images; what is found ``surely`` is not. It is looked for once,
    however many models were trained and are tested on the same images.
    """
    data = (context.test.fingerprint, digest(context.train_thumbnails))
    if data not in _KNOWN:
        _KNOWN[data] = _found(context)
    return dict(_KNOWN[data])


def _found(context: ProbeContext) -> dict[str, int]:
    varied = _varied(context, min(len(context.test), LINKED))
    compared = varied[:, :: -(-varied.shape[1] // COMPARED)]
    trained, pictures = shown_again(compared, context.train_thumbnails), groups(varied)
    return {
        "compared": compared.shape[1],
        "trained": int(trained.sum()),
        "surely_trained": int(shown_again(compared[:, trained], context.train_thumbnails, surely=True).sum()),
        "linked": varied.shape[1],
        "pictures": pictures,
        "surely_pictures": groups(varied, surely=True) if pictures < varied.shape[1] else pictures,
    }


def _varied(context: ProbeContext, n: int) -> Tensor:
    """Return the varied thumbnails of the first ``n`` test images (V, n, 64).

    They lie in one block from the start: joined at the end they would take twice as much, 5 KB an image more.
    """
    varied = torch.empty(0)
    for batch in context.batches(list(range(n))):
        part = varied_thumbnails(batch.images)
        if not len(varied):
            varied = torch.empty(len(part), n, part.shape[2], dtype=part.dtype)
        varied[:, batch.indices] = part
    return varied


def leakage(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Count test images that were trained on, and copies among the test images, whatever was done to them."""
    name, threshold = "split leakage", f"<= {LEAKED[0]:.0%} of the test images"
    hashes, found, n = measured.clean.hashes, measured.model_probes["copies"], measured.n
    if hashes is None:
        raise ContractError("The clean images' hashes are not among the stored answers, so leakage cannot be seen.")
    shared = int(torch.isin(hashes, measured.train_signatures.hashes).sum())
    share = shared / n
    pictures, surely = (
        min(len(hashes.unique()), round(found[kind] / found["linked"] * n)) for kind in ("pictures", "surely_pictures")
    )
    again = _many(found["trained"], found["surely_trained"], found["compared"], NEAR)
    twice = _many(n - pictures, n - surely, n, COPIES)
    status: Status = "invalid" if share > LEAKED[1] else "suspect" if share > LEAKED[0] else "pass"
    if status != "pass":
        meaning = (
            f"{shared} of {n} test images are in the training split, bit by bit: the defense was trained on "
            "what it is tested on. Make the splits disjoint."
        )
    elif again == "suspect":
        status, share = again, found["trained"] / found["compared"]
        meaning = (
            f"{found['trained']} of {found['compared']} test images are in the training split too, but for {EDITS}: "
            "the defense was trained on copies of what it is tested on. Make the splits disjoint."
        )
    elif twice == "suspect":
        status, share = twice, 1 - pictures / n
        meaning = (
            f"{share:.0%} of the test images are copies of others, bit by bit or but for {EDITS}, so N is smaller "
            f"than it looks: {pictures} different pictures, not {n}. Remove them."
        )
    elif "skipped" in (again, twice):
        status = "skipped"
        several = (found["trained"], found["compared"], NEAR) if again == status else (n - pictures, n, COPIES)
        share, meaning = several[0] / several[1], too_few(*several)
    else:
        meaning = f"No test image was trained on, and hardly any is a copy of another: {pictures} different pictures."
    return check(name, status, share, threshold, n, meaning)


def _many(like: int, surely: int, n: int, limit: float) -> Status:
    """Return what a number of copies says: what looks alike may be chance, what is the same is not."""
    return "suspect" if surely > limit * n else weighed(like, n, (limit, 1.0), "suspect")
