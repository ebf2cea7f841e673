"""Each loss, each training attack and one update, held against the papers' equations written out in numpy."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from robench import Batch, Classifier, Examples, SpecError, Task, ThreatModel, ZeroShotClassifier
from robench_builtins.defenses.fare import Fare
from robench_builtins.defenses.fgsm_at import FgsmAT
from robench_builtins.defenses.gaussian import Gaussian
from robench_builtins.defenses.pgd_at import PgdAT
from robench_builtins.defenses.pmg_aft import PmgAFT
from robench_builtins.defenses.shared.divergence_objectives import ascend, divergence
from robench_builtins.defenses.trades import TradesAT

N, CLASSES, PIXELS, EPS = 6, 3, 12, 0.1
TASK = Task(classes=("a", "b", "c"), shape=(3, 2, 2), seed=3)
#: One plain step: theta - 0.5 (gradient + 0.01 theta).
STEP = {"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.01, "schedule": "constant", "eps": EPS}
rng = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 1, 0, 2])
ONE_HOT = np.eye(CLASSES)[LABELS]


@pytest.fixture
def batch():
    images = torch.rand(N, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(images, torch.from_numpy(LABELS), list(range(10, 10 + N)))


@pytest.fixture
def linear():
    """Return f(x) = W x + b in float64."""
    layer = torch.nn.Linear(PIXELS, CLASSES).double()
    layer.weight.data = torch.from_numpy(np.random.default_rng(2).normal(size=(CLASSES, PIXELS)))
    layer.bias.data = torch.from_numpy(np.random.default_rng(3).normal(size=CLASSES))
    return Classifier(torch.nn.Sequential(torch.nn.Flatten(), layer), CLASSES).eval()


@pytest.fixture
def clip():
    """Return phi(x) = W x, of 4 features, in float64."""
    layer = torch.nn.Linear(PIXELS, 4, bias=False).double()
    layer.weight.data = torch.from_numpy(np.random.default_rng(4).normal(size=(4, PIXELS)))
    texts = torch.from_numpy(np.random.default_rng(5).normal(size=(CLASSES, 4)))
    tower = torch.nn.Sequential(torch.nn.Flatten(), layer)
    return ZeroShotClassifier(tower, texts, 10.0, torch.nn.Identity()).double().eval()


def training(defense, model, batch):
    """Return the loop, ready for its first update."""
    examples = Examples.from_tensors(batch.images.float(), batch.labels)
    model.requires_grad_(True)
    return defense.loop(model, examples, TASK)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(1)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def flat(images):
    return images.detach().numpy().reshape(len(images), -1)


def weights(linear):
    return [value.detach().numpy().copy() for value in linear.network[1].parameters()]


def clipped(moved, x):
    return np.clip(np.clip(moved - x, -EPS, EPS) + x, 0, 1)


def test_one_update_of_fgsm_at_is_algorithm_3(linear, batch):
    weight, bias = weights(linear)
    x, start = flat(batch.images), flat(TASK.replace(indices=batch.indices).uniform(batch.images, "start", 0))
    first = clipped(x + EPS * start, x)
    gradient = (softmax(first @ weight.T + bias) - ONE_HOT) @ weight
    adversarial = clipped(first + 1.25 * EPS * np.sign(gradient), x)

    loop = training(FgsmAT(**STEP), linear, batch)
    images = loop.objective.craft(batch, TASK)
    np.testing.assert_allclose(flat(images), adversarial, rtol=0, atol=1e-15)

    answers = softmax(adversarial @ weight.T + bias)
    loss, right = loop._update(images, batch, 0)
    assert loss.item() == pytest.approx(-np.log(answers[range(N), LABELS]).mean(), rel=1e-12)
    assert right.item() == (answers.argmax(1) == LABELS).sum()
    error = (answers - ONE_HOT) / N
    new_weight, new_bias = weights(linear)
    np.testing.assert_allclose(new_weight, weight - 0.5 * (error.T @ adversarial + 0.01 * weight), rtol=1e-12)
    np.testing.assert_allclose(new_bias, bias - 0.5 * (error.sum(0) + 0.01 * bias), rtol=1e-12)


def test_pgd_at_takes_the_authors_ten_steps_of_two_grey_levels():
    assert PgdAT().step() == pytest.approx(2 / 255)
    assert FgsmAT().step() == pytest.approx(10 / 255)
    assert TradesAT().step() == 0.007
    assert FgsmAT(step_size=0.5).step() == 0.5


def test_a_step_is_that_of_pgd_where_none_is_given(linear, batch):
    for steps, step in ((1, 2.5), (2, 0.75), (5, 0.5)):
        objective = training(PgdAT(eps=EPS, attack_steps=steps), linear, batch).objective
        assert objective.attack.step_size == pytest.approx(step * EPS)
        assert objective.attack._alpha(EPS) == PgdAT(eps=EPS, attack_steps=steps).step()


def test_divergence_is_kl_by_hand():
    p, q = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.5, 0.25]])
    # 0.5 log 2 + 0.25 log 0.5 = 0.25 log 2, whatever is added to the logits.
    assert divergence(q.log() + 7, p.log() - 2).item() == pytest.approx(0.25 * np.log(2), rel=1e-6)
    assert divergence(p.log(), p.log()).item() == 0
    logits, aims = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    torch_own = torch.nn.functional.kl_div(logits.log_softmax(1), aims.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(divergence(logits, aims), torch_own)


def test_one_update_of_trades_is_algorithm_1(linear, batch):
    weight, bias = weights(linear)
    x = flat(batch.images)
    loop = training(TradesAT(beta=6.0, attack_steps=1, step_size=0.03, **STEP), linear, batch)
    images = loop.objective.craft(batch, TASK)

    p = softmax(x @ weight.T + bias)
    noise = flat(TASK.replace(indices=batch.indices).normal(batch.images, "start"))
    start = clipped(x + 1e-3 * noise, x)
    climbing = (softmax(start @ weight.T + bias) - p) @ weight  # d KL(p || q) / d x' = (q - p) W
    adversarial = clipped(start + 0.03 * np.sign(climbing), x)
    np.testing.assert_allclose(flat(images), adversarial, rtol=0, atol=1e-15)

    q = softmax(adversarial @ weight.T + bias)
    loss, _ = loop._update(images, batch, 0)
    expected = -np.log(p[range(N), LABELS]).mean() + 6 * kl(p, q).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    clean_error = (p - ONE_HOT + 6 * p * (np.log(p / q) - kl(p, q)[:, None])) / N
    moved_error = 6 * (q - p) / N
    gradient = clean_error.T @ x + moved_error.T @ adversarial
    np.testing.assert_allclose(weights(linear)[0], weight - 0.5 * (gradient + 0.01 * weight), rtol=1e-11)


def test_trades_on_unmoved_images_is_the_clean_cross_entropy(linear, batch):
    objective = TradesAT(beta=6.0).objective(linear, TASK)
    loss, _ = objective.loss(batch.images, batch)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(linear(batch.images), batch.labels).item())


def test_one_update_of_fare_is_equation_3(clip, batch):
    weight = weights(clip)[0]
    other = weight + 0.1 * np.random.default_rng(6).normal(size=weight.shape)
    x = flat(batch.images)
    defense = Fare(attack_steps=1, step_size=0.03, **STEP)
    loop = training(defense, clip, batch)
    clip.network[1].weight.data = torch.from_numpy(other.copy())  # as if it had been trained for a while
    images = loop.objective.craft(batch, TASK)

    first = clipped(x + EPS * flat(TASK.replace(indices=batch.indices).uniform(batch.images, "start")), x)
    climbing = 2 * (first @ other.T - x @ weight.T) @ other
    adversarial = clipped(first + 0.03 * np.sign(climbing), x)
    np.testing.assert_allclose(flat(images), adversarial, rtol=0, atol=1e-15)

    distance = adversarial @ other.T - x @ weight.T
    loss, _ = loop._update(images, batch, 0)
    assert loss.item() == pytest.approx((distance**2).sum(1).mean(), rel=1e-12)
    gradient = 2 * distance.T @ adversarial / N
    np.testing.assert_allclose(weights(clip)[0], other - 0.5 * (gradient + 0.01 * other), rtol=1e-12)


def test_fare_is_zero_without_a_perturbation(clip, batch):
    objective = Fare().objective(clip, TASK)
    loss, cosines = objective.loss(batch.images, batch)
    assert loss.item() == 0
    torch.testing.assert_close(cosines, clip.similarities(batch.images))
    still = Fare(eps=0.0).objective(clip, TASK).craft(batch, TASK)
    assert torch.equal(still, batch.images)


def test_fare_asks_for_no_labels(clip, batch):
    objective = Fare(eps=EPS).objective(clip, TASK)
    unlabelled = batch._replace(labels=torch.full_like(batch.labels, -1))
    assert torch.equal(objective.craft(batch, TASK), objective.craft(unlabelled, TASK))
    assert objective.loss(batch.images, unlabelled)[0].item() == 0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_one_update_of_pmg_aft_is_its_loss_written_out(clip, batch, reduction):
    original = weights(clip)[0]
    weight = original + 0.1 * np.random.default_rng(7).normal(size=original.shape)
    defense = PmgAFT(guide=0.7, keep=0.3, reduction=reduction, temperature=0.5, attack_steps=2, step_size=0.03, **STEP)
    loop = training(defense, clip, batch)
    clip.network[1].weight.data = torch.from_numpy(weight.copy())  # as if it had been trained for a while
    with loop.objective.running():
        images = loop.objective.craft(batch, TASK)
    texts = clip.text_features.numpy()

    def answers(rows, tower):
        return softmax(unit(rows @ tower.T) @ texts.T / 0.5)

    def written_out(tower):
        moved = answers(flat(images), tower)
        guide, clean = answers(flat(images), original), answers(flat(batch.images), tower)
        apart = 0.7 * kl(guide, moved) + 0.3 * kl(clean, moved)
        return -np.log(moved[range(N), LABELS]).mean() + getattr(apart, reduction)()

    loss, _ = loop._update(images, batch, 0)
    assert loss.item() == pytest.approx(written_out(weight), rel=1e-12)
    gradient = np.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        shift = np.zeros_like(weight)
        shift[place] = 1e-6
        gradient[place] = (written_out(weight + shift) - written_out(weight - shift)) / 2e-6
    np.testing.assert_allclose(weights(clip)[0], weight - 0.5 * (gradient + 0.01 * weight), rtol=0, atol=1e-8)


def test_pmg_aft_climbs_the_cross_entropy_at_its_temperature(clip, batch):
    objective = PmgAFT(eps=EPS, temperature=0.5).objective(clip, TASK)
    with objective.running():
        assert clip.logit_scale == 2.0
    assert clip.logit_scale == 10.0
    assert PmgAFT(temperature=None).objective(clip, TASK).temperature == 0.1


def test_before_any_update_pmg_aft_is_the_cross_entropy_on_clean_images(clip, batch):
    objective = PmgAFT(temperature=None).objective(clip, TASK)
    loss, logits = objective.loss(batch.images, batch)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(clip(batch.images), batch.labels).item())
    torch.testing.assert_close(logits, clip(batch.images))


def test_the_originals_of_fare_and_pmg_aft_are_not_trained(clip, batch):
    for defense in (Fare(**STEP), PmgAFT(**STEP)):
        loop = training(defense, clip, batch)
        kept = copy.deepcopy(loop.objective.original.state_dict())
        loop._update(loop.objective.craft(batch, TASK), batch, 0)
        now = loop.objective.original.state_dict()
        assert all(torch.equal(kept[name], now[name]) for name in kept)
        assert loop.objective.original.network is not clip.network


# Shared pieces


def test_ascent_stays_in_ball_and_box_and_climbs(batch):
    aim = torch.zeros_like(batch.images)
    moved = ascend(lambda x: (x - aim).square().flatten(1).sum(1), batch.images, batch.images, PgdAT(eps=EPS))
    torch.testing.assert_close(moved, (batch.images + EPS).clamp(0, 1))
    assert not moved.requires_grad


def test_gaussian_noise_has_its_deviation_and_stays_in_the_box(linear):
    grey = torch.full((50, 3, 2, 2), 0.5)
    batch = Batch(grey, torch.zeros(50, dtype=torch.long), list(range(50)))
    images = Gaussian(sigma=0.1).objective(linear, TASK).craft(batch, TASK)
    assert (images - grey).std().item() == pytest.approx(0.1, rel=0.1)
    loud = Gaussian(sigma=2.0).objective(linear, TASK).craft(batch, TASK)
    assert (loud.min().item(), loud.max().item()) == (0.0, 1.0)
    other = Gaussian(sigma=0.1).objective(linear, TASK).craft(batch, TASK.fork("epoch", 1))
    assert not torch.equal(images, other)


@pytest.mark.parametrize("mix", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("kind", [PgdAT, FgsmAT, Gaussian])
def test_a_mix_leaves_whole_images_clean_and_blends_none(linear, kind, mix):
    images = torch.full((8, 3, 2, 2), 0.5, dtype=torch.float64)
    batch = Batch(images, torch.zeros(8, dtype=torch.long), list(range(8)))
    learnt = kind(mix=mix).objective(linear, TASK).craft(batch, TASK)
    moved = (learnt != images).flatten(1).any(1)
    assert moved.tolist() == [place >= 8 * mix for place in range(8)]
    if kind is not Gaussian and mix < 1:
        # Half a blend would be half the radius.
        assert ThreatModel("Linf").distance(images, learnt)[moved].min().item() == pytest.approx(8 / 255)
    whole = kind().objective(linear, TASK).craft(batch, TASK)
    assert torch.equal(learnt[moved], whole[moved])


def test_what_is_no_clip_is_refused_by_those_that_need_one(linear):
    way_out = "choose a zero-shot victim, such as tiny-clip, or the defense 'none'."
    with pytest.raises(SpecError) as error:
        Fare().wrap(linear, TASK)
    assert str(error.value) == f"fare moves the image features of a CLIP, and this victim is none; {way_out}"
    with pytest.raises(SpecError) as error:
        PmgAFT().wrap(linear, TASK)
    assert str(error.value) == (
        f"pmg-aft compares images with class texts, and this victim has none (it is no CLIP); {way_out}"
    )
