"""What a component says it would download, and that it says nothing where it is there."""

from __future__ import annotations

import pytest

from robench.plan.spec import Spec, plan

#: Short for folders of the caches, in the table below.
SHORT = {"HUB/": "HF_HOME/hub/models--", "/SNAP/": "/snapshots/0/", "TORCH/": "TORCH_HOME/hub/checkpoints/"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HF_HOME", "TORCH_HOME", "ROBENCH_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path


def component(role, name):
    spec = Spec(dataset=name, victim=("linear",)) if role == "dataset" else Spec(victim=(name,))
    (cell, *_) = plan(spec)
    return getattr(cell, role).component


def put(place):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"")


@pytest.mark.parametrize(
    ("role", "name", "place", "says"),
    [
        ("dataset", "cifar10", "ROBENCH_DATA/cifar-10-batches-py/x", "cifar10 (170 MB, and 180 MB unpacked): to "),
        ("dataset", "cifar100", "ROBENCH_DATA/cifar-100-python.tar.gz", "-p dataset.path=DIR."),
        ("victim", "resnet20", "TORCH/cifar10_resnet20-4118986f.pt", "weights of ResNet-20 (https"),
        ("victim", "torchvision:resnet18", "TORCH/resnet18-f37072fd.pth", "f37072fd.pth, 45 MB"),
        ("victim", "clip-vit-l14", "HUB/openai--clip-vit-large-patch14/SNAP/model.safetensors", "(1.7 GB): to "),
        ("victim", "clip-rn50", "HUB/timm--resnet50_clip.openai/SNAP/open_clip_model.safetensors", "(409 MB)"),
        ("victim", "hf:microsoft/resnet-50", "HUB/microsoft--resnet-50/SNAP/pytorch_model.bin", "resnet-50: to "),
        ("victim", "timm:resnet10t.c3_in1k", "HUB/timm--resnet10t.c3_in1k/SNAP/model.safetensors", "c3_in1k: to "),
        ("victim", "open_clip:RN50/openai", "HUB/timm--resnet50_clip.openai/SNAP/open_clip_model.safetensors", ""),
    ],
)
def test_it_is_said_until_it_is_there(home, role, name, place, says):
    if name.startswith(("timm", "open_clip")):
        pytest.importorskip(name.partition(":")[0])
    found = component(role, name)
    (sentence,) = found.missing()
    assert says in sentence
    assert str(home) in sentence
    for short, long in SHORT.items():
        place = place.replace(short, long)
    put(home / place)
    assert found.missing() == ()


def test_both_parts_of_mnist_have_to_be_there(home):
    found = component("dataset", "mnist")
    raw = home / "ROBENCH_DATA" / "MNIST" / "raw"
    assert found.missing()[0].startswith(f"mnist (12 MB): to {raw}; ")
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3"):
        put(raw / f"{part}-ubyte.gz")
    assert found.missing() != ()
    put(raw / "t10k-labels-idx1-ubyte")
    assert found.missing() == ()


@pytest.mark.parametrize("name", ["tiny-clip", "mlp", "resnet20[weights=none]", "hf[model=a/b,pretrained=false]"])
def test_what_needs_nothing_says_nothing(home, name):
    assert component("victim", name).missing() == ()
