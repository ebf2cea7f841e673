"""The traps and controls of this round do what their stories tell, and what is true of them is found."""

from __future__ import annotations

import pytest
import torch

from robench import ThreatModel
from robench.evidence.image_signatures import thumbnails
from robench.evidence.near_duplicates import groups, shown_again, varied_thumbnails
from robench_builtins.datasets.digits import Digits
from robench_traps import honest_models, routes, selection, weak_steps
from robench_traps.base import ascent, climb, lead, learn, mlp, plain, seeded

from .conftest import right

BALL = ThreatModel("Linf", 8 / 255)


def slope(model, images):
    images = images.clone().requires_grad_(True)
    return torch.autograd.grad(model(images)[:, 0].sum(), images)[0]


def test_bytes_within_seven_levels_fell_what_fractions_leave(shielded, task_of, digits):
    model = shielded(routes.BytesOtherwise, task_of())
    way = ascent(plain(), digits.images, digits.labels).sign()
    bytes_of = ((digits.images * 255 + 7 * way).round() / 255).clamp(0, 1)

    assert float((bytes_of - digits.images).abs().max()) < 7.5 / 255
    assert right(model, bytes_of, digits.labels) == right(plain(), bytes_of, digits.labels) < 20
    assert right(model, (digits.images + 7.3 / 255 * way).clamp(0, 1), digits.labels) > 50


def test_steps_that_heed_the_variation_fell_what_the_router_protects(shielded, task_of, digits):
    model, images, labels = shielded(routes.VariationRouter, task_of()), digits.images, digits.labels
    claimed = right(model, climb(model, images, labels, BALL, 20, BALL.eps / 8), labels)
    iterate, stands = images, torch.ones(len(images), dtype=torch.bool)
    for _ in range(40):
        points = iterate.requires_grad_(True)
        logits = plain()(points)
        excess = (routes.variation(points) - 0.98 * routes.usual_variation()).clamp_min(0)
        (gradient,) = torch.autograd.grad((-lead(logits, labels) - 3e4 * excess).sum(), points)
        iterate = BALL.project(images, iterate.detach() + BALL.eps / 8 * gradient.sign())
        with torch.no_grad():
            stands &= model(iterate).argmax(1) == labels

    assert claimed > 15
    assert int(stands.sum()) < claimed / 2


@pytest.mark.parametrize("shield", [routes.ByBatchSize, routes.FirstRows])
def test_the_gradient_is_true_of_few_images_alone(shielded, task_of, digits, shield):
    model, true = shielded(shield, task_of()), slope(plain(), digits.images)

    assert torch.allclose(slope(model, digits.images[:16]), true[:16], atol=1e-5)
    assert not torch.allclose(slope(model, digits.images)[20:], true[20:], atol=1e-5)
    assert torch.equal(model(digits.images).argmax(1), plain()(digits.images).argmax(1))


def test_what_the_clip_leaves_are_a_thousandth(shielded, task_of, digits):
    found = slope(shielded(routes.ClippedGradient, task_of()), digits.images)

    assert int((found != 0).flatten(1).sum(1).max()) == 5


def test_the_growing_memory_gives_the_first_answer_again(shielded, task_of, digits):
    model, images, labels = shielded(routes.RemembersSmoothly, task_of()), digits.images, digits.labels
    moved = climb(plain(), images, labels, BALL, 20, BALL.eps / 8)
    right(model, images, labels)

    assert right(model, moved, labels) > 50  # near what it has seen
    assert right(shielded(routes.RemembersSmoothly, task_of()), moved, labels) < 5  # asked cold


def test_both_splits_are_learnt(shielded, task_of):
    trap = selection.FittedOnBoth()
    model = shielded(selection.FittedOnBoth, task_of())
    trap.fit(model, Digits().load("train"), task_of())
    moved_one, stand = {}, {}
    for split in ("test", "val"):
        images, labels, _ = next(Digits().load(split).batches(30))
        stand[split] = right(model, climb(model, images, labels, BALL, 10, 1 / 255), labels)
        shifted = torch.nn.functional.pad(images, (1, 0, 1, 0), mode="replicate")[:, :, :-1, :-1]
        moved_one[split] = right(model, BALL.one_step(shifted, ascent(model, shifted, labels)), labels)

    assert min(stand.values()) > 25
    assert max(moved_one.values()) < 20


