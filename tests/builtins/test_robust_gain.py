"""Every trained defense, a few epochs on real digits: its robust accuracy lies above the undefended victim's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from robench import Classifier, Task, ThreatModel
from robench.api import run
from robench.evidence.statistics import proportion
from robench.plugin.catalog import catalog
from robench.runtime.inference import freeze
from robench_builtins.attacks.pgd import PGD
from robench_builtins.datasets.digits import Digits
from robench_builtins.models.file import PythonFile
from robench_builtins.models.tiny_clip import TinyClip

NET_FILE = """
from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )
"""
DIGITS = Digits()
TASK = Task(classes=DIGITS.classes(), templates=DIGITS.templates, shape=(3, 32, 32))
SGD = {"epochs": 3, "batch_size": 64}
#: A small convolutional network has batch norms, so that the published rates suit it.
NET = {
    "fgsm-at": SGD,
    "pgd-at": {**SGD, "attack_steps": 3},
    "pgd-at, mixed": {**SGD, "attack_steps": 3, "mix": 0.5},
    "pgd-at, from scratch": {**SGD, "attack_steps": 3, "start": "scratch"},
    "trades": {**SGD, "attack_steps": 3, "step_size": None},
    "gaussian": {**SGD, "sigma": 0.5},
    "adv-finetune": {**SGD, "attack_steps": 3, "learning_rate": 1e-2, "last": 3},
}
CLIP = {"fare": {"epochs": 2}, "pmg-aft": {"epochs": 2}}


@pytest.fixture(scope="module")
def train():
    return DIGITS.load("train")


@pytest.fixture(scope="module")
def net_file(tmp_path_factory):
    """Return a user's own file with a small convolutional network."""
    path = tmp_path_factory.mktemp("net") / "net.py"
    path.write_text(NET_FILE)
    return path


@pytest.fixture(scope="module")
def net(net_file, train):
    """Return the network, trained on clean digits."""
    built = PythonFile(path=str(net_file), function="build").load(TASK).network.train()
    optimizer = torch.optim.Adam(built.parameters(), 1e-2)
    for epoch in range(3):
        for batch in train.batches(64, shuffle=torch.Generator().manual_seed(epoch)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(built(batch.images), batch.labels).backward()
            optimizer.step()
    return built.eval()


@pytest.fixture(scope="module")
def victims(net):
    """Return the network and the CLIP, each with its radius and the interval of its robust accuracy."""
    found = {
        "net": (freeze(Classifier(copy.deepcopy(net), 10), "cpu"), 16 / 255),
        "clip": (freeze(TinyClip().load(TASK), "cpu"), 8 / 255),
    }
    return {name: (model, eps, interval(model, eps)) for name, (model, eps) in found.items()}


def interval(model, eps):
    """Return the Wilson interval of the accuracy on 200 validation images under PGD."""
    batch = next(DIGITS.load("val").batches(200))
    attacked = TASK.replace(threat_model=ThreatModel("Linf", eps), stop_early=True, indices=batch.indices)
    images = PGD(steps=10).craft(model, batch.images, batch.labels, attacked)
    with torch.no_grad():
        return proportion(int((model(images).argmax(1) == batch.labels).sum()), len(images))


@pytest.mark.parametrize("name", [*NET, *CLIP])
def test_a_few_epochs_buy_robustness(victims, train, name):
    victim, eps, (_, undefended) = victims["clip" if name in CLIP else "net"]
    defense_name = name.partition(",")[0]
    tuned = TinyClip.tuning[name] | CLIP[name] if name in CLIP else NET[name]
    defense = catalog().find("defense", defense_name).build(tuned)
    task = TASK.replace(history=[])
    defended = defense.wrap(copy.deepcopy(victim), task)
    defense.fit(defended, train, task)
    low, _ = interval(defended, eps)
    assert low > undefended
    assert task.history[-1]["loss"] < task.history[0]["loss"]


def test_a_users_own_network_is_defended_and_the_gate_believes_it(net, net_file, tmp_path):
    torch.save(net.state_dict(), tmp_path / "net.pt")
    cards = run(
        dataset="digits",
        victim=f"{net_file}:build",
        defense=[
            "pgd-at[epochs=2,attack_steps=2]",
            "adv-finetune[epochs=2,attack_steps=2,frozen=0+1+3,learning_rate=1e-2]",
        ],
        attack="pgd[steps=10]",
        eps="16/255",
        n=120,
        parameters={
            "victim.weights": str(tmp_path / "net.pt"),
            "defense.epochs": 2,
            "defense.attack_steps": 2,
        },
        store=tmp_path / "store",
    )
    found = {card.cell.defense.name: card for card in cards}
    assert {name: card.gate.verdict for name, card in found.items()} == dict.fromkeys(found, "VALID")
    assert found["pgd-at"].robust.low > found["none"].robust.high
    assert found["pgd-at"].training.trainable == 19_626
    # Layers 0, 1 and 3 are the first convolution with its norm and the second convolution.
    assert found["adv-finetune"].training.trainable == 19_626 - (3 * 16 * 9 + 16) - 32 - (16 * 32 * 9 + 32)
    assert not any(name.startswith("network.1.") for name in found["adv-finetune"].training.buffers)
    assert found["adv-finetune"].training.undeclared == []
