"""Was the model trained on what it is tested on, and how many different pictures is it tested on?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from robench.errors import ContractError
from robench.evidence.card import Check, Status
from robench.evidence.check_rules import LEAKED
from robench.evidence.check_verdict import check
from robench.evidence.near_duplicates import groups, shown_again, varied_thumbnails
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext

#: Share of test images that may be copies of others.
COPIES = 0.05
#: Share of test images of which the training split may hold a near copy; CIFAR-100, with 1 in 10 by a wider measure,
#: must not be accused.
NEAR = 0.10
#: Test images whose near copies are looked for in the training split, and among each other.
COMPARED, LINKED = 1000, 10_000


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many test images the training split shows in another form, and how many pictures there are."""
    n = len(context.test)
    seen = [varied_thumbnails(batch.images) for batch in context.batches(list(range(min(n, LINKED))))]
    varied = torch.cat(seen, 1)
    compared = varied[:, :: -(-varied.shape[1] // COMPARED)]
    return {
        "compared": compared.shape[1],
        "trained": int(shown_again(compared, context.train_thumbnails).sum()),
        "linked": varied.shape[1],
        "pictures": groups(varied),
    }


def leakage(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Count test images that were trained on, and copies among the test images, whatever was done to them."""
    name, threshold = "split leakage", f"<= {LEAKED[0]:.0%} of the test images"
    hashes, found, n = measured.clean.hashes, measured.model_probes["copies"], measured.n
    if hashes is None:
        raise ContractError("The clean images' hashes are not among the stored answers, so leakage cannot be seen.")
    shared = int(torch.isin(hashes, measured.train_signatures.hashes).sum())
    share, alike = shared / n, found["trained"] / found["compared"]
    pictures = min(len(hashes.unique()), round(found["pictures"] / found["linked"] * n))
    status: Status = "invalid" if share > LEAKED[1] else "suspect" if share > LEAKED[0] else "pass"
    if status != "pass":
        meaning = (
            f"{shared} of {n} test images are in the training split, bit by bit: the defense was trained on "
            "what it is tested on. Make the splits disjoint."
        )
    elif alike > NEAR:
        status, share = "suspect", alike
        meaning = (
            f"{found['trained']} of {found['compared']} test images are in the training split too, but for brightness, "
            "contrast, a shift, a crop, a turn, a mirror or a negative: the defense was trained on copies of what it "
            "is tested on. Make the splits disjoint."
        )
    elif 1 - pictures / n > COPIES:
        status, share = "suspect", 1 - pictures / n
        meaning = (
            f"{share:.0%} of the test images are copies of others, bit by bit or but for brightness, contrast, a "
            f"shift, a crop, a turn, a mirror or a negative, so N is smaller than it looks: {pictures} different "
            f"pictures, not {n}. Remove them."
        )
    else:
        meaning = f"No test image was trained on, and hardly any is a copy of another: {pictures} different pictures."
    return check(name, status, share, threshold, n, meaning)
