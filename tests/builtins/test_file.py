"""A model from the user's own Python: found, run, held to what a model is, and noticed when it changes."""

from __future__ import annotations

import sys

import pytest
import torch

from robench import Classifier, ContractError, SpecError, Task, WeightsError
from robench.evidence.fingerprint import of_component
from robench_builtins.models.file import PythonFile

TASK = Task(classes=("bright", "dark"), shape=(3, 4, 4), seed=0)
IMAGES = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))

NET = """
import torch
from torch import nn
from robench import Classifier


class Mean(nn.Module):
    def __init__(self, gain=10.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, images):
        brightness = self.gain * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, -brightness], 1)


class Wide(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = nn.Linear(48, num_classes)

    def forward(self, images):
        return self.linear(images.flatten(1))


made = Mean(20.0)
zoo = type("Zoo", (), {"mean": staticmethod(lambda: Mean(30.0))})
number = 3


def build():
    return Mean()


def for_task(task):
    assert task.classes == ("bright", "dark")
    return Classifier(Mean(5.0), classes=2)


def needy(what):
    return Mean(what)


def nothing():
    return None


def fails():
    values = [1]
    return values[3]


def stops():
    raise SystemExit(2)


def triple():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3))


def picture():
    return nn.Conv2d(3, 2, 1)


def words():
    class Words(nn.Module):
        def forward(self, images):
            return {"logits": images}
    return Words()


def other_size():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
"""

FAILING = 1 + NET[: NET.index("values[3]")].count("\n")


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def mean_logits(gain):
    brightness = gain * (IMAGES.flatten(1).mean(1) - 0.5)
    return torch.stack([brightness, -brightness], 1)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("net.py:build", {"path": "net.py", "function": "build"}),
        ("a/b c/net.py:zoo.mean", {"path": "a/b c/net.py", "function": "zoo.mean"}),
        ("C:\\my\\net.py:build", {"path": "C:\\my\\net.py", "function": "build"}),
        ("package.module:build", {"path": "package.module", "function": "build"}),
        ("net.py", {"path": "net.py"}),
        ("torchscript:net", None),
        ("hf-dir:my.model:x", None),
        ("tiny-clip", None),
        ("module:build", None),
        ("1.5:x", None),
    ],
)
def test_what_is_taken_for_python(text, given):
    assert PythonFile.shorthand(text) == given


@pytest.mark.parametrize(("function", "gain"), [("build", 10), ("made", 20), ("zoo.mean", 30), ("Mean", 10)])
def test_a_function_a_class_and_the_model_itself(net, function, gain):
    victim = PythonFile(path="net.py", function=function).load(TASK)
    assert type(victim) is Classifier
    assert not victim.training
    assert torch.allclose(victim(IMAGES), mean_logits(gain), atol=1e-6)


def test_the_task_and_the_number_of_classes_are_handed_over(net):
    assert torch.allclose(PythonFile(path="net.py", function="for_task").load(TASK)(IMAGES), mean_logits(5), atol=1e-6)
    three = TASK.replace(classes=("a", "b", "c"))
    assert PythonFile(path="net.py", function="Wide").load(three)(IMAGES).shape == (5, 3)


