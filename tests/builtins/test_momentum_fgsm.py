"""MI, NI, DI, TI and VMI-FGSM against the papers' equations in float64, by hand, and against torchattacks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage, stats
from torch import nn

from robench import Classifier, SpecError, Task, ThreatModel
from robench.contracts.parameters import parameters_of, resolve
from robench.evidence.meter import Meter
from robench_builtins.attacks.di_fgsm import DIFGSM
from robench_builtins.attacks.fgsm import FGSM
from robench_builtins.attacks.mi_fgsm import MIFGSM
from robench_builtins.attacks.ni_fgsm import NIFGSM
from robench_builtins.attacks.shared.momentum_fgsm import normalised
from robench_builtins.attacks.shared.transfer_transforms import resized_and_padded, smooth
from robench_builtins.attacks.ti_fgsm import TIFGSM
from robench_builtins.attacks.vmi_fgsm import VMIFGSM

SHAPE = (3, 8, 8)
SIZE = 192
KINDS = [DIFGSM, MIFGSM, NIFGSM, TIFGSM, VMIFGSM]
EVERYTHING = {"nesterov": True, "scales": 2, "diversity": 0.5, "kernel": 3, "neighbours": 2, "decay": 0.7}


class Curved(nn.Module):
    """Score class 0 by s = w.z + z.(d * z) / 2, z = x - 0.5, and class 1 by -s: the gradient turns on the way."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.register_buffer("w", torch.randn(SIZE, generator=generator) / 10)
        self.register_buffer("d", torch.randn(SIZE, generator=generator) * 3)

    def forward(self, images):
        z = images.flatten(1) - 0.5
        score = z @ self.w + (z * z) @ self.d / 2
        return torch.stack([score, -score], 1)

    def slope(self, x):
        """Return the gradient of the cross-entropy to class 0, log(1 + exp(-2 s)), in numpy."""
        w, d, z = self.w.double().numpy(), self.d.double().numpy(), x.reshape(len(x), -1) - 0.5
        score = z @ w + (z * z) @ d / 2
        return (-2 / (1 + np.exp(2 * score))[:, None] * (w + d * z)).reshape(x.shape)


def frozen(network, classes=2):
    return Classifier(network, classes).eval().requires_grad_(False)


