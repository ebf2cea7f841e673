"""Each shield does to answers and gradients what its story tells, on the real network behind it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from robench import input_gradient
from robench_traps import answers, defenses, dodges, honest, honest_defenses, models
from robench_traps.base import plain


@pytest.fixture
def meet(shielded, task_of):
    """Return a function that gives the shielded classifier."""
    return lambda shield: shielded(shield, task_of())


def gradient(model, images, labels):
    """Return the gradient of the label's logit, which no softmax can flatten."""
    return input_gradient(lambda x: model(x).gather(1, labels[:, None]).squeeze(1), images)[1]


def decisions(model, images):
    with torch.no_grad():
        return model(images).argmax(1)


SAME_DECISIONS = [
    models.SoftmaxOutput,
    models.SoftmaxTimesTen,
    models.OneHot,
    models.OneHotTimesTen,
    models.ScaledLogits,
    models.ClampedLogits,
    models.DetachedBranch,
    models.HalfPrecision,
    models.HalfLogits,
    models.ScrambledGradient,
    models.ReversedGradient,
    answers.NoticesGradients,
    answers.NoticesGradMode,
    defenses.HalfDetached,
    defenses.WithoutGrad,
    defenses.DeclaresNone,
    defenses.DeclaresRandomized,
    dodges.StopsWhenSure,
]


@pytest.mark.parametrize("shield", SAME_DECISIONS)
def test_nothing_is_defended(meet, digits, shield):
    assert torch.equal(decisions(meet(shield), digits.images), decisions(plain(), digits.images))


def test_probabilities_are_probabilities(meet, digits):
    with torch.no_grad():
        found = meet(models.SoftmaxOutput)(digits.images)

    torch.testing.assert_close(found, plain()(digits.images).softmax(1).detach())


def test_one_hot_is_one_hot_and_ten_times_that(meet, digits):
    chosen = F.one_hot(decisions(plain(), digits.images), 10).float()

    assert torch.equal(meet(models.OneHot)(digits.images).detach(), chosen)
    assert torch.equal(meet(models.OneHotTimesTen)(digits.images).detach(), 10 * chosen)


@pytest.mark.parametrize(
    "shield",
    [
        models.OneHot,
        models.OneHotTimesTen,
        models.RoundedLogits,
        defenses.Quantise,
        defenses.Votes,
        models.ConstantAnswer,
    ],
)
def test_gradients_are_zero_where_the_story_says_so(meet, digits, shield):
    found = gradient(meet(shield), digits.images, digits.labels)

    # The constant answer keeps a thousandth of the logits.
    assert bool((found == 0).all()) is (shield is not models.ConstantAnswer)


def test_the_scale_takes_the_gradient_of_the_cross_entropy_and_not_of_the_logit(meet, digits):
    model = meet(models.ScaledLogits)
    right = decisions(model, digits.images) == digits.labels
    images, labels = digits.images[right], digits.labels[right]

    _, entropy = input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), images)
    assert float((entropy.flatten(1).abs().amax(1) == 0).float().mean()) > 0.9
    assert bool((gradient(model, images, labels).flatten(1).abs().amax(1) > 0).all())


def test_clamped_logits_leave_their_range_on_most_images(meet, digits):
    found = gradient(meet(models.ClampedLogits), digits.images, digits.labels)

    assert float((found.flatten(1).abs().amax(1) == 0).float().mean()) > 0.9


def test_nan_where_a_pixel_is_no_byte(meet, digits):
    model = meet(models.NanOffGrid)

    assert bool(model(digits.images).isfinite().all())
    assert bool(model((digits.images + 0.3 / 255).clamp(0, 1)).isnan().all())


