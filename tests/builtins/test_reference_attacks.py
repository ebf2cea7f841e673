"""The attacks built on robench's own algorithms: parameters, promised costs, and what they refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from robench import Classifier, SpecError, Task, ThreatModel, apgd, autoattack, fab, noise, square
from robench.contracts.parameters import parameters_of, resolve
from robench.evidence.fingerprint import of_component
from robench.evidence.meter import Meter
from robench_builtins.attacks.apgd import APGD
from robench_builtins.attacks.autoattack import AutoAttack
from robench_builtins.attacks.fab import FAB
from robench_builtins.attacks.noise import Noise
from robench_builtins.attacks.square import Square

SHAPE = (3, 6, 6)
KINDS = [APGD, AutoAttack, FAB, Noise, Square]

#: One choice of parameters other than the defaults, and the function it should be.
GIVEN = [
    (APGD, {"steps": 3, "restarts": 2, "loss": "dlr-targeted", "targets": 4}, apgd),
    (APGD, {"steps": 3, "draws": 2, "rho": 0.5}, apgd),
    (AutoAttack, {"steps": 2, "queries": 5}, autoattack),
    (AutoAttack, {"steps": 2, "variant": "rand", "draws": 3}, autoattack),
    (FAB, {"steps": 3, "restarts": 2, "targets": 4, "alpha_max": 0.2, "eta": 1.1, "beta": 0.8}, fab),
    (Noise, {"draws": 3, "distribution": "corners"}, noise),
    (Noise, {}, noise),
    (Square, {"queries": 7, "restarts": 2, "share": 0.5, "rescale": True}, square),
]
each = pytest.mark.parametrize(("kind", "given", "function"), GIVEN)


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(108, 32), nn.ReLU(), nn.Linear(32, 10))
    return Classifier(network, 10).eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


def task(eps, **fields):
    return Task(classes=("c",) * 10, shape=SHAPE, threat_model=ThreatModel("Linf", eps), seed=6, **fields)


@each
@pytest.mark.parametrize("stop_early", [True, False])
def test_a_component_is_its_function_with_its_parameters(model, images, kind, given, function, stop_early):
    labels, job = model(images).argmax(1), task(0.02, stop_early=stop_early)
    assert torch.equal(kind(**given).craft(model, images, labels, job), function(model, images, labels, job, **given))


@each
def test_the_promised_cost_is_what_a_survivor_costs(model, images, kind, given, function):
    labels, meter, attack = model(images).argmax(1), Meter(), kind(**given)
    with meter.counting(model):
        attack.craft(model, images, labels, task(1e-7))
    assert (meter.forwards, meter.backwards) == tuple(5 * count for count in attack.passes())


@pytest.mark.parametrize("kind", KINDS)
def test_the_defaults_of_component_and_function_agree(kind):
    function = {APGD: apgd, AutoAttack: autoattack, FAB: fab, Noise: noise, Square: square}[kind]
    assert kind().parameters == {name: function.__kwdefaults__[name] for name in kind().parameters}
    assert set(kind().parameters) == set(function.__kwdefaults__)


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_it_is(kind):
    assert "https://arxiv.org/abs/" in kind.source
    assert kind.__doc__
    assert all(entry.help for entry in parameters_of(kind).values())
    assert kind.version == 1
    for norm in ("Linf", "L2"):
        kind().check(ThreatModel(norm, 0.5))


def test_only_attacks_that_follow_gradients_must_beat_one_gradient_step():
    assert {kind.name for kind in KINDS if kind().iterative} == {"apgd", "autoattack", "fab"}
    assert {kind.name for kind in KINDS if getattr(kind, "queries_only", False)} == {"noise", "square"}
    assert all(kind().passes()[1] == 0 for kind in (Noise, Square))


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (APGD, {"steps": "0"}, r"^apgd\.steps must be at least 1, not 0 \(iterations from each start\)"),
        (APGD, {"loss": "cw"}, r"^apgd\.loss takes ce \| ce-scaled \| dlr \| dlr-targeted \| margin, not 'cw'"),
        (APGD, {"rho": "2"}, r"^apgd\.rho must be at least 0 and at most 1, not 2"),
        (FAB, {"eta": "0.5"}, r"^fab\.eta must be at least 1, not 0\.5"),
        (Square, {"queries": "0"}, r"^square\.queries must be at least 1, not 0"),
        (Noise, {"distribution": "poisson"}, r"^noise\.distribution takes uniform \| gaussian \| corners"),
        (AutoAttack, {"variant": "plus"}, r"^autoattack\.variant takes standard \| rand, not 'plus'"),
        (AutoAttack, {"version": "rand"}, r"^autoattack has no parameter 'version'"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, given, message):
    with pytest.raises(SpecError, match=message):
        resolve(kind.name, kind, given)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_algorithm_is_another_fingerprint(kind, monkeypatch, tmp_path):
    import robench.attacks

    assert {path.name for path in kind().files()} >= {"apgd.py", "fab.py", "square.py", "noise.py", "autoattack.py"}
    before = of_component(kind())
    for path in kind().files():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(robench.attacks, "__file__", str(tmp_path / "__init__.py"))
    assert of_component(kind()) == before  # where the files lie does not matter
    with (tmp_path / "losses.py").open("a") as file:
        file.write("# edited\n")
    assert of_component(kind())["files"] != before["files"]


@pytest.mark.parametrize("kind", KINDS)
def test_listing_it_imports_no_torch(kind):
    code = f"import {kind.__module__} as m, sys; m.{kind.__name__}().files(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
