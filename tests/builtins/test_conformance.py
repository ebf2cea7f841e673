"""Every built-in passes the conformance kit, as any third party's component must."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from robench import Exporter
from robench.contracts.components import Component
from robench.plugin.catalog import catalog
from robench.testing import Check, check_component, conformance
from robench.testing.component_under_test import Subject
from robench.testing.declaration_checks import CHECKS as DECLARED
from robench.testing.fixtures import LARGE, SMALL
from robench_builtins.datasets.imagenet_variants import VARIANTS
from robench_builtins.datasets.torchvision_sets import SETS
from robench_builtins.datasets.whole_sets import WHOLE_SETS
from robench_builtins.models.tiny_clip import WEIGHTS

BUILT_IN = [
    offer.component
    for offer in catalog().offers.values()
    if offer.plugin.name == "builtins" and not issubclass(offer.component, Exporter)
]
#: What is nothing without a file, a name or a download is tried on real files: below, and in the tests of each.
BROUGHT_IN = {
    *(
        "cifar10",
        "cifar100",
        "coop",
        "hateful-memes",
        "tiny-imagenet",
        "mnist",
        "fashion-mnist",
        "imagenet",
        "imagefolder",
        "plantvillage",
        "flickr",
        "hf",
        "wds",
        "npz",
    ),
    *(source.name for source in (*SETS, *VARIANTS, *WHOLE_SETS)),
    *("file", "torchscript", "export", "hf-dir", "timm", "torchvision", "open_clip", "ensemble"),
    *(
        "clip-rn50",
        "clip-vit-b16",
        "clip-vit-b32",
        "clip-vit-l14",
        "images",
        "robustbench",
        "torchattacks",
        "foolbox",
        "art",
    ),
}
#: Long searches are shorter where shapes, bounds and numbers of passes are looked at, at 224 x 224 above all, or bits
#: are compared, and so are the attacks within adversarial training; the rest is asked of the defaults.
SHORT = {
    "apgd": {"steps": 10},
    "autoattack": {"steps": 5, "queries": 50},
    "cw": {"steps": 20, "searches": 2},
    "fab": {"steps": 5},
    "patch": {"steps": 5, "places": 2, "tries": 4},
    "patch-rs": {"queries": 100},
    "sparse-rs": {"queries": 100},
    "square": {"queries": 100},
}
SHORTEST = {
    **SHORT,
    "apgd": {"steps": 5},
    "autoattack": {"steps": 1, "queries": 5},
    "cw": {"steps": 5, "searches": 2},
    "fab": {"steps": 2, "targets": 2},
    "square": {"queries": 20},
    "vmi-fgsm": {"steps": 3},
}
SHAPES = {
    **dict.fromkeys(("box, ball, float32", "passes", "on CUDA", str(SMALL)), SHORT),
    **dict.fromkeys(("same seed", "any batch", "asked in parts"), SHORT),
    str(LARGE): SHORTEST,
}
GIVEN: dict[str, dict[str, object]] = {
    **{name: {"weights": "none"} for name in ("resnet20", "resnet32", "resnet44", "resnet56")},
    **{name: {"attack_steps": 3} for name in ("pgd-at", "trades")},
}


def checks_of(component: type[Component]) -> list[Check]:
    """Return the checks that can be tried of a component by itself."""
    found = conformance(component, **GIVEN.get(component.name, {}))
    if component.name in BROUGHT_IN:
        return [check for check in found if check.name in DECLARED]
    for name, given in SHAPES.items():
        if component.name in given:
            short = {check.name: check for check in conformance(component, **given[component.name])}
            found = [short[name] if check.name == name else check for check in found]
    return found


CHECKS = [check for component in dict.fromkeys(BUILT_IN) for check in checks_of(component)]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Let nothing be downloaded: what that leaves untried is skipped, with its reason."""
    for name in ("HF_HUB_OFFLINE", "ROBENCH_OFFLINE"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="module")
def last() -> list[Subject]:
    """Return a list of the component that was tried last: what was made of it is let go before the next one."""
    return []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.subject.name}: {check}")
def test_conformance(check: Check, last: list[Subject]) -> None:
    if last and last[0] is not check.subject:
        last.pop().forget()
    last[:] = [check.subject]
    check()


def build(name, role, **parameters):
    return catalog().find(role, name).build(parameters)


def failures(component, **options):
    results = check_component(component, **options)
    assert any(result.status == "passed" for result in results)
    return {result.name: result.sentence for result in results if result.status == "failed"}


