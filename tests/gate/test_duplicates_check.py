"""The sentence and the status of the check on copies, from counts known by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from robench.gate.duplicates import leakage


def judged(n, *, trained=0, surely_trained=0, pictures=None, surely_pictures=None):
    """Return the check of ``n`` test images of which so many were found."""
    pictures = n if pictures is None else pictures
    copies = {
        "compared": n,
        "trained": trained,
        "surely_trained": surely_trained,
        "linked": n,
        "pictures": pictures,
        "surely_pictures": n if surely_pictures is None else surely_pictures,
    }
    measured = SimpleNamespace(
        n=n,
        clean=SimpleNamespace(hashes=torch.arange(n)),
        model_probes={"copies": copies},
        train_signatures=SimpleNamespace(hashes=torch.empty(0, dtype=torch.int64)),
    )
    return leakage(measured, [])


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ({"trained": 1}, "pass"),
        ({"trained": 11}, "skipped"),  # of 100, above 10 %, and perhaps by chance
        ({"trained": 18}, "suspect"),
        ({"trained": 11, "surely_trained": 11}, "suspect"),
        ({"pictures": 95}, "pass"),
        ({"pictures": 93}, "skipped"),
        ({"pictures": 88}, "suspect"),
        ({"pictures": 94, "surely_pictures": 94}, "suspect"),
    ],
)
def test_what_looks_alike_needs_the_interval_and_what_is_the_same_does_not(found, status):
    assert judged(100, **found).status == status


def test_one_of_a_few_images_that_look_alike_accuses_nobody():
    check = judged(12, pictures=11)

    assert (check.status, check.value) == ("skipped", pytest.approx(1 / 12))
    assert check.meaning.startswith("Not enough images: 1 of 12 are more than 5%, but on so few that may be chance.")


def test_the_sentences_name_what_a_copy_may_have_undergone():
    edits = "brightness, contrast, noise, a shift, a crop, a turn, a tilt, a mirror or a negative"

    assert f"30 of 100 test images are in the training split too, but for {edits}:" in judged(100, trained=30).meaning
    assert (
        f"bit by bit or but for {edits}, so N is smaller than it looks: 20 different"
        in judged(100, pictures=20).meaning
    )