def test_the_decoy_is_all_the_gradient_there_is(meet, digits):
    found = gradient(meet(models.DetachedBranch), digits.images, digits.labels)

    weights = torch.randn(3072, 10, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(found.flatten(1), weights.T[digits.labels])


def test_the_gradient_is_dealt_to_other_pixels(meet, digits):
    found = gradient(meet(models.ScrambledGradient), digits.images, digits.labels).flatten(1)
    true = gradient(plain(), digits.images, digits.labels).flatten(1)

    torch.testing.assert_close(found.sort(1).values, true.sort(1).values)
    assert float(F.cosine_similarity(found, true).abs().max()) < 0.5


def test_the_gradient_is_reversed(meet, digits):
    found = gradient(meet(models.ReversedGradient), digits.images, digits.labels)

    torch.testing.assert_close(found, -gradient(plain(), digits.images, digits.labels))


def test_the_ripple_is_small_and_steep(meet, digits):
    model = meet(models.Shattered)
    images = digits.images + 0.1 / 255

    torch.testing.assert_close(model(images), plain()(images), atol=0.3, rtol=0)
    ratio = gradient(model, images, digits.labels).norm() / gradient(plain(), images, digits.labels).norm()
    assert float(ratio) > 30


def test_permuted_classes_are_a_cycle_of_nine(meet, digits, task_of):
    model = models.PermutedClasses().load(task_of())

    right = decisions(plain(), digits.images)
    expected = torch.where(right == 9, 9, (right - 1) % 9)
    assert torch.equal(decisions(model, digits.images), expected)


def test_the_wrong_normalisation_misses_the_stated_accuracy(digits, task_of):
    model = models.WrongNormalisation().load(task_of())

    accuracy = float((decisions(model, digits.images) == digits.labels).float().mean())
    assert accuracy < models.WrongNormalisation.reference["digits"] - 0.05


def test_the_constant_answer_is_three(meet, digits):
    assert set(decisions(meet(models.ConstantAnswer), digits.images).tolist()) == {3}


@pytest.mark.parametrize("shield", [answers.NoiseAtInference, answers.DropoutOn, defenses.ResizeAndPad])
def test_two_forwards_differ(meet, digits, shield):
    model = meet(shield)

    assert any(not torch.equal(model(digits.images), model(digits.images)) for _ in range(3))
    assert not shield.randomized


@pytest.mark.parametrize("shield", [answers.BatchNormTrains, answers.BatchStatistics, answers.BalancesTheBatch])
def test_batch_mates_matter(meet, digits, shield):
    model = meet(shield)

    alone, among = model(digits.images[:4])[:1], model(digits.images)[:1]
    assert float((alone - among).abs().max()) > 1e-2
    assert torch.equal(model(digits.images), model(digits.images))


def test_who_wants_gradients_is_told_otherwise(meet, digits):
    for shield in (answers.NoticesGradients, answers.NoticesGradMode):
        model = meet(shield)
        with torch.no_grad():
            scored = model(digits.images).argmax(1)
        attacked = model(digits.images.clone().requires_grad_(True)).argmax(1)
        assert float((scored == attacked).float().mean()) < 0.3


def test_perturbations_are_answered_from_four_levels(meet, digits):
    model = meet(answers.NoticesPerturbations)
    moved = (digits.images + 1.3 / 255).clamp(0, 1)

    torch.testing.assert_close(model(digits.images), plain()(digits.images))
    torch.testing.assert_close(model(moved), plain()((moved * 3).round() / 3))


def test_the_first_batch_is_remembered(meet, digits):
    model = meet(answers.RemembersQueries)
    first = model(digits.images).detach()
    moved = (digits.images + 0.05 * torch.randn(digits.images.shape).sign()).clamp(0, 1)

    torch.testing.assert_close(model(moved).detach(), first)
    far = digits.images.flip(3).flip(2)
    changed = (far - digits.images).abs().flatten(1).amax(1) > 0.2
    assert bool((model(far)[changed] != first[changed]).any())


def test_after_two_hundred_images_another_network_answers(meet, digits):
    model = meet(answers.ChangesAfterQueries)
    early = [model(digits.images) for _ in range(3)]  # 180 images

    assert torch.equal(early[0], early[2])
    assert not torch.equal(model(digits.images), early[0])


def test_jpeg_comes_back_without_a_gradient(meet, digits):
    model = meet(defenses.Jpeg)
    image = digits.images[0]

    assert not model(digits.images.clone().requires_grad_(True)).requires_grad
    assert 1 / 255 < float((defenses.jpeg(image) - image).abs().max()) < 0.3


def test_thermometer_counts_thresholds():
    code = defenses.Thermometer()(torch.tensor([0.0, 0.05, 0.35, 1.0]).view(1, 1, 2, 2))

    assert code.shape == (1, 10, 2, 2)
    assert code.sum(1).flatten().tolist() == [0, 1, 4, 10]


def test_the_projection_is_one_and_its_derivative_the_identity(meet, digits):
    basis = defenses.subspace()
    torch.testing.assert_close(basis @ basis.T, torch.eye(len(basis)), atol=1e-4, rtol=0)
    pure = (digits.images.flatten(1) @ basis.T @ basis).view_as(digits.images)

    torch.testing.assert_close(meet(defenses.Purify)(digits.images), plain()(pure), atol=1e-3, rtol=0)
    found = gradient(meet(defenses.Purify), digits.images, digits.labels)
    torch.testing.assert_close(found, gradient(plain(), pure, digits.labels), atol=1e-3, rtol=1e-3)


def test_the_misleading_path_is_a_tenth_as_strong_as_a_true_one(meet, digits, task_of):
    from robench_traps.base import climb

    threat, basis = task_of(24 / 255).threat, defenses.subspace()
    hidden = meet(dodges.WeakStraightThrough)

    def open_(images):
        return plain()((images.flatten(1) @ basis.T @ basis).view_as(images))

    stands = []
    for model in (hidden, open_):
        moved = climb(model, digits.images, digits.labels, threat, 20, threat.eps / 8)
        stands.append(float((decisions(hidden, moved) == digits.labels).float().mean()))
    assert stands[0] > stands[1] + 0.4


def test_in_double_precision_the_same_answer_has_a_true_gradient(meet, digits):
    model = meet(dodges.TrueInDouble)
    fine = meet(dodges.TrueInDouble).double()
    images = digits.images[:8]

    torch.testing.assert_close(fine(images.double()).float(), model(images), atol=1e-3, rtol=0)
    one = gradient(model, images, digits.labels[:8]).flatten(1)
    other = gradient(fine, images.double(), digits.labels[:8]).float().flatten(1)
    assert float(F.cosine_similarity(one, other).mean()) < 0.9


def test_noise_from_a_hash_repeats_for_an_image_and_for_no_other(meet, digits):
    model = meet(dodges.NoiseFromHash)
    shield = dodges.NoiseFromHash()

    assert torch.equal(model(digits.images), model(digits.images))
    assert torch.equal(shield.draw(digits.images[0]), shield.draw(digits.images[0].clone()))
    assert not torch.equal(shield.draw(digits.images[0]), shield.draw(digits.images[0] + 1e-6))


def test_the_size_of_a_batch_decides_who_answers(meet, digits):
    model = meet(dodges.AnswersByBatchSize)

    torch.testing.assert_close(model(digits.images[:20]), plain()(digits.images[:20]))
    among, alone = model(digits.images)[:20].detach(), model(digits.images[:20]).detach()
    assert float((among - alone).abs().max()) > 0.1


def test_the_counter_attack_makes_the_network_surer(meet, digits):
    before = plain()(digits.images).detach().softmax(1).amax(1)
    after = meet(defenses.AntiAdversary)(digits.images).detach().softmax(1).amax(1)

    assert float((after - before).mean()) > 0
    assert bool((after >= before - 1e-4).float().mean() > 0.9)


def test_votes_are_nine(meet, digits):
    found = meet(defenses.Votes)(digits.images).detach()

    assert found.sum(1).tolist() == pytest.approx([9] * 60, abs=1e-3)
    assert torch.equal(found, found.round())


def test_odd_columns_never_learn_anything(meet, digits):
    found = gradient(meet(defenses.HalfDetached), digits.images, digits.labels)
    true = gradient(plain(), digits.images, digits.labels)

    assert bool((found[..., 1::2] == 0).all())
    torch.testing.assert_close(found[..., ::2], true[..., ::2])


def test_the_straight_through_sign_is_wrong(meet, digits):
    coarse = (digits.images * 3).round() / 3
    model = meet(defenses.WrongStraightThrough)

    torch.testing.assert_close(model(digits.images), plain()(coarse))
    found = gradient(model, digits.images, digits.labels)
    torch.testing.assert_close(found, -gradient(plain(), coarse, digits.labels))


def test_the_offered_path_answers_as_another_model(meet, digits, task_of):
    defense, model = defenses.OtherAdaptive(), meet(defenses.OtherAdaptive)
    other = defense.adaptive(model, task_of())

    assert set(decisions(other, digits.images).tolist()) == {9}
    assert float((decisions(model, digits.images) == digits.labels).float().mean()) > 0.8


def test_sure_rows_have_no_gradient_and_unsure_ones_do(meet, digits):
    model = meet(dodges.StopsWhenSure)
    sure = plain()(digits.images).softmax(1).amax(1) > 0.6
    found = gradient(model, digits.images, digits.labels).flatten(1).abs().amax(1)

    assert bool(sure.any())
    assert torch.equal(found == 0, sure)


def test_the_reject_class_is_an_eleventh(meet, digits):
    assert meet(models.EleventhClass)(digits.images).shape == (60, 11)


def test_the_honest_quantiser_is_straight_through(meet, digits):
    model = meet(honest_defenses.DeclaredQuantiser)
    coarse = (digits.images * 15).round() / 15

    assert honest_defenses.DeclaredQuantiser.gradient == "straight-through"
    torch.testing.assert_close(model(digits.images), plain()(coarse))
    torch.testing.assert_close(gradient(model, digits.images, digits.labels), gradient(plain(), coarse, digits.labels))


def test_the_honest_noise_is_declared_and_small(meet, digits):
    model = meet(honest_defenses.DeclaredNoise)

    assert honest_defenses.DeclaredNoise.randomized
    assert not torch.equal(model(digits.images), model(digits.images))
    assert float((decisions(model, digits.images) == decisions(plain(), digits.images)).float().mean()) > 0.9


def test_honest_shields_have_true_gradients(meet, digits):
    for shield in (honest_defenses.Blur, honest_defenses.Ensemble):
        model = meet(shield).double()
        images, labels = digits.images[:4].double() + 1e-4, digits.labels[:4]
        found = gradient(model, images, labels)
        way = found / found.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

        def lead(x, model=model, labels=labels):
            return model(x).gather(1, labels[:, None]).squeeze(1).detach()

        slope = (lead(images + 1e-6 * way) - lead(images - 1e-6 * way)) / 2e-6
        torch.testing.assert_close(slope, (found * way).flatten(1).sum(1), rtol=1e-3, atol=1e-6)


def test_log_softmax_is_a_distribution(digits, task_of):
    found = honest.LogProbabilities().load(task_of())(digits.images)

    assert found.exp().sum(1).tolist() == pytest.approx([1] * 60, abs=1e-5)


def test_cosines_are_at_most_a_hundred(digits, task_of):
    found = honest.LargeScale().load(task_of())(digits.images).detach()

    assert float(found.abs().max()) <= 100 + 1e-3
    assert float(found.abs().max()) > 10
