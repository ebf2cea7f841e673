"""Radii as people write them, and the geometry of both balls, by hand and by hypothesis."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robench.contracts.threat_model import (
    BALL_TOLERANCE,
    ThreatModel,
    check_eps,
    format_eps,
    parse_eps,
    parse_number,
    radius_of,
)
from robench.errors import SpecError

LINF = ThreatModel("Linf", 0.1)
L2 = ThreatModel("L2", 0.5)
L1 = ThreatModel("L1", 0.5)
NORMS = ("Linf", "L2", "L1")


def images(*rows):
    """Return (N, 1, 1, D) images."""
    return torch.tensor(rows, dtype=torch.float32).view(len(rows), 1, 1, -1)


@st.composite
def balls(draw):
    """Draw a threat model, images in the box, and points anywhere."""
    threat = ThreatModel(draw(st.sampled_from(NORMS)), draw(st.floats(0, 1, width=32)))
    pixels = st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6)
    points = st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=6)
    shape = (2, 1, 1, 3)
    return threat, torch.tensor(draw(pixels)).view(shape), torch.tensor(draw(points)).view(shape)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        (" 8 / 255 ", 8 / 255),
        ("0.5/255", 0.5 / 255),
        ("0.03", 0.03),
        ("1e-3", 1e-3),
        ("0", 0.0),
        ("0/255", 0.0),
        ("1", 1.0),
        ("255/255", 1.0),
        (0.03, 0.03),
        (0, 0.0),
        (1, 1.0),
    ],
)
def test_eps_is_read_as_people_write_it(text, value):
    assert parse_eps(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8/0", "division by zero"),
        ("nan", "not a finite number"),
        (math.nan, "not a finite number"),
        ("inf", "not a finite number"),
        ("-inf", "not a finite number"),
        (math.inf, "not a finite number"),
        ("1e400", "not a finite number"),
        ("1e999999999", "not a finite number"),
        (10**400, "not a finite number"),
        ("1e400/3", "not a finite number"),
        (True, "a truth value is not a number"),
        ("", "could not convert string to float: ''"),
        ("large", "could not convert string to float: 'large'"),
        ("8/x", "could not convert string to float: 'x'"),
        ("8/", "could not convert string to float: ''"),
        ("8/255/2", "could not convert string to float: '255/2'"),
        ("8/inf", "not a finite number"),
        ("nan/255", "not a finite number"),
    ],
)
def test_eps_that_is_no_number_is_refused_with_its_reason(text, reason):
    with pytest.raises(SpecError) as raised:
        parse_eps(text)
    assert str(raised.value) == (
        f"eps '{text}' is not a number ({reason}). Write a fraction such as 8/255 or a decimal such as 0.03."
    )


@pytest.mark.parametrize("text", ["8", "8.0", 8, "16/2"])
def test_eps_in_grey_levels_is_refused_with_what_to_write(text):
    with pytest.raises(SpecError) as raised:
        parse_eps(text)
    assert str(raised.value) == (
        "eps 8 is larger than the whole pixel range: images are in [0, 1], so eps is too. "
        "For 8 grey levels of 255 write --eps 8/255."
    )


@pytest.mark.parametrize("norm", ["L2", "L1"])
def test_other_radii_than_linf_may_exceed_the_pixel_range(norm):
    assert parse_eps("8", norm) == 8.0


@pytest.mark.parametrize("norm", NORMS)
def test_a_negative_eps_is_no_radius(norm):
    with pytest.raises(SpecError) as raised:
        parse_eps("-0.1", norm)
    assert str(raised.value) == "eps -0.1 is not a radius; give a number of at least 0, such as 8/255."


@pytest.mark.parametrize("eps", [math.nan, math.inf])
def test_a_threat_model_checks_its_radius(eps):
    with pytest.raises(SpecError) as raised:
        ThreatModel("L2", eps)
    assert str(raised.value) == f"eps {eps} is not a radius; give a number of at least 0, such as 8/255."
    check_eps(1.0, "Linf")


def test_a_threat_model_checks_its_norm():
    with pytest.raises(SpecError) as raised:
        ThreatModel("L3", 0.1)
    assert str(raised.value) == "norm 'L3' is unknown; robench measures Linf, L2, L1, L0, patch and corruption."


def test_parse_number_takes_integers_as_floats():
    assert parse_number(3) == 3.0
    assert isinstance(parse_number(3), float)


@pytest.mark.parametrize(
    ("eps", "text"),
    [
        (8 / 255, "8/255"),
        (0.5 / 255, "0.5/255"),
        (1.25 / 255, "1.25/255"),
        (1.0, "1"),
        (0.5, "0.5"),
        (128 / 255, "128/255"),
        (0.03, "0.03"),
        (0.3, "0.3"),
        (1e-9, "1e-09"),
        (0.0, "0"),
        (0.123, "0.123"),
    ],
)
def test_eps_is_written_as_the_field_does(eps, text):
    assert format_eps(eps) == text


@pytest.mark.parametrize(
    ("eps", "norm", "text"),
    [
        (8 / 255, "Linf", "8/255"),
        (0.05, "Linf", "0.05"),
        (3.2684 / 255, "Linf", "3.268/255"),
        (0.5, "L2", "0.5"),
        (0.0313725, "L2", "0.0313725"),
        (12.0, "L1", "12"),
        (24.0, "L0", "24 px"),
        (17.6, "L0", "17.6 px"),
        (5.0, "patch", "5 px"),
        (3.0, "corruption", "severity 3"),
        (0.0, "L0", "0 px"),
    ],
)
def test_a_radius_says_what_it_counts(eps, norm, text):
    assert radius_of(eps, norm) == text


@given(st.integers(1, 255))
def test_grey_levels_survive_writing_and_reading(level):
    eps = level / 255
    assert format_eps(eps) == (f"{eps:g}" if level % 51 == 0 else f"{level}/255")
    assert parse_eps(format_eps(level / 255)) == level / 255


@given(st.floats(1e-12, 1))
def test_what_is_written_reads_back_to_six_digits(eps):
    assert parse_eps(format_eps(eps)) == pytest.approx(eps, rel=1e-5)


def test_a_threat_model_reads_as_one_line():
    assert str(ThreatModel()) == "Linf 8/255 white-box"
    assert str(ThreatModel("L2", 0.5, "transfer")) == "L2 0.5 transfer"
    assert str(ThreatModel("L0", 24, "black-box")) == "L0 24 px black-box"
    assert str(ThreatModel("corruption", 3)) == "corruption severity 3 white-box"


def test_distances_by_hand():
    clean, moved = images([0, 0, 0], [0.5, 0.5, 0.5]), images([0.3, -0.4, 0], [0.5, 0.5, 0.5])
    assert torch.allclose(LINF.distance(clean, moved), torch.tensor([0.4, 0.0]))
    assert torch.allclose(L2.distance(clean, moved), torch.tensor([0.5, 0.0]))
    assert torch.allclose(L1.distance(clean, moved), torch.tensor([0.7, 0.0]))


@pytest.mark.parametrize("size", [32, 224])
def test_the_length_of_many_equal_steps_is_exact(size):
    """Float32 sums 150,528 equal squares to a length 7e-5 too large, which would be outside the ball."""
    clean = torch.full((1, 3, size, size), 0.5)
    moved = L2.project(clean, clean + 0.5)
    exact = float((moved - clean).double().square().sum().sqrt())
    assert 0.5 - 1e-5 <= exact <= 0.5 + BALL_TOLERANCE
    assert float(L2.distance(clean, moved)) == pytest.approx(exact, abs=1e-7)


def test_the_distance_of_nan_is_nan():
    clean, moved = images([0.5, 0.5]), images([math.nan, 0.5])
    assert all(threat.distance(clean, moved).isnan().all() for threat in (LINF, L2, L1))


def test_linf_projection_by_hand():
    clean, moved = images([0.5, 0.05, 0.95, 0.5]), images([0.9, -0.3, 1.4, 0.55])
    assert torch.allclose(LINF.project(clean, moved), images([0.6, 0.0, 1.0, 0.55]))


def test_l2_projection_by_hand():
    clean = images([0.1, 0.1], [0.1, 0.1], [0.9, 0.1])
    moved = images([0.7, 0.9], [0.2, 0.2], [1.5, 0.9])
    # (0.6, 0.8) has length 1 and is halved; the second lies inside; the third is halved, then clamped.
    assert torch.allclose(L2.project(clean, moved), images([0.4, 0.5], [0.2, 0.2], [1.0, 0.5]))


@given(balls())
def test_projection_ends_in_ball_and_box_and_is_idempotent(drawn):
    threat, clean, moved = drawn
    inside = threat.project(clean, moved)
    assert bool((threat.distance(clean, inside) <= threat.eps + BALL_TOLERANCE).all())
    assert bool((inside >= 0).all())
    assert bool((inside <= 1).all())
    assert torch.allclose(threat.project(clean, inside), inside, rtol=0, atol=1e-6)
    assert torch.equal(threat.project(clean, clean), clean)


def test_l2_projection_of_a_large_image_is_not_undone_by_rounding():
    """4e-6 too long, each of 150,528 pixels would have to move by 5e-9, which float32 near 0.5 cannot say."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(64, 192, (2, 3, 224, 224), generator=generator) / 255
    unit = torch.randn(images.shape, generator=generator)
    eps = 0.5
    outside = images + eps * 1.000004 * unit / unit.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    threat = ThreatModel("L2", eps)
    assert threat.distance(images, outside).min() > eps + 1e-6

    projected = threat.project(images, outside)

    assert threat.distance(images, projected).max() <= eps + 5e-7
    assert threat.distance(images, projected).min() > eps - 5e-5
    assert (projected - outside).abs().max() < 1e-7
    assert torch.equal(threat.project(images, projected), projected)


