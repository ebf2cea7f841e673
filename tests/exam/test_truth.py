"""What the exam takes for true is held against other ways of knowing it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from torch import nn

from robench import Classifier, Task, ThreatModel
from robench.attacks.apgd import apgd
from robench.bounds.relu_chain import chain_of
from robench_exam.ground import PIXELS, SHAPE
from robench_exam.linear_maps import lowest
from robench_exam.mixed_integer import TIE, Program
from robench_exam.nearest_neighbour import CERTAIN, _l0
from robench_exam.polyhedra import LEAD, nearest, within
from robench_exam.ridges import HEIGHT, WAVES, _trough
from robench_exam.runner import ground_of
from robench_exam.subjects import SUBJECTS

#: Those whose truth takes less than a second; the mixed-integer ones are tried on a network of their own.
QUICK = [subject for subject in SUBJECTS if "integer" not in subject.truth and subject.name != "nearest-neighbour"]


@pytest.mark.parametrize("subject", QUICK, ids=lambda subject: subject.name)
def test_every_image_that_can_fall_comes_with_a_point_that_fools_the_model(subject):
    ground = ground_of(subject)
    with torch.no_grad():
        assert (ground.model(ground.images).argmax(1) == ground.labels).all()
        fooled = ground.model(ground.witnesses).argmax(1) != ground.labels
    assert (fooled == ground.vulnerable).all()
    assert (subject.threat.distance(ground.images, ground.witnesses) <= subject.threat.eps + 2e-6).all()
    assert ((ground.witnesses >= 0) & (ground.witnesses <= 1)).all()
    assert 0.2 < ground.vulnerable.float().mean() < 0.8


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_lowest_point_of_a_linear_function_is_scipys(norm):
    generator = np.random.default_rng(0)
    for eps in (0.05, 0.3, 0.9):
        direction, image = generator.standard_normal(6), generator.uniform(0, 1, 6)
        image[0], direction[5] = 0.0, 0.0
        found = lowest(direction, image, ThreatModel(norm, eps))
        if norm == "Linf":
            limits = np.stack([np.maximum(image - eps, 0), np.minimum(image + eps, 1)], 1)
            wanted = linprog(direction, bounds=limits).fun
        else:
            ball = {"type": "ineq", "fun": lambda z, image=image, eps=eps: eps**2 - ((z - image) ** 2).sum()}
            wanted = minimize(
                lambda z, direction=direction: direction @ z, image, bounds=[(0, 1)] * 6, constraints=[ball],
                options={"ftol": 1e-12, "maxiter": 500},
            ).fun  # fmt: skip
            assert np.linalg.norm(found - image) <= eps + 1e-12
        assert direction @ found == pytest.approx(wanted, abs=1e-6)
        assert ((found >= 0) & (found <= 1)).all()


def test_the_least_value_of_the_waves_is_that_of_a_fine_grid():
    generator = np.random.default_rng(1)
    for low in generator.uniform(-3, 2, 15):
        high = low + generator.uniform(0.01, 3)
        grid = np.linspace(low, high, 50_001)
        value, place = _trough(low, high)
        assert value == pytest.approx((grid + HEIGHT * np.sin(2 * np.pi * WAVES * grid)).min(), abs=1e-6)
        assert low <= place <= high


def test_the_nearest_point_of_a_polyhedron_is_scipys():
    generator = np.random.default_rng(2)
    for _ in range(20):
        point, rows = generator.uniform(0, 1, 5), generator.standard_normal((3, 5))
        bounds = rows @ generator.uniform(0, 1, 5)  # so that there is one
        wanted = minimize(
            lambda z, point=point: ((z - point) ** 2).sum(), np.full(5, 0.5), bounds=[(0, 1)] * 5,
            constraints=[{"type": "ineq", "fun": lambda z, rows=rows, bounds=bounds: rows @ z - bounds}],
            options={"ftol": 1e-14, "maxiter": 1000},
        )  # fmt: skip
        found = nearest(point, rows, bounds)
        assert np.linalg.norm(found - point) == pytest.approx(np.sqrt(wanted.fun), abs=1e-5)
        assert (rows @ found >= bounds - 1e-6).all()


def test_an_empty_polyhedron_has_no_nearest_point():
    assert nearest(np.array([0.5, 0.5]), np.array([[1.0, 0.0]]), np.array([1.5])) is None  # outside the box
    assert nearest(np.array([0.5, 0.5]), np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.8, -0.2])) is None


def test_a_lead_that_float32_could_not_tell_is_no_truth():
    """The half space z0 >= 0.6 is 0.1 away; all of it that leads by LEAD is 0.1 + LEAD away."""
    image, rows, bounds = np.array([0.5, 0.5]), np.array([[1.0, 0.0]]), np.array([0.6])
    assert within(image, rows, bounds, 0.2)[0] == pytest.approx(0.1 - LEAD)
    assert within(image, rows, bounds, 0.1 + LEAD / 2)[0] == 0
    assert within(image, rows, bounds, 0.05)[0] == pytest.approx(-0.05)
    assert within(image, np.zeros((1, 2)), np.array([1.0]), 0.2)[0] < 0


def test_the_mixed_integer_program_is_right_region_by_region():
    """With three hidden ReLUs there are eight linear regions: eight linear programs for each other class."""
    generator = torch.Generator().manual_seed(0)
    hidden, readout = nn.Linear(PIXELS, 3), nn.Linear(3, 3)
    for layer in (hidden, readout):
        layer.weight.data.normal_(generator=generator)
        layer.bias.data = -0.5 * layer.weight.data.sum(1)
    model = Classifier(nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), readout), 3).eval().requires_grad_(False)
    images = np.random.default_rng(3).uniform(0.3, 0.7, (12, PIXELS)).astype(np.float32).astype(np.float64)
    seen = set()
    for image, eps in zip(images, np.linspace(0.001, 0.04, 12), strict=True):
        program = Program(chain_of(model), image, ThreatModel("Linf", float(eps)))
        label = int(program.logits.argmax())
        lead, point = program.lead(label)
        wanted = _by_regions(hidden, readout, image, label, float(eps))
        assert (lead > 0) == (wanted >= TIE)
        if lead > 0:
            answers = model(torch.from_numpy(point).float().view(1, *SHAPE))
            assert int(answers.argmax()) != label
            assert lead <= wanted + 1e-3  # the program reaches as far as the harness forgives: 1e-6 beyond eps
        seen.add(lead > 0)
    assert seen == {True, False}


def _by_regions(hidden, readout, image, label, eps):
    weight, bias, out, offset = (
        part.detach().double().numpy() for part in (hidden.weight, hidden.bias, readout.weight, readout.bias)
    )
    limits = np.stack([np.maximum(image - eps, 0), np.minimum(image + eps, 1)], 1)
    leads = []
    for signs in itertools.product([-1.0, 1.0], repeat=3):
        signs = np.array(signs)
        for other in {0, 1, 2} - {label}:
            gate = (out[other] - out[label]) * (signs > 0)
            done = linprog(-(gate @ weight), -signs[:, None] * weight, signs * bias, bounds=limits)
            if done.status == 0:
                leads.append(-done.fun + gate @ bias + offset[other] - offset[label])
    return max(leads)


@pytest.mark.parametrize(("norm", "eps"), [("L0", 2), ("L0", 5), ("patch", 2), ("patch", 3)])
def test_the_lowest_point_of_few_pixels_is_the_best_of_all_choices(norm, eps):
    """Every set of pixels, or every square, of an image that is flat but for nine pixels is tried."""
    generator = np.random.default_rng(4)
    direction, image = np.zeros(SHAPE), generator.uniform(0, 1, SHAPE)
    direction[:, 2:5, 3:6] = generator.standard_normal((3, 3, 3))
    found = lowest(direction.ravel(), image.ravel(), ThreatModel(norm, eps)).reshape(SHAPE)
    corner = (direction < 0).astype(float)
    gains = (direction * (image - corner)).sum(0)
    if norm == "L0":
        wanted = max(sum(chosen) for chosen in itertools.combinations(gains[2:5, 3:6].ravel(), eps))
    else:
        places = itertools.product(range(9 - eps), repeat=2)
        wanted = max(gains[top : top + eps, left : left + eps].sum() for top, left in places)

    assert (direction * (image - found)).sum() == pytest.approx(wanted)
    assert ThreatModel(norm, eps).distance(*(torch.from_numpy(one)[None] for one in (image, found))) <= eps


def test_the_program_that_chooses_pixels_is_right_for_every_choice():
    """Two own prototypes and one other, which differ in six pixels of one channel: every pair of these is tried."""
    generator = np.random.default_rng(6)
    for _ in range(4):
        image, rows = generator.uniform(0.2, 0.8, PIXELS), np.zeros((2, PIXELS))
        rows[:, :6] = generator.standard_normal((2, 6))
        constants = -rows @ image - generator.uniform(0, 0.8, 2)
        wanted = -np.inf
        for pair in itertools.combinations(range(6), 2):
            limits = [(0, 1) if place in pair else (image[place],) * 2 for place in range(6)]
            done = linprog(
                [0] * 6 + [-1], np.column_stack([-rows[:, :6], np.ones(2)]), constants + rows[:, 6:] @ image[6:],
                bounds=[*limits, (None, None)],
            )  # fmt: skip
            wanted = max(wanted, -done.fun)
        lead, point = _l0(image, rows, constants, 2)
        if wanted > -CERTAIN:
            assert lead == pytest.approx(wanted, abs=1e-6)
            assert (np.abs(point - image).reshape(3, -1).max(0) > 0).sum() <= 2
        else:
            assert lead < 0


def test_no_perturbation_of_the_ball_beats_the_one_for_all_images():
    subject = next(one for one in SUBJECTS if one.name == "two-halves")
    ground = ground_of(subject)
    inside = (ground.witnesses > 0) & (ground.witnesses < 1)
    change = (ground.witnesses - ground.images)[ground.vulnerable]
    # But for the box the same one fells all that can fall, and APGD for each image fells no more.
    assert ((change.abs() - 4 / 255).abs() < 1e-6)[inside[ground.vulnerable]].all()
    assert set(ground.labels[ground.vulnerable].tolist()) == {0, 1}
    task = Task(
        classes=("0", "1", "2"), shape=SHAPE, indices=range(len(ground.labels)), threat_model=subject.threat
    )  # fmt: skip
    moved = apgd(ground.model, ground.images, ground.labels, task, loss="margin", steps=40)
    assert torch.equal(ground.model(moved).argmax(1) != ground.labels, ground.vulnerable)
