"""State dicts are found in every layout in which they circulate, with what was unwrapped said; else keys are named."""

from __future__ import annotations

import argparse
import io
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import robench
from robench import Task, WeightsError
from robench_builtins.models.file import PythonFile
from robench_builtins.models.mlp import Linear
from robench_builtins.models.resnet20 import ResNet20
from robench_builtins.models.shared.checkpoint_layouts import ENTRIES, PREFIXES, fitted, unwrap
from robench_builtins.models.shared.cifar_resnet import CifarResNet
from robench_builtins.models.shared.state_dict import read_state

TASK = Task(classes=("a", "b", "c"), shape=(1, 2, 2))
WEIGHT, BIAS = torch.arange(12.0).view(3, 4), torch.tensor([1.0, 2.0, 3.0])
STATE = {"1.weight": WEIGHT, "1.bias": BIAS}
CODE = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))\n"


def under(prefix, state=None):
    return OrderedDict((prefix + name, value) for name, value in (state or STATE).items())


#: What a file may hold, and what is said of it.
LAYOUTS = {
    "plain": (STATE, ""),
    "ordered": (OrderedDict(STATE), ""),
    **{f"entry {name}": ({name: STATE, "epoch": 3}, f"taken from entry '{name}'") for name in ENTRIES},
    **{f"prefix {prefix}": (under(prefix), f"without prefix '{prefix}'") for prefix in PREFIXES},
    "compiled, then DataParallel": (
        under("module._orig_mod."),
        "without prefix 'module.', without prefix '_orig_mod.'",
    ),
    "DataParallel, then compiled": (
        under("_orig_mod.module."),
        "without prefix '_orig_mod.', without prefix 'module.'",
    ),
    "a compiled part": (
        {"1._orig_mod.weight": WEIGHT, "1._orig_mod.bias": BIAS},
        "without 'module.' and '_orig_mod.' inside names",
    ),
    "a DataParallel part": (
        {"1.module.weight": WEIGHT, "1.module.bias": BIAS},
        "without 'module.' and '_orig_mod.' inside names",
    ),
    "entry in entry": (
        {"checkpoint": {"model": STATE, "lr": 0.1}},
        "taken from entry 'checkpoint', taken from entry 'model'",
    ),
    "entry, prefix": (
        {"net": under("module."), "acc": 91.2, "epoch": 7},
        "taken from entry 'net', without prefix 'module.'",
    ),
    "lightning": (
        {
            "state_dict": under("model."),
            "pytorch-lightning_version": "2.5.0",
            "epoch": 1,
            "hyper_parameters": {"lr": 1},
        },
        "taken from entry 'state_dict', without prefix 'model.'",
    ),
    "lightning of a compiled model": (
        {"state_dict": under("model._orig_mod."), "pytorch-lightning_version": "2.5.0"},
        "taken from entry 'state_dict', without prefix 'model.', without prefix '_orig_mod.'",
    ),
    "lightning with a loss and metrics": (
        {
            "state_dict": {**under("net."), "loss.weight": torch.ones(3), "accuracy.total": torch.tensor(5)},
            "pytorch-lightning_version": "2.5.0",
        },
        "taken from entry 'state_dict', without prefix 'net.', 2 other tensors left out (loss.weight, accuracy.total)",
    ),
    "weights beside averaged ones": (
        {"model": STATE, "model_ema": under("module.")},
        "taken from entry 'model' (not 'model_ema')",
    ),
    "a string beside": (
        {"state_dict": STATE, "arch": "resnet50", "model": "resnet50"},
        "taken from entry 'state_dict'",
    ),
    "an optimizer beside": (
        {"model": STATE, "optimizer": torch.optim.SGD([nn.Parameter(WEIGHT)], 0.1, momentum=0.9).state_dict()},
        "taken from entry 'model'",
    ),
    "numpy scalars beside": (
        {"net": STATE, "acc": np.float64(91.2), "best": np.float32(0.5), "epoch": np.int64(3), "ok": np.bool_(True)},
        "taken from entry 'net'",
    ),
    "numpy arrays beside": ({"net": STATE, "curve": np.linspace(0, 1, 4)}, "taken from entry 'net'"),
    "a Namespace beside": (
        {"model": STATE, "args": argparse.Namespace(lr=0.1, data=Path("here"), nested=argparse.Namespace(x=[1]))},
        "taken from entry 'model'",
    ),
    "a SimpleNamespace beside": ({"model": STATE, "config": SimpleNamespace(lr=0.1)}, "taken from entry 'model'"),
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Return a function that writes a checkpoint, in a folder where net.py builds the network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)

    def write(content, name="w.pt"):
        torch.save(content, tmp_path / name)
        return name

    return write


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_loaded_and_what_was_unwrapped_is_said(file, layout):
    content, said = LAYOUTS[layout]
    task = TASK.replace(notes=[])
    victim = PythonFile(path="net.py", function="build", weights=file(content)).load(task)
    assert torch.equal(victim.network[1].weight, WEIGHT)
    assert torch.equal(victim.network[1].bias, BIAS)
    assert task.notes == ([f"w.pt: {said}"] if said else [])


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if "part" not in layout])
def test_models_of_ones_own_take_the_same_layouts(file, layout):
    content, said = LAYOUTS[layout]
    task = TASK.replace(notes=[])
    victim = Linear(checkpoint=file(content)).load(task)
    assert torch.equal(victim.network[1].weight, WEIGHT)
    assert task.notes == ([f"w.pt: {said}"] if said else [])