@pytest.mark.parametrize(
    ("name", "role", "parameters"),
    [
        ("pgd", "attack", {"restarts": 2, "steps": 3, "target": "least-likely"}),
        ("pgd", "attack", {"random_start": False, "step_size": 1 / 255}),
        ("pgd", "attack", {"target": "random", "steps": 3}),
        ("tecoa", "defense", {"trainable": "full", "epochs": 1}),
        ("lora-ce", "defense", {"adversary": "clean", "dropout": 0.0, "epochs": 2}),
        ("vpt", "defense", {"mode": "deep", "epochs": 1}),
        ("vpt", "defense", {"mode": "padding", "prompt_size": 4, "epochs": 1}),
        ("vpt", "defense", {"mode": "bias", "init": "zero", "epochs": 1}),
        ("tecoa", "defense", {"adversary": "transfer", "epochs": 2}),
        ("pgd-at", "defense", {"start": "scratch", "mix": 0.5, "attack_steps": 2, "epochs": 2}),
        ("adv-finetune", "defense", {"last": 1, "attack_steps": 2, "epochs": 2}),
        ("pmg-aft", "defense", {"temperature": None, "reduction": "mean", "epochs": 2}),
    ],
    ids=str,
)
def test_other_parameters_conform(name, role, parameters):
    assert failures(build(name, role, **parameters)) == {}


@pytest.mark.parametrize("name", ["tecoa", "vpt", "fare", "ttc"])
def test_defenses_conform_on_the_real_small_clip(name):
    tuned = {**build("tiny-clip", "victim").tuning[name], "epochs": 2} if name != "ttc" else {}
    assert failures(build(name, "defense", **tuned), victim=build("tiny-clip", "victim")) == {}


def network() -> torch.nn.Module:
    """Return a small network for the kit's usual images, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, stride=4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 8 * 8, 10)
        ).eval()


def python_file(folder: Path) -> dict[str, str]:
    (folder / "net.py").write_text("import torch\n\n\n" + inspect.getsource(network))
    return {"path": str(folder / "net.py"), "function": "network"}


def torchscript(folder: Path) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the writing of TorchScript; there are files of it
        torch.jit.script(network()).save(folder / "net.ts")
    return {"path": str(folder / "net.ts")}


def export(folder: Path) -> dict[str, str]:
    images = torch.zeros(2, 3, 32, 32)
    program = torch.export.export(network(), (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, folder / "net.pt2")
    return {"path": str(folder / "net.pt2")}


#: Victims that are nothing without a file or a folder, on real ones; other tests have those of the model libraries.
BROUGHT = {
    "file": python_file,
    "torchscript": torchscript,
    "export": export,
    "hf-dir": lambda folder: {"path": str(WEIGHTS)},
    "clip-vit-b32": lambda folder: {"checkpoint": str(WEIGHTS)},
    "clip-vit-b16": lambda folder: {"checkpoint": str(WEIGHTS)},
}


@pytest.mark.parametrize("name", BROUGHT)
def test_what_a_user_brings_conforms(name, tmp_path):
    results = {r.name: r for r in check_component(build(name, "victim", **BROUGHT[name](tmp_path)))}
    assert {name: r.sentence for name, r in results.items() if r.status == "failed"} == {}
    tried = ("logits", "same weights", "gradient", "any batch", "copies and devices", "statements")
    without = {name: results[name].sentence for name in tried if results[name].status != "passed"}
    if name == "torchscript" and not torch.cuda.is_available():
        assert "where a GPU cannot be pretended" in without.pop("copies and devices")
    assert without == {}


def test_a_folder_of_photos_conforms(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(10):
            pixels = torch.randint(0, 256, (20, 16, 3), dtype=torch.uint8, generator=generator)
            Image.fromarray(pixels.numpy()).save(tmp_path / label / f"{number}.png")
    results = check_component(build("imagefolder", "dataset", path=str(tmp_path), size=16))
    assert {result.name: result.status for result in results if result.status != "passed"} == {}


def test_resnet20_with_its_weights_conforms(kit):
    results = {
        r.name: r
        for r in check_component(build("resnet20", "victim", checkpoint=str(kit / "resnet20_cifar10.safetensors")))
    }
    assert {name: r.sentence for name, r in results.items() if r.status == "failed"} == {}
    assert results["logits"].status == results["gradient"].status == "passed"
    assert (
        "but the dataset has 1000; name weights trained on these classes"
        in results["1,000 classes, 3 x 224 x 224"].sentence
    )


def test_what_needs_a_download_says_so_and_is_checked_as_far_as_possible(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBENCH_DATA", str(tmp_path))
    results = {r.name: r for r in check_component(build("cifar10", "dataset"))}
    assert results["class names"].status == results["usual victim"].status == "passed"
    assert results["disjoint splits"].status == "not tried"
    assert "cifar10 needs " in results["disjoint splits"].sentence