@given(balls())
def test_linf_projection_is_the_nearest_point(drawn):
    threat, clean, moved = drawn
    threat = ThreatModel("Linf", threat.eps)
    low, high = (clean - threat.eps).clamp_min(0), (clean + threat.eps).clamp_max(1)
    assert torch.allclose(threat.project(clean, moved), moved.clamp(low, high), rtol=0, atol=1e-6)


def test_eps_zero_gives_back_the_image_itself():
    clean = torch.rand(2, 3, 4, 4)
    for norm in NORMS:
        assert torch.equal(ThreatModel(norm, 0.0).project(clean, torch.rand(2, 3, 4, 4)), clean)


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.1), ("L2", 0.5), ("L1", 2.0), ("L0", 3.0)])
def test_projection_and_distance_leave_alone_what_they_are_given(norm, eps):
    threat = ThreatModel(norm, eps)
    images, moved = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4) * 2 - 0.5
    for point in (moved, moved.contiguous(memory_format=torch.channels_last)):
        kept = images.clone(), point.clone()
        projected, _ = threat.project(images, point), threat.distance(images, point)
        assert torch.equal(images, kept[0])
        assert torch.equal(point, kept[1])
        assert norm == "L0" or projected.stride() == images.stride(), "another layout rounds otherwise in a model"


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.1), ("L2", 0.5)])
def test_projection_can_be_differentiated(norm, eps):
    threat = ThreatModel(norm, eps)
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    moved = (images + 0.3 * torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))).requires_grad_(True)

    def by_hand(point):
        delta = point - images
        if norm == "Linf":
            return (images + delta.clamp(-eps, eps)).clamp(0.0, 1.0)
        length = delta.flatten(1).double().norm(dim=1).to(delta).clamp_min(1e-12)
        return (images + delta * (eps / length).clamp_max(1.0).view(-1, 1, 1, 1)).clamp(0.0, 1.0)

    (found,) = torch.autograd.grad(threat.project(images, moved).square().sum(), moved)
    (expected,) = torch.autograd.grad(by_hand(moved).square().sum(), moved)
    assert torch.equal(found, expected)
    assert found.abs().sum() > 0