@pytest.mark.parametrize("wrap", [lambda state: {"net": state, "acc": 92.1}, lambda state: under("module.", state)])
def test_a_resnet_is_recognised_behind_its_wrapping(file, wrap):
    network = CifarResNet(3, "A", 3)
    task = Task(classes=("a", "b", "c"), shape=(3, 32, 32))
    victim = ResNet20(checkpoint=file(wrap(network.state_dict()))).load(task)
    assert torch.equal(victim.network.linear.weight, network.linear.weight)
    assert len(task.notes) == 1


NOTHING = "; save the tensors alone with torch.save(model.state_dict(), FILE)."
REFUSED = {
    "other entries": (
        {"G": STATE, "D": STATE, "step": 3},
        "w.pt holds no state dict of tensors, but 'G' (dict), 'D' (dict), 'step' (int)" + NOTHING,
    ),
    "nothing": ({}, "w.pt holds no state dict of tensors, but nothing" + NOTHING),
    "entries that hold nothing": (
        {"model": {}, "state_dict": {}},
        "w.pt holds no state dict of tensors, but 'model' (dict), 'state_dict' (dict)" + NOTHING,
    ),
    "numbers within": (
        {"state_dict": {"1.weight": WEIGHT, "epoch": 3}},
        "w.pt holds no state dict of tensors in entry 'state_dict', but '1.weight' (Tensor), 'epoch' (int)" + NOTHING,
    ),
    "many entries": (
        {f"part{number}": number for number in range(9)},
        "'part0' (int), 'part1' (int), 'part2' (int), 'part3' (int), 'part4' (int), 'part5' (int), ...; save the",
    ),
    "a list": ([WEIGHT], "w.pt holds no state dict of tensors, but a list."),
    "a tensor": (WEIGHT, "w.pt holds no state dict of tensors, but a Tensor."),
    "numpy weights": ({"1.weight": WEIGHT.numpy()}, "but '1.weight' (ndarray)" + NOTHING),
    "other names": (
        {"net": {"conv.weight": WEIGHT}},
        'Missing key(s) in state_dict: "1.weight", "1.bias". Unexpected key(s) in state_dict: "conv.weight"',
    ),
    "a module": (
        {"model": nn.Linear(1, 1)},
        "w.pt cannot be read (UnpicklingError); it must be a .safetensors file or a plain torch state dict, undamaged "
        "and without code in it, and it names torch.nn.modules.linear.Linear.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_holds_no_weights_is_refused_by_its_keys(file, case):
    content, sentence = REFUSED[case]
    with pytest.raises(WeightsError) as caught:
        PythonFile(path="net.py", function="build", weights=file(content)).load(TASK)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_that_are_the_networks_own_stay(file, tmp_path):
    """A network whose only attribute is ``model`` has names that look like Lightning's."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))\n"
        "    def forward(self, x):\n        return self.model(x)\n"
    )
    task = TASK.replace(notes=[])
    victim = PythonFile(path="net.py", function="Net", weights=file({"net": under("model.")})).load(task)
    assert torch.equal(victim.network.model[1].weight, WEIGHT)
    assert task.notes == ["w.pt: taken from entry 'net'"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_that_is_wrapped_itself_takes_both(prefix):
    wrapped = nn.DataParallel(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    found = fitted(unwrap(under(prefix), "w.pt"), wrapped.state_dict())
    wrapped.load_state_dict(found)
    assert torch.equal(wrapped.module[1].weight, WEIGHT)


def test_code_beside_the_tensors_is_not_run(file, tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    for place, content in enumerate(({"net": STATE, "args": Bomb()}, {"args": argparse.Namespace(x=Bomb())})):
        with pytest.raises(WeightsError, match=r"without code in it, and it names \w*\.?open\."):
            read_state(tmp_path / file(content, f"{place}.pt"), "victim.weights")
    assert not (tmp_path / "ran").exists()


def test_the_card_and_its_explanation_say_what_was_unwrapped(file, tmp_path):
    from rich.console import Console

    from robench.cli.card_view import print_verdict

    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))\n"
    )
    state = {"1.weight": 0.01 * torch.ones(10, 3072), "1.bias": torch.arange(10.0)}
    weights = file({"net": under("module.", state), "acc": np.float64(9.9)})
    (card,) = robench.run(
        dataset="digits",
        victim="net.py:build",
        attack="fgsm",
        eps="4/255",
        n=10,
        gate="quick",
        device="cpu",
        parameters={"victim.weights": weights},
        store=tmp_path / "store",
    )
    assert card.model.loading == ["w.pt: taken from entry 'net', without prefix 'module.'"]
    console = Console(record=True, width=200, file=io.StringIO())
    print_verdict(card, console)
    assert "loaded: w.pt: taken from entry 'net', without prefix 'module.'" in console.export_text()
