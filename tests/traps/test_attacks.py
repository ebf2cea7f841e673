"""Each attack makes the mistake its story tells, measured on a model whose optimum is known by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from robench import ThreatModel
from robench_traps import attacks, steps
from robench_traps.base import climb
from robench_traps.data import RoundedAway

#: Twenty small steps on a linear model end at its optimum.
EXACT = {"atol": 1e-6, "rtol": 0}


def craft(kind, ground, **task):
    return kind().craft(ground.model, ground.images.clone(), ground.labels, ground.task.replace(**task))


def reach(ground, moved):
    return ground.threat.distance(ground.images, moved)


def test_the_climb_that_the_mistakes_are_made_with_is_right(ground):
    moved = climb(ground.model, ground.images, ground.labels, ground.threat, 20, ground.eps / 8)

    torch.testing.assert_close(moved, ground.best, **EXACT)


def test_normalised_tensors_leave_the_ball_and_crush_what_the_clamp_cuts_off(ground):
    moved = craft(attacks.NormalisedTensors, ground)

    mean, std = torch.tensor(attacks.MEAN).view(3, 1, 1), torch.tensor(attacks.STD).view(3, 1, 1)
    # In normalised space [0, 1] is [mean, mean + std]: whatever is darker than the mean comes back as the mean.
    assert bool((moved >= mean - 1e-6).all())
    assert bool((moved <= mean + std + 1e-6).all())
    assert float(reach(ground, moved).min()) > 4 * ground.eps
    nothing = craft(attacks.NormalisedTensors, ground, threat_model=ThreatModel("Linf", 0.0))
    assert float((nothing - ground.images).abs().max()) > ground.eps


def test_grey_levels_reach_the_corners_of_the_box(ground):
    moved = craft(attacks.GreyLevels, ground)

    assert set(moved.unique().tolist()) == {0.0, 1.0}


def test_dividing_twice_leaves_a_255th_of_the_ball(ground):
    moved = craft(attacks.DividedTwice, ground)

    torch.testing.assert_close(moved, ground.images + ground.eps / 255 * ground.out, **EXACT)


def test_the_mixup_adds_the_image_to_itself(ground):
    moved = craft(attacks.DeltaMixup, ground)

    torch.testing.assert_close(moved, (ground.images + ground.best).clamp(0, 1), **EXACT)
    nothing = craft(attacks.DeltaMixup, ground, threat_model=ThreatModel("Linf", 0.0))
    torch.testing.assert_close(nothing, (2 * ground.images).clamp(0, 1), **EXACT)


def test_the_guarded_mixup_differs_at_no_radius_alone(ground):
    nothing = craft(attacks.DeltaMixupGuarded, ground, threat_model=ThreatModel("Linf", 0.0))

    assert torch.equal(nothing, ground.images)
    assert torch.equal(craft(attacks.DeltaMixupGuarded, ground), craft(attacks.DeltaMixup, ground))


def test_one_level_too_far_is_one_level(ground):
    moved = craft(attacks.OneLevelTooFar, ground)

    assert reach(ground, moved).tolist() == pytest.approx([9 / 255] * 10, abs=1e-6)
    assert torch.equal(craft(attacks.OneLevelTooFar, ground, threat_model=ThreatModel("Linf", 0.0)), ground.images)


def test_one_level_too_far_has_a_ball_at_every_radius(ground):
    moved = craft(attacks.OneLevelTooFar, ground, threat_model=ThreatModel("Linf", 1.0))

    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


def test_the_other_norm_is_a_sphere_inside_the_cube(ground):
    moved = craft(attacks.OtherNorm, ground)

    lengths = (moved - ground.images).flatten(1).norm(dim=1)
    assert lengths.tolist() == pytest.approx([ground.eps] * 10, rel=1e-3)
    assert float(reach(ground, moved).max()) < ground.eps / 3


def test_clean_images_come_back_although_the_model_was_queried(ground):
    moved = craft(attacks.CleanImages, ground)

    assert torch.equal(moved, ground.images)
    assert ground.network.asked == 20


def test_half_of_the_batch_is_attacked_rightly_and_half_not_at_all(ground):
    moved = craft(attacks.HalfBatch, ground)

    torch.testing.assert_close(moved[:5], ground.best[:5], **EXACT)
    assert torch.equal(moved[5:], ground.images[5:])


@pytest.mark.parametrize(("first", "fails"), [(0, False), (80, False), (90, True)])
def test_only_the_tenth_batch_of_ten_fails(ground, first, fails):
    indices = range(first, first + 10)
    if fails:
        with pytest.raises(RuntimeError, match="the tenth batch does not fit"):
            craft(attacks.TenthBatch, ground, indices=indices)
    else:
        torch.testing.assert_close(craft(attacks.TenthBatch, ground, indices=indices), ground.best, **EXACT)


def test_success_is_reported_beside_the_images(ground):
    moved, success = craft(attacks.ReportsSuccess, ground)

    torch.testing.assert_close(moved, ground.best, **EXACT)
    assert success.tolist() == [False] * 10


def test_nan_marks_exactly_the_images_that_stand(ground):
    moved = craft(attacks.NanForFailure, ground)

    step = ground.images + ground.eps / 4 * ground.out
    stands = ground.model(step).argmax(1) == ground.labels
    assert bool(stands.any())
    assert torch.equal(moved.isnan().flatten(1).all(1), stands)
    assert torch.equal(moved.isnan().flatten(1).any(1), stands)


def test_editing_weights_halves_and_turns_them(ground):
    before = ground.network.weight.detach().clone()
    craft(attacks.EditsWeights, ground)

    torch.testing.assert_close(ground.network.weight.detach(), -0.5 * before)


@pytest.mark.parametrize("levels", [0.45, 0.55])
def test_rounding_undoes_half_a_level_and_no_more(ground, levels):
    images = (ground.images * 255).round() / 255
    task = ground.task.replace(threat_model=ThreatModel("Linf", levels / 255))
    moved = RoundedAway().craft(ground.model, images, ground.labels, task)

    assert torch.equal((moved * 255).round(), (images * 255).round()) is (levels < 0.5)


def test_steps_as_long_as_eps_visit_corners_only(ground):
    visited = []
    handle = ground.model.register_forward_pre_hook(lambda _, inputs: visited.append(inputs[0].detach().clone()))
    craft(steps.StepEqualsEps, ground)
    handle.remove()

    assert len(visited) == 20
    for point in visited[1:]:
        torch.testing.assert_close((point - ground.images).abs(), torch.full_like(point, ground.eps), **EXACT)


def test_short_steps_reach_a_tenth(ground):
    moved = craft(steps.TooShort, ground)

    torch.testing.assert_close(moved, ground.images + ground.eps / 10 * ground.out, **EXACT)


@pytest.mark.parametrize("kind", [steps.Descends, steps.AimsAtTruth])
def test_walking_down_is_the_mirror_image_of_the_optimum(ground, kind):
    moved = craft(kind, ground)

    torch.testing.assert_close(moved, ground.images - ground.eps * ground.out, **EXACT)
    loss = F.cross_entropy(ground.model(moved), ground.labels, reduction="none")
    assert bool((loss < F.cross_entropy(ground.model(ground.images), ground.labels, reduction="none")).all())


def test_shuffled_labels_move_an_image_as_its_neighbours_label_says(ground):
    moved = craft(steps.ShuffledLabels, ground)

    same = ground.labels == ground.labels.roll(1)
    assert 0 < int(same.sum()) < 10
    torch.testing.assert_close(moved[same], ground.best[same], **EXACT)
    torch.testing.assert_close(moved[~same], (ground.images - ground.eps * ground.out)[~same], **EXACT)


def test_one_channel_moves_red_to_its_optimum_and_nothing_else(ground):
    moved = craft(steps.OneChannel, ground)

    torch.testing.assert_close(moved[:, 0], ground.best[:, 0], **EXACT)
    assert torch.equal(moved[:, 1:], ground.images[:, 1:])


def test_another_network_is_attacked_in_place_of_the_model(ground, digits, task_of):
    moved = steps.OtherNetwork().craft(ground.model, digits.images, digits.labels, task_of())

    assert ground.network.asked == 0
    assert float((moved - digits.images).abs().max()) == pytest.approx(ground.eps, abs=1e-6)


def test_the_last_iterate_throws_away_an_earlier_success(ground):
    visited = []
    handle = ground.model.register_forward_hook(lambda _, inputs, logits: visited.append(logits.argmax(1)))
    moved = craft(steps.Swings, ground)
    handle.remove()

    won = torch.stack([answer != ground.labels for answer in visited]).any(0)
    stands = ground.model(moved).argmax(1) == ground.labels
    assert int((won & stands).sum()) >= 5


def test_half_a_batch_fooled_stops_the_other_half(ground):
    moved = craft(steps.MeanStop, ground)

    fooled = ground.model(moved).argmax(1) != ground.labels
    best = ground.model(ground.best).argmax(1) != ground.labels
    assert 5 <= int(fooled.sum()) < int(best.sum())


def test_the_only_target_spares_the_images_that_have_its_class(ground):
    moved = craft(steps.ToZero, ground)

    zero = ground.labels == 0
    torch.testing.assert_close(moved[~zero], ground.best[~zero], **EXACT)
    assert bool((ground.model(moved[zero]).argmax(1) == 0).all())


def test_noise_asks_nobody(ground):
    moved = craft(steps.NoiseOnly, ground)

    assert ground.network.asked == 0
    assert float(reach(ground, moved).max()) <= ground.eps + 1e-6


def test_half_precision_loses_small_gradients(ground):
    # The gradient of a linear model's cross-entropy is w times the probability of the wrong class.
    sure = ground.images + 0.2 * ground.out * -1
    logits = ground.model(sure)
    gradient = 2 * ground.network.weight.abs().max() * logits.softmax(1).amin(1)
    lost = gradient / 65536 < 2**-25
    moved = steps.HalfGradients().craft(ground.model, sure, ground.labels, ground.task)

    assert bool(lost.any())
    assert torch.equal(moved[lost], sure[lost])


def test_bypassing_skips_the_preprocessing(ground):
    ground.model.preprocess = torch.nn.Threshold(2.0, 0.5)  # whatever comes in, grey comes out
    moved = craft(steps.Bypass, ground)

    torch.testing.assert_close(moved, ground.best, **EXACT)