def small_net(shape=SHAPE, sharpness=20.0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(shape[0], 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 16, 3), nn.GELU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip
    model = frozen(network, 10)
    network[-1].weight.data *= sharpness
    network[-1].bias.data -= model(pixels(48, shape)).mean(0)  # so that every class has its share of the images
    return model


def pixels(count, shape=SHAPE, seed=1):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def task(eps=8 / 255, norm="Linf", classes=10, shape=SHAPE, **fields):
    return Task(classes=("c",) * classes, shape=shape, threat_model=ThreatModel(norm, eps), **fields)


def contest(count=24, shape=SHAPE):
    model, images = small_net(shape), pixels(count, shape)
    return model, images, model(images).argmax(1)


# --- the papers' equations ----------------------------------------------------------------------------------


def project(x, moved, eps, norm):
    delta = moved - x
    if norm == "Linf":
        delta = np.clip(delta, -eps, eps)
    else:
        size = np.sqrt((delta**2).sum((1, 2, 3), keepdims=True))
        delta = delta * np.minimum(1, eps / size)
    return np.clip(x + delta, 0, 1)


def equations(x, slope, job, *, steps, decay=1.0, nesterov=False, scales=1, neighbours=0, beta=1.5, kernel=1):
    """Return the last iterate of the papers' recursions, in float64, given the loss's slope."""
    threat = job.threat
    alpha, reach = threat.eps / steps, beta * threat.eps / (1 if threat.norm == "Linf" else SIZE**0.5)
    bell = stats.norm.pdf(np.linspace(-3, 3, kernel)) if kernel > 1 else np.ones(1)
    window = (np.outer(bell, bell) / np.outer(bell, bell).sum())[None, None]
    here, m, v = x, np.zeros_like(x), np.zeros_like(x)

    def gradient(at):
        return sum(slope(at / 2**copy) / 2**copy for copy in range(scales)) / scales

    for step in range(steps):
        at = here + alpha * decay * m if nesterov else here
        g = gradient(at)
        tuned = ndimage.convolve(g + v, window, mode="constant")
        m = decay * m + tuned / np.abs(tuned).mean((1, 2, 3), keepdims=True)
        if neighbours:
            like = torch.from_numpy(here)
            draws = [job.uniform(like, "neighbour", step, number).numpy() for number in range(neighbours)]
            v = sum(gradient(here + reach * draw) for draw in draws) / neighbours - g
        direction = np.sign(m) if threat.norm == "Linf" else m / np.sqrt((m**2).sum((1, 2, 3), keepdims=True))
        here = project(x, here + alpha * direction, threat.eps, threat.norm)
    return here


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize(
    ("attack", "given"),
    [
        (MIFGSM(), {}),
        (MIFGSM(decay=0.4, steps=5), {"decay": 0.4, "steps": 5}),
        (NIFGSM(), {"nesterov": True}),
        (NIFGSM(scales=5), {"nesterov": True, "scales": 5}),
        (TIFGSM(), {"decay": 0.0, "kernel": 15}),
        (TIFGSM(kernel=5, decay=1.0), {"kernel": 5}),
        (VMIFGSM(), {"neighbours": 20}),
        (VMIFGSM(nesterov=True, neighbours=3, beta=2.0), {"nesterov": True, "neighbours": 3, "beta": 2.0}),
        (VMIFGSM(neighbours=2, kernel=3, scales=2), {"neighbours": 2, "kernel": 3, "scales": 2}),
        (DIFGSM(diversity=0.0), {"decay": 0.0}),
    ],
    ids=["mi", "mi decay", "ni", "si-ni", "ti", "ti-mi", "vmi", "vni", "vmi-ti-si", "di without"],
)
def test_the_last_iterate_is_that_of_the_papers_equations(attack, given, norm):
    network = Curved().double()
    x, eps = pixels(4).double(), 0.1 if norm == "Linf" else 1.0
    job = task(eps, norm, 2, seed=5)
    found = attack.craft(frozen(network), x, torch.zeros(4, dtype=torch.long), job)
    expected = equations(x.numpy(), network.slope, job, **{"steps": 10, **given})
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert np.abs(expected - x.numpy()).max() > 0.05


@pytest.mark.parametrize(("whole", "least"), [(8, 0.9), (28, 0.9), (32, 0.5), (5, 0.1), (2, 0.9), (16, 1.0)])
def test_resizing_and_padding_is_torch_s_bilinear_put_into_black(whole, least):
    images, generator = pixels(200, (3, whole, whole)), torch.Generator().manual_seed(2)
    draw = torch.rand(200, 3, generator=generator)
    sizes = set()
    for image, (size, top, left), found in zip(
        images, draw.double().tolist(), resized_and_padded(images, least, draw), strict=True
    ):
        low = max(int(whole * least), 1)
        side = low + int(size * (whole - low))
        sizes.add(side)
        room = whole - side
        down, right = int(top * room), int(left * room)
        small = F.interpolate(image[None], (side, side), mode="bilinear", align_corners=False)
        expected = F.pad(small, (right, room - right, down, room - down))[0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert sizes == set(range(max(int(whole * least), 1), whole)) or least == 1.0 or whole == 2


def test_resizing_knows_heights_from_widths():
    images = torch.zeros(1, 1, 10, 20)
    images[..., 10:] = 1.0
    found = resized_and_padded(images, 0.5, torch.tensor([[0.0, 0.999, 0.0]]))  # 5 x 10, at the bottom left
    assert found[0, 0, :4].abs().sum() == 0
    assert found[0, 0, :, 10:].abs().sum() == 0
    torch.testing.assert_close(found[0, 0, 4:9, :10], (torch.arange(10) >= 5).float().expand(5, 10))
    assert found[0, 0, 9:].abs().sum() == 0  # the last place there is is never taken, as in the published code


def test_the_kernel_is_the_published_one():
    peak = torch.zeros(1, 2, 31, 31)
    peak[0, 0, 15, 15] = 1.0
    bell = stats.norm.pdf(np.linspace(-3, 3, 15))
    window = np.outer(bell, bell) / np.outer(bell, bell).sum()
    found = smooth(peak, 15)
    np.testing.assert_allclose(found[0, 0, 8:23, 8:23].numpy(), window, atol=1e-7)
    assert found.sum().item() == pytest.approx(1.0, abs=1e-6)
    assert found[0, 1].abs().sum() == 0  # channels do not mix
    assert smooth(peak, 1) is peak


def test_a_gradient_too_small_for_its_square_is_normalised_and_none_at_all_stays():
    gradient = torch.stack([torch.full(SHAPE, -1e-30), torch.zeros(SHAPE)])
    found = normalised(gradient)
    torch.testing.assert_close(found[0], torch.full(SHAPE, -1.0))
    assert torch.equal(found[1], torch.zeros(SHAPE))


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_step_of_a_linear_model_is_fgsm_but_for_what_the_name_adds(kind, norm):
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(SIZE, 2)), 0.2 + 0.6 * pixels(6)
    model, job, labels = frozen(network), task(0.02, norm, 2), torch.zeros(6, dtype=torch.long)
    plain = {"steps": 1, "diversity": 0.0, "kernel": 1}
    found = kind(**plain).craft(model, images, labels, job)
    torch.testing.assert_close(found, FGSM().craft(model, images, labels, job), atol=1e-6, rtol=0)


# --- torchattacks -------------------------------------------------------------------------------------------


class Draws:
    """Hand out draws of U[-1, 1] in a fixed order, where torchattacks asks for neighbours."""

    def __init__(self, draws):
        self.draws = iter(draws)

    def __call__(self, _like):
        return self

    def uniform_(self, low, high):
        assert low == -high
        return next(self.draws) * high


def test_same_images_as_torchattacks_mi():
    ta = pytest.importorskip("torchattacks")
    model, images, labels = contest()
    for decay in (1.0, 0.3):
        theirs = ta.MIFGSM(model, eps=8 / 255, alpha=2 / 255, steps=10, decay=decay)(images, labels)
        mine = MIFGSM(step_size=2 / 255, decay=decay).craft(model, images, labels, task())
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)


