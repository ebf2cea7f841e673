"""The example plugins of the repository, installed by pip into a clean environment, checked and ranked."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {"blur": "defense", "mifgsm": "attack", "ownconv": "victim"}


@pytest.fixture(scope="module")
def installed(machine):
    for name in EXAMPLES:
        machine.does(f"pip install -e '{ROOT / 'examples' / name}'")
    return machine


@pytest.mark.parametrize(("name", "most"), [("blur", 40), ("mifgsm", 50)])
def test_it_is_short(name, most):
    folder = ROOT / "examples" / name
    assert len((folder / f"robench_{name}.py").read_text().splitlines()) < most
    assert len((folder / "pyproject.toml").read_text().splitlines()) <= 12


def test_pip_installed_robench_from_this_very_tree(machine):
    assert machine.does("python -c 'import robench; print(robench.__file__)'") == str(
        ROOT / "benchmark" / "robench" / "__init__.py"
    )


def test_they_are_listed_with_distribution_version_and_api(installed):
    found = {p["name"]: p for p in json.loads(installed.type("robench plugins --json").out)["plugins"]}
    for name, role in EXAMPLES.items():
        assert found[name] == {
            "name": name, "distribution": f"robench-{name}", "version": "1.0", "api": 1, "state": "works", "reason": "",
            "notes": [], "offers": {role: [name]},
        }  # fmt: skip


def test_shown_with_its_parameters(installed):
    said = installed.does("robench show blur")
    assert "from robench-blur 1.0" in said
    assert "sigma float 1.0 standard deviation in pixels" in said


@pytest.mark.parametrize("name", EXAMPLES)
def test_they_pass_the_conformance_kit(installed, name):
    said = installed.does(f"robench check-plugin robench-{name}")
    assert said.endswith("Nothing failed.")
    assert "quick to import passed" in said
    assert "1,000 classes, 3 x 224 x 224 passed" in said


def test_an_attack_declares_its_own_dependency():
    project = tomllib.loads((ROOT / "examples" / "mifgsm" / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["robench", "torchattacks>=3.3,<4"]


def test_they_run_together_to_cards_that_are_ranked(installed):
    # The script that pip wrote, where the other tests' are forked.
    script = installed.environment / "bin" / "robench"
    installed.does(
        f"{script} run --defense 'blur[sigma=0.8]' --attack mifgsm,pgd -p attack.steps=5 --n 60 --device cpu"
    )
    cards = [json.loads(path.read_text()) for path in (installed.home / "results" / "cards").glob("*.json")]
    found = {(card["cell"]["defense"]["name"], card["cell"]["attack"]["name"]): card for card in cards}
    assert set(found) == {(defense, attack) for defense in ("none", "blur") for attack in ("mifgsm", "pgd")}
    blur = found["blur", "mifgsm"]
    assert blur["cell"]["defense"]["plugin"] == "robench-blur 1.0"
    assert blur["cell"]["attack"]["plugin"] == "robench-mifgsm 1.0"
    assert blur["cell"]["defense"]["changed"] == {"sigma": 0.8}
    assert blur["training"]["trainable"] == 0
    assert {card["gate"]["verdict"] for card in cards} == {"VALID"}
    assert "blur" in (installed.home / "results" / "LEADERBOARD.md").read_text()


def test_without_one_the_other_stands(installed):
    said = installed.does("robench list --without robench-blur")
    assert " blur " not in said
    assert " mifgsm " in said


@pytest.fixture
def mifgsm(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "mifgsm")
    from robench_mifgsm import MomentumFGSM

    return MomentumFGSM


def by_hand(model, images, labels, eps, steps, decay):
    """MI-FGSM, equations 6 to 8 of Dong et al., with the mean for the L1 norm (the sign sees no difference)."""
    moved, momentum = images.clone(), torch.zeros_like(images)
    for _ in range(steps):
        moved.requires_grad_(True)
        (gradient,) = torch.autograd.grad(cross_entropy(model(moved), labels, reduction="sum"), moved)
        momentum = decay * momentum + gradient / gradient.abs().mean((1, 2, 3), keepdim=True)
        moved = (moved.detach() + eps / steps * momentum.sign()).clamp(images - eps, images + eps).clamp(0, 1)
    return moved


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_the_attack_is_the_papers(mifgsm, decay):
    from robench.testing import fixtures

    model, images = fixtures.network(fixtures.USUAL), fixtures.pictures(fixtures.USUAL, 5)
    labels = model(images).argmax(1)
    task = fixtures.USUAL.attack("Linf", 5)
    found = mifgsm(steps=4, decay=decay).craft(model, images, labels, task)
    wanted = by_hand(model, images, labels, 8 / 255, 4, decay)
    # The loss's mean and sum differ by a factor; where a gradient is 0 up to rounding, its sign is chance.
    assert float(((found - wanted).abs() > 1e-6).float().mean()) < 0.01


def test_an_image_without_a_gradient_stays_and_its_neighbours_move(mifgsm):
    from torch import nn

    from robench import Classifier
    from robench.testing import fixtures

    class Flat(nn.Module):
        def forward(self, images):
            score = torch.relu(images.flatten(1).mean(1) - 0.5)
            return torch.stack([score, -score], 1)

    model = Classifier(nn.Sequential(Flat(), nn.Linear(2, 2)), 2)
    images = torch.stack([torch.full((1, 4, 4), 0.2), torch.full((1, 4, 4), 0.8)])
    task = fixtures.SMALL.attack("Linf", 2)
    moved = mifgsm(steps=3).craft(model, images, torch.tensor([0, 0]), task)
    assert torch.equal(moved[0], images[0])
    assert float((moved[1] - images[1]).abs().max()) == pytest.approx(8 / 255, abs=1e-6)


def test_the_own_convolution_is_torchs_forward_and_backward(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "ownconv"))
    from robench_ownconv_layers import Convolution

    torch.manual_seed(0)
    own = Convolution(3, 5, stride=2)
    images = torch.rand(2, 3, 9, 8, requires_grad=True)
    theirs = torch.nn.functional.conv2d(images, own.weight, own.bias, stride=2, padding=1)
    torch.testing.assert_close(own(images), theirs)
    wanted = torch.autograd.grad(theirs.square().sum(), [images, own.weight, own.bias])
    found = torch.autograd.grad(own(images).square().sum(), [images, own.weight, own.bias])
    torch.testing.assert_close(found, wanted)
    assert torch.autograd.gradcheck(own.double(), (torch.rand(1, 3, 5, 5, dtype=torch.double, requires_grad=True),))


def test_the_own_convolution_is_trained_and_measured(installed):
    installed.does(
        "robench run --victim 'ownconv[epochs=2]' --attack fgsm --eps 4/255 --n 40 --device cpu --out own --gate quick"
    )
    (path,) = (installed.home / "own" / "cards").glob("*.json")
    card = json.loads(path.read_text())
    assert card["cell"]["victim"]["plugin"] == "robench-ownconv 1.0"
    assert card["model"]["training"]["trainable"] > 0
    assert len(card["model"]["training"]["history"]) == 2