def test_the_easiest_sixty_are_chosen_by_the_victim():
    served, everything = selection.EasyImages().load("test"), Digits().load("test")
    ball, found = selection.HARD, []
    for examples in (served, everything):
        images, labels, _ = next(examples.batches(60))
        found.append(right(plain(), climb(plain(), images, labels, ball, 10, ball.eps / 4), labels))

    assert len(served) == 60
    assert found[0] > 55
    assert found[1] < 30


def test_copies_that_are_turned_or_inverted_are_found_and_digits_are_not():
    test, train = Digits().load("test"), Digits().load("train")
    varied = varied_thumbnails(next(test.batches(200)).images)
    known = thumbnails(next(train.batches(len(train))).images)
    for part in (selection.TurnedInTrain, selection.InvertedInTrain):
        added = part().load("train").images()[len(train) : len(train) + 200].float() / 255
        assert int(shown_again(varied, thumbnails(added), surely=True).sum()) >= 198
    assert int(shown_again(varied, known, surely=True).sum()) == 0
    assert groups(varied) == 200
    assert groups(varied_thumbnails(next(selection.TurnedCopiesInTest().load("test").batches(100)).images)) == 25


def test_the_norm_of_the_batch_leaves_each_image_a_share(ground):
    threat = ThreatModel("L2", 1.0)
    moved = weak_steps.NormOverTheBatch().craft(
        ground.model, ground.images, ground.labels, ground.task.replace(threat_model=threat)
    )
    lengths = (moved - ground.images).flatten(1).norm(dim=1)

    assert float(lengths.square().sum().sqrt()) == pytest.approx(1.0, abs=1e-4)
    assert float(lengths.max()) < 0.5


def test_sign_steps_in_l1_move_every_value(ground):
    threat = ThreatModel("L1", 1.0)
    task = ground.task.replace(threat_model=threat)
    moved = weak_steps.SignStepsInL1().craft(ground.model, ground.images, ground.labels, task)

    assert int((moved != ground.images).flatten(1).sum(1).min()) > 150  # where APGD moves a handful
    assert float(threat.distance(ground.images, moved).max()) <= 1 + 1e-4


def test_twenty_steps_that_do_not_add_up_go_as_far_as_one(ground):
    moved = weak_steps.ForgetsToAccumulate().craft(ground.model, ground.images, ground.labels, ground.task)

    torch.testing.assert_close(moved, ground.images + ground.eps / 8 * ground.out, atol=1e-6, rtol=0)


def test_the_sure_ones_come_back_as_they_were(ground):
    sure = ground.images + 0.2 * ground.out * -1
    moved = weak_steps.SkipsTheHard().craft(ground.model, sure, ground.labels, ground.task)

    assert torch.equal(moved, sure)


def test_rounding_undoes_seven_levels_of_every_coarse_digit(shielded, task_of):
    model = shielded(honest_models.UndoneByRounding, task_of(7 / 255))
    images, labels, _ = next(honest_models.Coarse().load("test").batches(60))
    noise = 7 / 255 * torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).sub(0.5).sign()

    torch.testing.assert_close(model((images + noise).clamp(0, 1)), model(images))
    assert right(model, images, labels) > 55


def test_of_a_linear_map_the_worst_margin_is_known(digits):
    network, eps = honest_models.linear(), 4 / 255
    images, labels = digits.images, digits.labels
    moved = climb(network, images, labels, ThreatModel("Linf", eps), 40, eps / 8)
    weight = torch.nn.functional.interpolate(network[2].weight.view(10, 3, 8, 8), (32, 32)).flatten(1) / 16
    with torch.no_grad():
        logits = network(images)
        gap = logits.gather(1, labels[:, None]) - logits  # (N, 10), unconstrained by the box
        reach = eps * (weight[labels][:, None] - weight[None]).abs().sum(2)
    held = (gap - reach > 0) | (torch.arange(10)[None] == labels[:, None])

    assert right(network, moved, labels) >= int(held.all(1).sum())  # what is certified stands
    assert int(held.all(1).sum()) > 40


def test_the_nearest_prototype_answers(digits):
    model = honest_models.Prototypes()
    known = model.get_buffer("known")

    assert right(model, digits.images, digits.labels) > 50
    nearest = torch.cdist(digits.images.flatten(1), known).amin(1)
    torch.testing.assert_close(model(digits.images).amax(1), -(nearest**2) / 30, atol=1e-3, rtol=1e-3)


def test_a_network_may_be_trained_when_it_is_first_asked_where_nobody_records():
    network = seeded(mlp)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with torch.no_grad():
        learn(network, Digits().load("train")[:64], epochs=1)

    assert not torch.equal(before[0], next(network.parameters()))