def test_same_images_as_torchattacks_ni_and_si_ni():
    ta = pytest.importorskip("torchattacks")
    model, images, labels = contest()
    given = {"eps": 8 / 255, "alpha": 2 / 255, "steps": 10}
    theirs = ta.NIFGSM(model, **given)(images, labels)
    torch.testing.assert_close(
        NIFGSM(step_size=2 / 255).craft(model, images, labels, task()), theirs, atol=1e-6, rtol=0
    )
    theirs = ta.SINIFGSM(model, m=5, **given)(images, labels)
    mine = NIFGSM(step_size=2 / 255, scales=5).craft(model, images, labels, task())
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "nesterov"), [("VMIFGSM", False), ("VNIFGSM", True)])
def test_same_images_as_torchattacks_vmi_on_the_same_neighbours(name, nesterov, monkeypatch):
    ta = pytest.importorskip("torchattacks")
    model, images, labels = contest(8)
    steps, number, job = 5, 3, task(seed=2)
    draws = Draws([job.uniform(images, "neighbour", step, count) for step in range(steps) for count in range(number)])
    mine = VMIFGSM(steps=steps, step_size=2 / 255, neighbours=number, nesterov=nesterov).craft(
        model, images, labels, job
    )
    monkeypatch.setattr(torch, "randn_like", draws)
    theirs = getattr(ta, name)(model, eps=8 / 255, alpha=2 / 255, steps=steps, N=number, beta=1.5)(images, labels)
    torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("kernel", "decay"), [(15, 0.0), (7, 1.0)])
