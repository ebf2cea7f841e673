"""ResNet-20: both layouts, the right normalisation for each, and sentences for files that are neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from robench import Preprocess, Task, WeightsError
from robench_builtins.datasets.cifar10 import Cifar10
from robench_builtins.datasets.imagefolder import ImageFolder
from robench_builtins.models.resnet20 import STATISTICS, ResNet20
from robench_builtins.models.shared.cifar_resnet import CifarResNet, Option

TASK = Task(classes=Cifar10().classes(), shape=(3, 32, 32))
LAYOUTS: list[tuple[Option, str]] = [("A", "imagenet"), ("B", "cifar10")]


def state_of(option: Option, classes: int = 10) -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = CifarResNet(classes, option)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.1)
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def write(state: Any, path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.kit
def test_the_trained_file_reaches_its_published_accuracy(kit: Path, cifar_folder: Path) -> None:
    data = ImageFolder(path=str(cifar_folder), size=32, test=1.0, origin_name="cifar10")
    assert data.classes() == TASK.classes
    examples = data.load("test")
    victim = ResNet20(checkpoint=str(kit / "resnet20_cifar10.safetensors")).load(TASK)
    with torch.no_grad():
        right = sum(int((victim(images).argmax(1) == labels).sum()) for images, labels, _ in examples.batches(141))
    assert (right, len(examples)) == (389, 423)
    assert abs(right / 423 - ResNet20.reference["cifar10"]) < ResNet20.reference_tolerance


@pytest.mark.kit
def test_the_other_normalisation_costs_accuracy(kit: Path, cifar_folder: Path) -> None:
    images, labels, _ = next(iter(ImageFolder(path=str(cifar_folder), size=32, test=1.0).load("test").batches(423)))
    file = str(kit / "resnet20_cifar10.safetensors")
    with torch.no_grad():
        right, wrong = (
            int((ResNet20(checkpoint=file, normalisation=name).load(TASK)(images).argmax(1) == labels).sum())
            for name in ("imagenet", "cifar10")
        )
    assert wrong < right == 389


@pytest.mark.parametrize(("option", "statistics"), LAYOUTS)
@pytest.mark.parametrize("name", ["weights.pt", "weights.th", "weights.safetensors"])
def test_both_layouts_load_with_their_own_normalisation(
    option: Option, statistics: str, name: str, tmp_path: Path
) -> None:
    file = write(state_of(option), tmp_path / name)
    victim = ResNet20(checkpoint=file).load(TASK)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network = CifarResNet(10, option)
    network.load_state_dict(state_of(option))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS[statistics])
    with torch.no_grad():
        assert torch.allclose(victim(images), network.eval()((images - mean) / std), atol=1e-6)
    assert not victim.training
    assert ResNet20(checkpoint=file).files() == (Path(file),)


@pytest.mark.parametrize(("option", "count", "head"), [("A", 269_722, "linear"), ("B", 272_474, "fc")])
def test_the_parameters_are_as_many_as_published(option: Option, count: int, head: str) -> None:
    network = CifarResNet(10, option)
    assert sum(p.numel() for p in network.parameters()) == count
    names = set(network.state_dict())
    assert {f"{head}.weight", f"{head}.bias", "conv1.weight", "layer3.2.bn2.running_var"} <= names
    assert (
        ("layer2.0.downsample.0.weight" in names) == ("layer3.0.downsample.1.running_mean" in names) == (option == "B")
    )


def test_option_a_pads_half_of_the_channels_before_and_half_after() -> None:
    block = CifarResNet(10, "A").layer2[0]
    maps = torch.rand(1, 16, 4, 4)
    shortcut = block._shortcut(maps)
    assert shortcut.shape == (1, 32, 2, 2)
    assert torch.equal(shortcut[:, 8:24], maps[:, :, ::2, ::2])
    assert not shortcut[:, :8].any()
    assert not shortcut[:, 24:].any()


def test_the_prefix_of_parallel_training_and_the_outer_key_are_taken_off(tmp_path: Path) -> None:
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in state_of("A").items()}, "best_prec1": 91.7}
    victim = ResNet20(checkpoint=write(wrapped, tmp_path / "a.th")).load(TASK)
    plain = ResNet20(checkpoint=write(state_of("A"), tmp_path / "b.pt")).load(TASK)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(victim(images), plain(images))


@pytest.mark.parametrize("named", ["cifar10", "imagenet"])
def test_a_named_normalisation_overrides_the_layouts(named: Any, tmp_path: Path) -> None:
    file = write(state_of("B"), tmp_path / "w.pt")
    preprocess = ResNet20(checkpoint=file, normalisation=named).load(TASK).preprocess
    assert isinstance(preprocess, Preprocess)
    assert preprocess.get_buffer("mean").flatten().tolist() == pytest.approx(STATISTICS[named][0])
    assert preprocess.get_buffer("std").flatten().tolist() == pytest.approx(STATISTICS[named][1])


@pytest.mark.parametrize("option", ["A", "B"])
def test_another_number_of_classes_is_refused(option: Option, tmp_path: Path) -> None:
    file = write(state_of(option, classes=100), tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"tells 100 classes apart, but the dataset has 10; name weights trained on"):
        ResNet20(checkpoint=file).load(TASK)


def test_keys_of_another_network_are_named(tmp_path: Path) -> None:
    file = write({"features.0.weight": torch.zeros(1), "head.bias": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(
        WeightsError, match=r"holds no CIFAR ResNet-20: .* has 2 tensors \(features.0.weight, head.bias\)"
    ):
        ResNet20(checkpoint=file).load(TASK)


def test_another_depth_is_refused(tmp_path: Path) -> None:
    file = write(CifarResNet(10, "B", blocks=5).state_dict(), tmp_path / "resnet32.pt")
    with pytest.raises(WeightsError, match=r"is laid out almost, but not quite, as a CIFAR ResNet-20 with .*layer1.3"):
        ResNet20(checkpoint=file).load(TASK)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("code from a weights file was run",))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read \(UnpicklingError\); it must be a .safetensors file or"):
        ResNet20(checkpoint=write({"conv1.weight": Evil()}, tmp_path / "w.pt")).load(TASK)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_damaged_or_missing_file_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(WeightsError, match=r"^weights file \S+ does not exist; pass -p victim.checkpoint=FILE"):
        ResNet20(checkpoint=str(path)).load(TASK)
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"^weights file \S+ cannot be read \("):
        ResNet20(checkpoint=str(path)).load(TASK)


def test_a_file_without_tensors_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no state dict of tensors, but a list\.$"):
        ResNet20(checkpoint=write([1, 2], tmp_path / "w.pt")).load(TASK)


def test_the_hub_file_is_fetched_with_its_hash_and_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fetch(url: str, **options: Any) -> dict[str, Tensor]:
        asked.update(options, url=url)
        return state_of("B")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    victim = ResNet20().load(TASK)
    assert victim(torch.rand(1, 3, 32, 32)).shape == (1, 10)
    assert asked["url"] == ResNet20.url()
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True
    assert ResNet20().files() == ()


def test_offline_says_what_to_download_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        ResNet20().load(TASK)
    place = tmp_path / "hub" / "checkpoints" / "cifar10_resnet20-4118986f.pt"
    assert str(caught.value) == (
        f"ResNet-20's weights are not at {place} and the run is offline; download {ResNet20.url()}, put it there or "
        "pass -p victim.checkpoint=FILE."
    )


def test_a_failing_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, **options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("ROBENCH_OFFLINE", raising=False)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(WeightsError, match=r"could not be downloaded \(no route to host\); download https://github"):
        ResNet20().load(TASK)