def test_projection_keeps_nan_visible():
    for threat in (LINF, L2, L1):
        assert threat.project(images([0.5, 0.5]), images([math.nan, 0.5])).isnan().any()


def test_steepest_directions_by_hand():
    gradient = images([3.0, -4.0, 0.0])
    assert torch.equal(LINF.steepest(gradient), images([1.0, -1.0, 0.0]))
    assert torch.allclose(L2.steepest(gradient), images([0.6, -0.8, 0.0]))
    assert torch.equal(L1.steepest(gradient), images([0.0, -1.0, 0.0]))


def test_a_zero_gradient_gives_a_zero_direction_and_no_nan():
    gradient = images([0.0, 0.0], [3.0, 4.0])
    assert torch.equal(LINF.steepest(gradient)[0], torch.zeros(1, 1, 2))
    assert torch.allclose(L2.steepest(gradient), images([0.0, 0.0], [0.6, 0.8]))
    assert torch.equal(L1.steepest(gradient), images([0.0, 0.0], [0.0, 1.0]))


@pytest.mark.parametrize(("norm", "size"), [("Linf", 0.5), ("L2", 0.5 / 12**0.5), ("L1", 0.5 / 12)])
def test_the_reach_is_what_all_coordinates_can_move_at_once(norm, size):
    threat, grey = ThreatModel(norm, 0.5), torch.full((1, 3, 2, 2), 0.5)
    assert threat.reach(12) == pytest.approx(size)
    assert threat.distance(grey, grey + threat.reach(12)).item() == pytest.approx(0.5)