def test_same_images_as_torchattacks_ti(kernel, decay):
    ta = pytest.importorskip("torchattacks")
    shape = (3, 20, 20)
    model, images, labels = contest(16, shape)
    theirs = ta.TIFGSM(model, eps=8 / 255, alpha=2 / 255, steps=10, decay=decay, len_kernel=kernel, diversity_prob=0.0)(
        images, labels
    )
    mine = TIFGSM(step_size=2 / 255, kernel=kernel, decay=decay).craft(model, images, labels, task(shape=shape))
    # Rounding may turn the sign of a pixel whose smoothed gradient is nearly zero.
    assert ((mine - theirs).abs() > 1e-6).float().mean() < 1e-3


def test_same_images_as_torchattacks_di_where_it_has_no_choice():
    """At 8 pixels its only size is 7 and its only place the corner; ours draw from the same range."""
    ta = pytest.importorskip("torchattacks")
    model, images, labels = contest()
    given = {"eps": 8 / 255, "alpha": 2 / 255, "steps": 10, "diversity_prob": 1.0}
    theirs = ta.DIFGSM(model, decay=1.0, **given)(images, labels)
    mine = DIFGSM(step_size=2 / 255, decay=1.0, diversity=1.0).craft(model, images, labels, task())
    assert ((mine - theirs).abs() > 1e-6).float().mean() < 1e-3
    theirs = ta.TIFGSM(model, len_kernel=5, **given)(images, labels)
    mine = TIFGSM(step_size=2 / 255, kernel=5, diversity=1.0).craft(model, images, labels, task())
    assert ((mine - theirs).abs() > 1e-6).float().mean() < 1e-3


class Plateau(nn.Module):
    """Fall from class 0 to class 1 at a brightness of 0.6, or evenly at the border given."""

    def __init__(self, border=None):
        super().__init__()
        self.border = border
        self.unused = nn.Parameter(torch.zeros(1))  # torchattacks asks a parameter for the device

    def forward(self, images):
        bright = images.flatten(1).mean(1)
        # Between 0.52 and 0.56 there is no slope at all, unless a border is given.
        score = 0.56 - bright.clamp_max(0.52) - (bright - 0.56).clamp_min(0)
        score = score if self.border is None else self.border - bright
        return torch.stack([score, -score], 1)


def test_where_torchattacks_divides_by_zero_and_stands_still_the_momentum_carries_on():
    ta = pytest.importorskip("torchattacks")
    model, images, labels = frozen(Plateau()), torch.full((2, *SHAPE), 0.5), torch.zeros(2, dtype=torch.long)
    theirs = ta.MIFGSM(model, eps=0.12, alpha=0.01, steps=12)(images, labels)
    assert theirs.mean().item() == pytest.approx(0.52, abs=0.011)
    mine = MIFGSM(steps=12).craft(model, images, labels, task(0.12, classes=2))
    assert mine.mean().item() == pytest.approx(0.62, abs=1e-5)
    assert model(mine).argmax(1).tolist() == [1, 1]


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_any_gradient_stays(kind, norm):
    model, images = frozen(Plateau()), torch.full((3, *SHAPE), 0.54)
    found = kind(steps=3, beta=0.01).craft(model, images, torch.zeros(3, dtype=torch.long), task(0.1, norm, 2))
    assert torch.equal(found, images) or kind is DIFGSM  # whose resized images are darker, and so off the plateau


def corners(seen):
    """Return where the black border of each image begins and ends, one row an image."""
    lit = seen.abs().sum(1) > 0
    return {(tuple(rows.nonzero()[[0, -1], 0].tolist()), int(rows.sum())) for rows in lit.any(2)}


def test_torchattacks_draws_one_size_a_batch_and_here_each_image_has_its_own():
    ta = pytest.importorskip("torchattacks")
    shape = (3, 32, 32)
    model, images, labels = contest(32, shape)
    seen = []
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    ta.DIFGSM(model, steps=1, diversity_prob=1.0)(0.5 + images / 2, labels)
    DIFGSM(steps=1, diversity=1.0).craft(model, 0.5 + images / 2, labels, task(shape=shape))
    handle.remove()
    assert len(corners(seen[0])) == 1
    assert len(corners(seen[1])) > 5


