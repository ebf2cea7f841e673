"""The smallest radius that fells each image of the grey benchmark, which is (0.5 + d) / 255 by hand."""

from __future__ import annotations

import pytest
import torch

from robench.api import spec_from
from robench.pipeline.critical_radius import security_curve
from robench.pipeline.workbench import Options, Workbench
from robench.plan.spec import plan

from ..grey import OFFSETS, attack

TRUTH = [(0.5 + d) / 255 for d in [*OFFSETS, *OFFSETS]]


@pytest.fixture
def measure(grey, catalog_of):
    """Return a function that gives the curve of a request, and the images that its attack was handed by then."""

    def curve(*more, width=None, **request):
        cards = {card.id: card for card in grey.run(*more, **request)}
        cells = plan(spec_from(**{"attack": "steps", **request}), "cpu", catalog_of(*more))
        workbench = Workbench(Options(store=grey.store, device="cpu"), "cpu")
        return security_curve([(cell, cards[cell.score_id]) for cell in cells], workbench, width)

    return curve


def test_the_curve_is_that_known_by_hand(measure, grey):
    curve = measure(eps=["4/255", "8/255", "16/255"])

    assert [curve.standing(eps / 255) for eps in (4, 8, 16)] == [grey.survivors[k] for k in (4, 8, 16)]
    assert [curve.missed(eps / 255) for eps in (4, 8, 16)] == [0, 0, 0]
    assert [curve.fell(d) for d in (0, 4, 15, 19)] == [4 / 255, 8 / 255, 16 / 255, float("inf")]
    assert curve.distance(4) == pytest.approx(8 / 255)
    assert [curve.fell(wrong) for wrong in range(40, 44)] == [0.0] * 4


def test_bisection_brackets_the_truth_of_every_image_that_falls(measure):
    curve = measure(eps=["3.7/255", "15.41/255"], width=0.3 / 255)

    for image, truth in enumerate(TRUTH):
        if truth > 15.41 / 255:
            assert curve.upper(image) == float("inf")
        else:
            assert curve.held(image) < truth < curve.upper(image) + 1e-7
            assert curve.upper(image) - curve.held(image) <= 0.3 / 255


def test_each_image_is_attacked_as_it_would_be_among_all(measure, grey):
    def by_number(model, images, labels, task):
        share = torch.tensor([(number % 3) / 2 for number in task.indices]).view(-1, 1, 1, 1)
        sign = torch.where(labels == 0, -1.0, 1.0).view(-1, 1, 1, 1)
        return (images + share * task.threat.eps * sign).clamp(0, 1)

    made = attack("by-number", by_number)
    curve = measure(made, attack="by-number", eps="16/255", width=4 / 255)
    (card,) = grey.run(made, attack="by-number", eps="8/255")

    tried = curve.stood[8 / 255]
    assert {*tried.values()} == {True, False}
    assert tried == {row: card.robust.mask()[row] for row in tried}


def test_nothing_is_attacked_twice(measure, grey):
    measure(eps="16/255", width=1 / 255)
    before = sum(network.forwards for network in grey.Mean.calls)
    loaded = len(grey.Mean.calls)
    measure(eps="16/255", width=1 / 255)

    asked = sum(network.forwards for network in grey.Mean.calls[:loaded])
    assert asked == before
    # Another instance is loaded and its inference graph prepared; it answers no attack.
    assert sum(network.forwards for network in grey.Mean.calls[loaded:]) <= 2 * 8


def test_a_radius_that_was_measured_whole_is_read(measure, grey):
    grey.run(eps="8/255")
    curve = measure(eps="16/255", width=8.1 / 255)
    loaded = len(grey.Mean.calls)
    again = measure(eps="16/255", width=8.1 / 255)

    assert curve.stood[8 / 255] == again.stood[8 / 255]
    assert len(grey.Mean.calls) == loaded