def test_one_step_goes_as_far_as_a_linear_loss_rises():
    clean, gradient = images([0.5, 0.5, 0.5]), images([3.0, -4.0, 1.0])
    for threat in (LINF, L2):
        end = threat.project(clean, clean + threat.eps * threat.steepest(gradient))
        assert torch.equal(threat.one_step(clean, gradient), end)
    # The steepest coordinate goes to the edge of the box, and the next one gets what is left.
    assert torch.allclose(ThreatModel("L1", 0.7).one_step(clean, gradient), images([0.7, 0.0, 0.5]))


@pytest.mark.parametrize("size", [1e-40, 1e-25, 1e-13, 1.0, 1e25])
def test_the_l2_direction_has_length_one_however_small_the_gradient(size):
    gradient = images([3.0 * size, -4.0 * size])
    assert torch.allclose(L2.steepest(gradient), images([0.6, -0.8]), atol=1e-4)


def test_starts_fill_the_ball_as_said():
    clean, unit = images([0.5, 0.5], [0.0, 1.0]), images([1.0, -0.5], [-1.0, 1.0])
    assert torch.allclose(LINF.from_uniform(clean, unit), images([0.6, 0.45], [0.0, 1.0]))
    step = 0.5 / math.sqrt(2)
    assert torch.allclose(L2.from_uniform(clean, unit), images([0.5 + step, 0.5 - step / 2], [0.0, 1.0]))
    assert torch.allclose(L1.from_uniform(clean, unit), images([0.75, 0.375], [0.0, 1.0]))


@given(balls())
def test_starts_lie_in_ball_and_box(drawn):
    threat, clean, moved = drawn
    start = threat.from_uniform(clean, moved / 3)
    assert bool((threat.distance(clean, start) <= threat.eps + BALL_TOLERANCE).all())
    assert bool(((start >= 0) & (start <= 1)).all())


def test_an_empty_batch_stays_empty():
    empty = torch.empty(0, 3, 4, 4)
    for threat in (LINF, L2, L1):
        for made in (threat.project(empty, empty), threat.from_uniform(empty, empty)):
            assert made.shape == (0, 3, 4, 4)


def test_the_module_imports_no_torch():
    code = "import sys, robench.contracts.threat_model; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