def test_random_values_are_the_same_every_time_and_leave_the_generator_alone(net):
    state = torch.get_rng_state()
    first, second = (PythonFile(path="net.py", function="Wide").load(TASK)(IMAGES) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes_and_statistics_are_put_before_the_network(net):
    from torchvision.transforms.v2.functional import normalize

    victim = PythonFile(path="net.py", function="build", size=8, normalisation="imagenet").load(TASK)
    seen = victim.preprocess(IMAGES)
    assert seen.shape == (5, 3, 8, 8)
    flat = torch.full((1, 3, 4, 4), 0.25)
    wanted = normalize(flat, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.allclose(victim.preprocess(flat), wanted[..., :1, :1].expand(1, 3, 8, 8), atol=1e-5)


def test_a_module_of_an_installed_package():
    weights = PythonFile(path="torchvision.models.squeezenet", function="squeezenet1_1")
    with pytest.raises(WeightsError, match="cannot classify the dataset's images, 3 x 4 x 4"):
        weights.load(TASK)
    fits = PythonFile(path="torchvision.models.squeezenet", function="squeezenet1_1", size=64)
    with pytest.raises(WeightsError, match="tells 1000 classes apart, but the dataset has 2; bring a model that was"):
        fits.load(TASK)


def test_modules_beside_it_are_importable_while_it_runs_and_only_then(net):
    (net.parent / "beside_it.py").write_text("GAIN = 7.0\n")
    net.write_text(NET + "\n\ndef late():\n    import beside_it\n    return Mean(beside_it.GAIN)\n")
    before = list(sys.path)
    try:
        victim = PythonFile(path=str(net), function="late").load(TASK)
    finally:
        sys.modules.pop("beside_it", None)
    assert torch.allclose(victim(IMAGES), mean_logits(7), atol=1e-6)
    assert sys.path == before


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_state_dict_is_loaded_into_it(net, tmp_path, suffix):
    from safetensors.torch import save_file

    path = tmp_path / f"w.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)({"gain": torch.tensor(40.0)}, path)
    victim = PythonFile(path="net.py", function="build", weights=str(path)).load(TASK)
    assert torch.allclose(victim(IMAGES), mean_logits(40), atol=1e-5)


def test_pickled_code_in_weights_is_not_run(net, tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"gain": Bomb()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"w.pt cannot be read \(UnpicklingError\); it must be a .safetensors file"):
        PythonFile(path="net.py", function="build", weights="w.pt").load(TASK)
    assert not (tmp_path / "ran").exists()


def test_edits_are_noticed_even_within_a_second(net):
    victim = PythonFile(path="net.py", function="build")
    victim.load(TASK)
    net.write_text(NET.replace("gain=10.0", "gain=99.0"))
    assert torch.allclose(victim.load(TASK)(IMAGES), mean_logits(99), atol=1e-4)


@pytest.mark.parametrize("changed", ["net.py", "own.py", "w.bin", "state.pt"])
def test_the_fingerprint_follows_the_file_and_what_it_uses(net, changed):
    net.write_text("import own\n" + NET + "\nWEIGHTS = 'w.bin'\n")
    for name in ("own.py", "w.bin", "state.pt", "unrelated.py"):
        (net.parent / name).write_text("x = 1\n")

    def digest():
        return of_component(PythonFile(path="net.py", function="build", weights="state.pt"))["files"]

    before = digest()
    (net.parent / "unrelated.py").write_text("x = 2\n")
    assert digest() == before
    with (net.parent / changed).open("a") as file:
        file.write("# another\n")
    assert digest() != before


BAD = {
    "no file": (
        {"path": "gone.py", "function": "build"},
        WeightsError,
        "file found no file at gone.py; write FILE.py:",
    ),
    "no path": ({}, SpecError, "file needs a file; write FILE.py:NAME."),
    "no function named": (
        {"path": "net.py"},
        SpecError,
        "net.py does not say what in it is the model; write net.py:NA",
    ),
    "no such function": (
        {"path": "net.py", "function": "biuld"},
        SpecError,
        "net.py has no 'biuld'; it has Classifier, Mean, Wide, build, fails, for_task, made, needy, nothing, ot",
    ),
    "a number": ({"path": "net.py", "function": "number"}, ContractError, "net.py:number is no model: it gives a int,"),
    "nothing": (
        {"path": "net.py", "function": "nothing"},
        ContractError,
        "it gives a NoneType, and robench needs a tor",
    ),
    "an argument": (
        {"path": "net.py", "function": "needy"},
        ContractError,
        "net.py:needy raised TypeError: needy() mis",
    ),
    "an error": (
        {"path": "net.py", "function": "fails"},
        ContractError,
        f"net.py:fails raised IndexError: list index out of range (net.py, line {FAILING}).",
    ),
    "an exit": (
        {"path": "net.py", "function": "stops"},
        ContractError,
        "net.py:stops raised SystemExit: 2 (net.py, li",
    ),
    "three classes": (
        {"path": "net.py", "function": "triple"},
        WeightsError,
        "net.py tells 3 classes apart, but the d",
    ),
    "an image": (
        {"path": "net.py", "function": "picture"},
        WeightsError,
        "with a tensor of shape (2, 2, 4, 4); logits ",
    ),
    "a dict": (
        {"path": "net.py", "function": "words"},
        WeightsError,
        "net.py answers with dict instead of a tensor of ",
    ),
    "another size": (
        {"path": "net.py", "function": "other_size"},
        WeightsError,
        "net.py cannot classify the dataset's images, 3 x 4 x 4 in [0, 1]: RuntimeError: mat1 and mat2 shapes cannot",
    ),
    "no module": (
        {"path": "no_such.module", "function": "build"},
        SpecError,
        "There is no Python module 'no_such.module' here; run robench where it can be imported, install it, or write",
    ),
    "no weights": (
        {"path": "net.py", "function": "build", "weights": "gone.pt"},
        WeightsError,
        "weights file gone.pt does not exist; pass -p victim.weights=FILE with one that does.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_a_sentence(net, case):
    given, kind, sentence = BAD[case]
    with pytest.raises(kind) as caught:
        PythonFile(**given).load(TASK)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_python_or_fails_is_told_with_its_line(net):
    net.write_text("x = 1\ndef build(:\n")
    with pytest.raises(ContractError, match=r"net.py is not Python: .* \(net.py, line 2\)\."):
        PythonFile(path="net.py", function="build").load(TASK)
    net.write_text("x = 1\n\nimport no_such_thing\n")
    with pytest.raises(ContractError, match=r"raised ModuleNotFoundError: No module named .* \(net.py, line 3\)\."):
        PythonFile(path="net.py", function="build").load(TASK)


def test_weights_of_another_architecture(net, tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(
        WeightsError, match=r"w.pt does not fit what net.py:build builds \(.*; give the state dict of thi"
    ):
        PythonFile(path="net.py", function="build", weights="w.pt").load(TASK)