# --- diversity ----------------------------------------------------------------------------------------------


def test_about_as_many_images_are_changed_as_the_probability_says_and_each_step_draws_anew():
    shape = (3, 32, 32)
    model, images = small_net(shape), 0.5 + pixels(400, shape) / 4
    seen = []
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    DIFGSM(steps=2, diversity=0.3).craft(model, images, model(images).argmax(1), task(1e-6, shape=shape))
    handle.remove()
    changed = torch.stack([(given == 0).flatten(1).any(1) for given in seen[1:]])
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.06)
    assert 0 < (changed[0] & changed[1]).sum() < changed[0].sum()


# --- the contract -------------------------------------------------------------------------------------------

COSTS = [
    (MIFGSM(), (10, 10), 0),
    (NIFGSM(), (20, 10), 10),
    (NIFGSM(scales=5, steps=4), (24, 20), 4),
    (DIFGSM(), (20, 10), 10),
    (TIFGSM(), (10, 10), 0),
    (VMIFGSM(), (190, 190), 0),
    (VMIFGSM(steps=3, neighbours=4, scales=2, diversity=0.5), (25, 22), 3),
    (VMIFGSM(steps=1), (1, 1), 0),
]


@pytest.mark.parametrize(("attack", "most", "verdicts"), COSTS)
def test_a_survivor_costs_what_is_promised_and_transfer_no_verdicts(attack, most, verdicts):
    model, images, labels = contest(3)
    for stop_early in (True, False):
        meter = Meter()
        with meter.counting(model):
            attack.craft(model, images, labels, task(1e-7, stop_early=stop_early))
        spared = 0 if stop_early else verdicts
        assert (meter.forwards / 3, meter.backwards / 3) == (most[0] - spared, most[1])
    assert attack.passes() == most


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("given", [{}, EVERYTHING], ids=["alone", "with everything"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_stops_at_the_first_error_in_the_ball_that_it_meets(kind, given, norm):
    model, images, labels = contest()
    eps = 0.02 if norm == "Linf" else 0.25
    attack = kind(**{"steps": 6, "neighbours": min(kind().neighbours, 2), **given})
    job = task(eps, norm, seed=4)
    met, asked = {}, []
    handle = model.register_forward_pre_hook(lambda _, seen: asked.append(seen[0].detach()))
    attack.craft(model, images, labels, job)
    handle.remove()
    # The iterates of shorter walks with the same step size are those of the whole one.
    for steps in range(1, 7):
        last = kind(**{**attack.parameters, "steps": steps, "step_size": eps / 6}).craft(model, images, labels, job)
        asked.append(last)
    for points in asked:
        inside = (job.threat.distance(images, points) <= eps + 1e-6) & ((points >= 0) & (points <= 1)).flatten(1).all(1)
        for row in (inside & (model(points).argmax(1) != labels)).nonzero().flatten().tolist():
            met.setdefault(row, []).append(points[row])
    found = attack.craft(model, images, labels, job.replace(stop_early=True))
    assert 0 < len(met) < len(images)
    for row, image in enumerate(found):
        nearest = min((image - one).abs().max().item() for one in met.get(row, [last[row]]))
        assert nearest < 1e-6, row
    if not (attack.veiled or attack.scales > 1 or attack.neighbours):
        for row, errors in met.items():
            torch.testing.assert_close(found[row], errors[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_never_asked_for_no_images(kind):
    model, images, labels = contest()
    asked = []
    model.register_forward_pre_hook(lambda _model, given: asked.append(len(given[0])))
    found = kind(steps=4).craft(model, images, labels, task(64 / 255, stop_early=True))
    assert min(asked) > 0
    assert (model(found).argmax(1) != labels).all()


def test_an_error_ahead_of_an_iterate_is_taken_and_one_outside_the_ball_is_not():
    """With a border at 0.53 and steps of 0.01, the second step looks ahead to 0.52 and the third to 0.54."""
    model, images = frozen(Plateau(0.53)), torch.full((1, *SHAPE), 0.5)
    attack, labels = NIFGSM(steps=10, step_size=0.01), torch.zeros(1, dtype=torch.long)
    found = attack.craft(model, images, labels, task(0.1, classes=2, stop_early=True))
    assert found.mean().item() == pytest.approx(0.54, abs=1e-5)
    found = attack.craft(model, images, labels, task(0.035, classes=2, stop_early=True))
    assert 0.53 < found.mean().item() <= 0.5351  # 0.54 would be too far


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_treated_alike_in_every_batch(kind, norm, stop_early):
    model, images, labels = contest(12)
    attack = kind(steps=4, **{name: EVERYTHING[name] for name in ("nesterov", "scales", "diversity", "neighbours")})
    job = task(0.02 if norm == "Linf" else 0.25, norm, seed=9, stop_early=stop_early)
    together = attack.craft(model, images, labels, job)
    parts = [
        attack.craft(model, images[rows], labels[rows], job.replace(indices=rows))
        for rows in ([0], list(range(1, 8)), list(range(8, 12)))
    ]
    assert ((torch.cat(parts) - together).abs() > 1e-6).float().mean() < 1e-3


@pytest.mark.parametrize("shape", [(1, 5, 7), (4, 12, 9)], ids=str)
def test_any_channels_and_any_sides(shape):
    model, images, labels = contest(4, shape)
    found = VMIFGSM(**{**EVERYTHING, "kernel": 15}).craft(model, images, labels, task(shape=shape))
    assert found.shape == images.shape
    assert (found - images).abs().max() <= 8 / 255 + 1e-6


def test_only_the_last_step_of_a_single_one_is_not_iterative():
    assert all(kind().iterative and not kind(steps=1).iterative for kind in KINDS)
    assert MIFGSM(steps=1, scales=2).iterative


def test_the_published_defaults():
    common = {
        "steps": 10, "step_size": None, "decay": 1.0, "nesterov": False, "scales": 1, "diversity": 0.0, "resize": 0.9,
        "kernel": 1, "neighbours": 0, "beta": 1.5,
    }  # fmt: skip
    differ = {
        MIFGSM: {},
        NIFGSM: {"nesterov": True},
        DIFGSM: {"decay": 0.0, "diversity": 0.5},
        TIFGSM: {"decay": 0.0, "kernel": 15},
        VMIFGSM: {"neighbours": 20},
    }
    for kind, own in differ.items():
        assert kind().parameters == {**common, **own}
        assert list(kind().parameters) == list(common)
        assert "https://arxiv.org/abs/" in kind.source
        assert all(entry.help for entry in parameters_of(kind).values())
    assert [kind.name for kind in differ] == ["mi-fgsm", "ni-fgsm", "di-fgsm", "ti-fgsm", "vmi-fgsm"]


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (TIFGSM(kernel=4), r"^ti-fgsm\.kernel 4 has no centre; give an odd number, or 1 for none\.$"),
        (
            MIFGSM(step_size=0.0),
            r"^mi-fgsm\.step_size 0 does not move an image; leave step_size out for eps / steps\.$",
        ),
        (NIFGSM(step_size=0.1), r"^ni-fgsm\.step_size 0\.1 is not smaller than eps 8/255:.* for eps / steps\.$"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(attack, message):
    with pytest.raises(SpecError, match=message):
        attack.check(ThreatModel("Linf", 8 / 255))


def test_parameters_are_read_from_text():
    values = resolve("di-fgsm", DIFGSM, {"diversity": "0.7", "step_size": "2/255", "nesterov": "yes", "kernel": "5"})
    assert DIFGSM(**values) == DIFGSM(diversity=0.7, step_size=2 / 255, nesterov=True, kernel=5)
    with pytest.raises(SpecError, match=r"^di-fgsm\.diversity must be at least 0 and at most 1, not 1\.5"):
        resolve("di-fgsm", DIFGSM, {"diversity": "1.5"})


@pytest.mark.parametrize("kind", KINDS)
def test_listing_it_imports_no_torch(kind):
    code = f"import {kind.__module__}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
