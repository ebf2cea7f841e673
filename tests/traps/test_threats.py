"""The traps in L0, under patches, of one perturbation and of corruptions do what their stories tell."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from robench import Examples, ThreatModel
from robench_traps import corrupted, few_pixels, one_for_all, squares
from robench_traps.base import plain

from .conftest import right


def crafted(attack, ground, norm, eps, **more):
    """Return what an attack makes of the linear model's images, and the threat model."""
    threat = ThreatModel(norm, float(eps))
    task = ground.task.replace(threat_model=threat, **more)
    return attack.craft(ground.model, ground.images, ground.labels, task), threat


@pytest.fixture(scope="module")
def still():
    """Return images of which no attack stops early: a linear model of two classes that nothing turns."""
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(2, 3 * 8 * 8, generator=generator)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    model[1].weight.data, model[1].bias.data = weight / 100, torch.tensor([9.0, 0.0])
    images = 0.3 + 0.4 * torch.rand(4, 3, 8, 8, generator=generator)
    return SimpleNamespace(model=model.requires_grad_(False), images=images, labels=torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize(
    ("attack", "spent"),
    [(few_pixels.FewPixels, 8), (few_pixels.AQuarterOfThePixels, 2), (few_pixels.TwiceThePixels, 16)],
)
def test_so_many_pixels_are_spent(ground, still, attack, spent):
    ground.model, ground.images, ground.labels = still.model, still.images, still.labels
    moved, threat = crafted(attack(), ground, "L0", 8)

    assert threat.distance(still.images, moved).tolist() == [spent] * 4


def test_one_channel_and_pale_pixels_are_no_more(ground, still):
    ground.model, ground.images, ground.labels = still.model, still.images, still.labels
    red, _ = crafted(few_pixels.OneChannelOfPixels(), ground, "L0", 8)
    pale, _ = crafted(few_pixels.PalePixels(), ground, "L0", 8)

    assert torch.equal(red[:, 1:], still.images[:, 1:])
    assert float((pale - still.images).abs().max()) == pytest.approx(32 / 255, abs=1e-6)


@pytest.mark.parametrize(
    ("attack", "side"),
    [
        (squares.AtOnePlace, 4), (squares.InTheCorner, 4), (squares.HalfTheSide, 2), (squares.WithinLevels, 4),
        (squares.OneShortStep, 4), (squares.GreySquare, 4),
    ],
)  # fmt: skip
def test_the_square_has_this_side(ground, still, attack, side):
    ground.model, ground.images, ground.labels = still.model, still.images, still.labels
    moved, threat = crafted(attack(), ground, "patch", 4)

    assert threat.distance(still.images, moved).tolist() == [side] * 4
    changed = (moved != still.images).any(1)
    assert bool(changed[:, :4, :4].all()) == (attack is squares.InTheCorner)


def test_two_squares_are_no_patch(ground, still):
    ground.model, ground.images, ground.labels = still.model, still.images, still.labels
    moved, threat = crafted(squares.TwoSquares(), ground, "patch", 3)

    assert float(threat.distance(still.images, moved).max()) > 3


def test_what_the_corner_hides_falls_elsewhere(shielded, task_of, digits):
    model, images, labels = shielded(squares.MasksTheCorner, task_of()), digits.images, digits.labels
    task = task_of().replace(threat_model=ThreatModel("patch", 5.0))
    claimed = right(model, squares.InTheCorner().craft(model, images, labels, task), labels)
    found = right(model, squares.AtOnePlace().craft(model, images, labels, task), labels)

    assert claimed > 50
    assert found < claimed / 2


def test_one_perturbation_is_one_and_the_others_are_not(ground):
    train = Examples.from_tensors(ground.images.repeat(13, 1, 1, 1), ground.labels.repeat(13))

    def added(attack):
        return crafted(attack(), ground, "Linf", 0.1, training_images=lambda: train)[0] - ground.images

    for attack in (one_for_all.ForAll, one_for_all.DrawnOnce, one_for_all.OfATenth):
        assert float(added(attack).std(0).max()) < 1e-6
    assert float(added(one_for_all.OfATenth).abs().max()) == pytest.approx(0.01, abs=1e-6)
    assert float(added(one_for_all.OneForEach).std(0).max()) > 0.05  # two classes, pulled apart


def test_corruptions_are_those_of_the_benchmark_and_the_wrong_ones_milder(ground):
    ground.images = (ground.images * 255).round() / 255

    def made(attack, severity=5):
        return crafted(attack(), ground, "corruption", severity)[0] - ground.images

    assert float(made(corrupted.OwnCorruption, 3).std()) == pytest.approx(0.18, abs=0.01)
    lost = made(corrupted.OwnContrast).flatten(1).norm(dim=1)
    one = made(corrupted.OwnContrast, 1).flatten(1).norm(dim=1)
    assert torch.allclose(lost / one, torch.tensor(0.95 / 0.6), atol=0.02)
    assert torch.equal(made(corrupted.LeftAtOne), made(corrupted.OwnContrast, 1))
    assert made(corrupted.EverySecond).flatten(1).any(1).tolist() == [True, False] * 5
    named = crafted(corrupted.CountedOften(kind="fog"), ground, "corruption", 5)[0] - ground.images
    assert torch.equal(named, made(corrupted.OwnContrast))


def test_of_ten_draws_the_mildest_is_kept(digits, task_of):
    task = task_of().replace(threat_model=ThreatModel("corruption", 5.0), indices=range(60))
    images, labels = digits.images, digits.labels
    drawn, chosen = (
        right(plain(), attack().craft(plain(), images, labels, task), labels)
        for attack in (corrupted.OwnCorruption, corrupted.MildestDraw)
    )

    assert chosen > drawn + 5


def test_the_files_are_known_and_other_corrupted_digits_are_not(shielded, task_of, digits):
    defense = corrupted.KnowsTheFiles()
    model = shielded(corrupted.KnowsTheFiles, task_of())
    defense.fit(model, None, task_of())
    task = task_of().replace(threat_model=ThreatModel("corruption", 5.0), indices=range(60))
    val = next(validation().batches(60))
    files = corrupted.OwnContrast().craft(model, digits.images, digits.labels, task)
    others = corrupted.OwnContrast().craft(model, val.images, val.labels, task)

    assert right(model, files, digits.labels) > 55
    assert right(model, others, val.labels) < 30


def validation():
    from robench_builtins.datasets.digits import Digits

    return Digits().load("val")
