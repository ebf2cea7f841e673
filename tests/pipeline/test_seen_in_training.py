"""What leakage needs of the training images is taken while they are trained on, and is what a pass of its own gives."""

from __future__ import annotations

import pytest
import torch

from robench import Examples
from robench.evidence.image_signatures import KnownSignatures, image_hashes, signatures
from robench.evidence.store import Store

from ..grey import grey

__all__ = ["grey"]


@pytest.fixture
def counted():
    """Return examples of six drawn images, and the rows that were decoded."""
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    decoded = []

    def fetch(rows):
        decoded.extend(rows)
        return images[list(rows)]

    return Examples(torch.arange(6), (3, 8, 8), fetch, lambda rows: b""), decoded


def test_what_is_decoded_is_told_with_its_place(counted):
    served, _ = counted
    part, told = served[[4, 1, 3]], []
    watched = part.watched(lambda places, images: told.append((places, images.clone())))
    list(watched[1:].batches(2))
    list(watched.sample(2, 0).batches(9))
    assert told[0][0] == [1, 2]
    assert sorted(told[1][0]) == told[1][0]
    for places, images in told:
        assert torch.equal(images, part[places].images())
    list(part.batches(3))
    assert len(told) == 2


def test_signatures_are_taken_once_an_image_whatever_the_order(counted):
    served, _ = counted
    expected = signatures(batch.images for batch in served.batches(6))
    known = KnownSignatures(6)
    for places in ([5, 0], [0, 3, 5], [3]):
        found = known.of(served[places].images() / 255, places)
        assert torch.equal(found.hashes, expected.hashes[places])
    assert known.missing() == [1, 2, 4]
    known.of(served[[1, 2, 4]].images() / 255, [1, 2, 4])
    assert torch.equal(known.all().hashes, expected.hashes)
    assert torch.equal(known.all().thumbnails, expected.thumbnails)


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_fit_decodes_no_image_more_than_it_trains_on(grey, monkeypatch, epochs):
    decoded, load = [], grey.Greys.load

    def counting(self, split):
        served = load(self, split)
        if split != "train":
            return served

        def seen(places, images):
            decoded.extend(places)

        return served.watched(seen)

    monkeypatch.setattr(grey.Greys, "load", counting)
    *_, card = grey.run(defense=[f"scale[epochs={epochs}]"], gate="quick")
    served = load(grey.Greys(), "train")
    expected = torch.cat([image_hashes(batch.images) for batch in served.batches(40)])
    kept = [Store(grey.store).get("prints", path.name).tensors() for path in (grey.store / "prints").glob("*/*")]
    assert sorted(len(one["hashes"]) for one in kept) == [0, 40]  # of the undefended victim none
    assert any(torch.equal(one["hashes"], expected) for one in kept)
    # Each epoch's 40, and two on which the harness looks at the answers after the fit.
    assert len(decoded) == epochs * 40 + 2
    assert card.training.history
