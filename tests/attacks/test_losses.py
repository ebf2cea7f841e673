"""The losses on logits worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from robench.attacks.losses import (
    check_loss,
    cross_entropy,
    dlr,
    evaluate,
    likeliest_wrong,
    margin,
    ranks_of,
    scaled_cross_entropy,
    targeted_dlr,
)
from robench.errors import SpecError

LOGITS = torch.tensor([[5.0, 3.0, 2.0, 1.0, 0.0], [1.0, 4.0, 2.0, 3.0, 0.0]])
LABELS = torch.tensor([0, 3])


def test_margin_is_positive_where_the_model_errs():
    assert margin(LOGITS, LABELS).tolist() == [-2.0, 1.0]


def test_dlr_by_hand():
    # -(5 - 3) / (5 - 2) and -(3 - 4) / (4 - 2)
    assert dlr(LOGITS, LABELS).tolist() == pytest.approx([-2 / 3, 1 / 2])


def test_targeted_dlr_by_hand():
    # -(5 - 1) / (5 - (2 + 1) / 2) and -(3 - 0) / (4 - (2 + 1) / 2)
    targets = torch.tensor([3, 4])
    assert targeted_dlr(LOGITS, LABELS, targets).tolist() == pytest.approx([-4 / 3.5, -3 / 2.5])


def test_cross_entropy_by_hand():
    logits = torch.tensor([[math.log(3.0), 0.0]])
    assert cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(math.log(4 / 3))


def test_scaled_cross_entropy_is_cross_entropy_while_the_softmax_is_soft():
    assert torch.equal(scaled_cross_entropy(LOGITS, LABELS), cross_entropy(LOGITS, LABELS))


def test_scaled_cross_entropy_of_saturated_logits_is_that_of_a_range_of_ten():
    torch.testing.assert_close(
        scaled_cross_entropy(LOGITS * 1e4, LABELS), cross_entropy(LOGITS * torch.tensor([[2.0], [2.5]]), LABELS)
    )


@pytest.mark.parametrize("loss", ["ce-scaled", "dlr", "dlr-targeted", "margin"])
def test_a_logit_scale_of_1e4_leaves_a_gradient_in_the_same_direction(loss):
    directions = []
    for scale in (2.5, 1e4):
        logits = LOGITS.clone().requires_grad_(True)
        value = evaluate(loss, logits * scale, LABELS, torch.tensor([1, 0])).sum()
        (gradient,) = torch.autograd.grad(value, logits)
        directions.append(gradient / gradient.norm(dim=1, keepdim=True))
    assert directions[1].isfinite().all()
    torch.testing.assert_close(directions[0], directions[1], atol=1e-4, rtol=0)


def test_a_logit_scale_of_1e4_leaves_plain_cross_entropy_none():
    logits = LOGITS[:1].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(logits * 1e4, LABELS[:1]).sum(), logits)
    assert not gradient.any()


@pytest.mark.parametrize("loss", ["ce", "ce-scaled", "dlr", "dlr-targeted", "margin"])
def test_equal_logits_give_finite_values_and_gradients(loss):
    logits = torch.zeros(1, 5, requires_grad=True)
    value = evaluate(loss, logits, torch.tensor([2]), torch.tensor([1]))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


def test_likeliest_wrong_classes_skip_the_label_wherever_it_stands():
    assert [likeliest_wrong(LOGITS, LABELS, rank).tolist() for rank in (1, 2, 3, 4)] == [[1, 1], [2, 2], [3, 0], [4, 4]]


@pytest.mark.parametrize(
    ("targets", "classes", "ranks"),
    [
        (9, 10, (1, 2, 3, 4, 5, 6, 7, 8, 9)),
        (9, 100, (1, 2, 3, 4, 5, 6, 7, 8, 9)),
        (9, 3, (1, 2)),
        (9, 2, (1,)),
        ((3,), 10, (3,)),
        ((3,), 3, ()),
    ],
)
def test_ranks(targets, classes, ranks):
    assert ranks_of(targets, classes) == ranks


@pytest.mark.parametrize(
    ("loss", "fewest"), [("ce", 2), ("ce-scaled", 2), ("margin", 2), ("dlr", 3), ("dlr-targeted", 4)]
)
def test_a_loss_that_needs_more_classes_is_refused_with_the_way_out(loss, fewest):
    check_loss(loss, fewest)
    with pytest.raises(SpecError) as raised:
        check_loss(loss, fewest - 1)
    assert str(raised.value) == (
        f"The loss '{loss}' is defined from {fewest} classes on, and this model has {fewest - 1}; choose the loss "
        "'margin', which needs 2 and is as indifferent to the scale of the logits."
    )
