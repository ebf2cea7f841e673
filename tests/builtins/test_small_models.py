"""The small models: parameter counts, weights from a seed or a file, and parity with independent forwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.models import inception_v3

from robench import Preprocess, SpecError, Task, WeightsError
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.models.inception_v3 import InceptionV3
from robench_builtins.models.mlp import Linear, Mlp
from robench_builtins.models.plant_vit import PlantViT
from robench_builtins.models.resnet20 import STATISTICS, ResNet20, ResNet32, ResNet44, ResNet56
from robench_builtins.models.shared.average_pooling import GridMean
from robench_builtins.models.shared.cifar_resnet import CifarResNet
from robench_builtins.models.shared.from_scratch import widths
from robench_builtins.models.small_cnn import SmallCnn

TEN = tuple("0123456789")
MNIST = Task(classes=TEN, shape=(1, 28, 28), seed=3)
CIFAR = Task(classes=TEN, shape=(3, 32, 32), seed=3)

TINY_VIT = PlantViT(size=16, patch=4, width=8, heads=2, blocks=2, hidden="12,6")


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def images(task: Task, number: int = 3) -> torch.Tensor:
    return torch.rand(number, *task.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "task", "parameters"),
    [
        (Linear(), MNIST, 784 * 10 + 10),
        (Mlp(), MNIST, 25_818),
        (Mlp(hidden="1024,1024"), MNIST, 1_863_690),
        (Mlp(hidden=""), MNIST, 7_850),
        (Mlp(size=8), CIFAR, 192 * 32 + 32 + 32 * 16 + 16 + 170),
        (SmallCnn(), MNIST, 113_738),
        (SmallCnn(), CIFAR, 113_738),
        (PlantViT(), CIFAR, 15_319_754),
        (PlantViT(size=256, patch=32), CIFAR, 15_504_074),
        (InceptionV3(), CIFAR, 21_806_058),
        (ResNet20(weights="none"), CIFAR, 272_474),
        (ResNet32(weights="none"), CIFAR, 466_906),
        (ResNet44(weights="none"), CIFAR, 661_338),
        (ResNet56(weights="none"), CIFAR, 855_770),
    ],
    ids=lambda value: f"{value.name} {value.seed if isinstance(value, Task) else ''}" if hasattr(value, "name") else "",
)
def test_parameters_are_counted_exactly(model: Any, task: Task, parameters: int) -> None:
    with torch.device("meta"):
        network = model._drawn(task)[0] if isinstance(model, ResNet20) else model.network(task)
    assert count(network) == parameters


def test_inception_of_report_001_has_its_layers_and_parameters() -> None:
    with torch.device("meta"):
        network = InceptionV3(hidden="512", head_dropout=0.5).network(CIFAR)
    hidden, _, dropout, last = network.fc
    assert [sum(p.numel() for p in layer.parameters()) for layer in (hidden, last)] == [1_049_088, 5_130]
    assert dropout.p == 0.5
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    running = sum(2 * layer.num_features for layer in norms)
    scales = sum(layer.weight.numel() for layer in norms)
    total = sum(p.numel() for p in network.parameters())
    # Keras counts running means and variances, and its batch norms have no scale.
    assert (total, running, total + running - scales) == (22_839_786, 34_432, 22_857_002)


def test_inception_for_a_thousand_classes_is_torchvisions_without_its_helper() -> None:
    with torch.device("meta"):
        whole = inception_v3(weights=None, init_weights=False)
    assert count(whole) == 27_161_264
    assert count(whole) - count(whole.AuxLogits) == 23_834_568
    with torch.device("meta"):
        assert count(InceptionV3().network(CIFAR.replace(classes=tuple(map(str, range(1000)))))) == 23_834_568


MODELS = {
    "linear": Linear(),
    "mlp": Mlp(),
    "small-cnn": SmallCnn(),
    "plant-vit": TINY_VIT,
    "resnet20": ResNet20(weights="none"),
}


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_drawn_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = MODELS[name].load(CIFAR)
    expected = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), expected)
    again, other = MODELS[name].load(CIFAR), MODELS[name].load(CIFAR.replace(seed=4))
    assert torch.equal(first(images(CIFAR)), again(images(CIFAR)))
    assert not torch.equal(first(images(CIFAR)), other(images(CIFAR)))
    assert MODELS[name].untrained()
    assert not first.training


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("whole", [False, True], ids=["the network's state", "the classifier's state"])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "resnet20"])
def test_weights_from_a_file_need_no_training(name: str, whole: bool, suffix: str, tmp_path: Path) -> None:
    kind, parameters = type(MODELS[name]), MODELS[name].parameters
    trained = MODELS[name].load(CIFAR.replace(seed=9))
    state = (trained if whole else trained.network).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    model = kind(**{**parameters, "checkpoint": str(path)})
    assert not model.untrained()
    assert model.files() == (path,)
    assert torch.equal(model.load(CIFAR)(images(CIFAR)), trained(images(CIFAR)))


def test_a_file_of_another_network_or_other_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(Mlp().load(MNIST).network.state_dict(), path)
    with pytest.raises(
        WeightsError,
        match=r"^\S+w.pt does not fit mlp for 10 classes of images 3 x 32 x 32 \(.*784.*\); give weights of this very",
    ):
        Mlp(checkpoint=str(path)).load(CIFAR)
    with pytest.raises(WeightsError, match=r"does not fit mlp for 2 classes of images 1 x 28 x 28"):
        Mlp(checkpoint=str(path)).load(MNIST.replace(classes=("a", "b")))
    with pytest.raises(WeightsError, match=r"does not fit small-cnn .*Missing key"):
        SmallCnn(checkpoint=str(path)).load(MNIST)
    with pytest.raises(WeightsError, match=r"^weights file \S+gone.pt does not exist; pass -p victim.checkpoint=FILE"):
        Linear(checkpoint=str(tmp_path / "gone.pt")).load(MNIST)


@pytest.mark.parametrize("text", ["32,16", "32-16", "32 16", "32x16", " 32 , 16 "])
def test_widths_are_read_in_every_spelling(text: str) -> None:
    assert widths("x", text) == [32, 16]


@pytest.mark.parametrize("text", ["32,a", "0", "3.5", "32,0"])
def test_what_is_no_width_is_refused(text: str) -> None:
    with pytest.raises(
        SpecError, match=r"^mlp.hidden takes whole numbers above 0, separated by commas or -, such as 32"
    ):
        Mlp(hidden=text).load(MNIST)


def test_impossible_shapes_say_what_to_change() -> None:
    with pytest.raises(
        SpecError, match=r"^linear would have 150,528,000 weights in its first layer; make the images sm"
    ):
        Linear().load(Task(classes=tuple(map(str, range(1000))), shape=(3, 224, 224)))
    with pytest.raises(
        SpecError, match=r"^small-cnn.channels is empty; give one or more numbers, such as 32,64,128\.$"
    ):
        SmallCnn(channels="").load(MNIST)
    with pytest.raises(SpecError, match=r"^plant-vit.patch is 65 pixels and the images are 64; choose a smaller patch"):
        PlantViT(patch=65).load(CIFAR)


def test_the_perceptron_is_its_formula() -> None:
    model = Mlp(hidden="5-4").load(MNIST)
    first, second, third = (layer for layer in model.network if isinstance(layer, nn.Linear))
    x = images(MNIST).flatten(1).double()
    hidden = (x @ first.weight.double().T + first.bias.double()).clamp_min(0)
    hidden = (hidden @ second.weight.double().T + second.bias.double()).clamp_min(0)
    wanted = hidden @ third.weight.double().T + third.bias.double()
    assert torch.allclose(model(images(MNIST)).double(), wanted, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (3, 5), (16, 10)])
def test_means_of_fields_are_adaptive_pooling(shape: tuple[int, int]) -> None:
    maps = torch.rand(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    found, wanted = GridMean(4)(maps), nn.AdaptiveAvgPool2d(4)(maps)
    assert torch.allclose(found, wanted, atol=1e-12)
    weights = torch.rand_like(wanted)
    gradients = [torch.autograd.grad((weights * answer).sum(), maps)[0] for answer in (found, wanted)]
    assert torch.allclose(*gradients, atol=1e-12)


@pytest.mark.parametrize("name", ["small-cnn", "plant-vit", "resnet20"])
def test_grey_images_are_three_equal_channels(name: str) -> None:
    model = MODELS[name].load(MNIST)
    grey = images(MNIST)
    assert torch.allclose(model(grey), model(grey.expand(-1, 3, -1, -1)), atol=1e-6)


def reference_vit(state: dict[str, torch.Tensor], x: torch.Tensor, patch: int, stride: int, heads: int) -> torch.Tensor:
    """Compute plant-vit's logits from its tensors in float64, patch by patch and head by head."""
    s = {name: tensor.double() for name, tensor in state.items()}
    patches = F.unfold(x.double(), patch, stride=stride).transpose(1, 2)
    tokens = patches @ s["embedding.weight"].flatten(1).T + s["embedding.bias"] + s["positions"]
    width = tokens.shape[-1]
    for block in range(2):
        name = f"encoder.{block}"
        normed = F.layer_norm(tokens, (width,), s[f"{name}.norm1.weight"], s[f"{name}.norm1.bias"], 1e-6)
        mixed = (normed @ s[f"{name}.attention.inputs.weight"].T + s[f"{name}.attention.inputs.bias"]).split(width, -1)
        outs = []
        for head in range(heads):
            query, key, value = mixed[head], mixed[heads + head], mixed[2 * heads + head]
            outs.append(torch.softmax(query @ key.transpose(1, 2) / width**0.5, -1) @ value)
        tokens = tokens + torch.cat(outs, -1) @ s[f"{name}.attention.output.weight"].T
        tokens = tokens + s[f"{name}.attention.output.bias"]
        hidden = F.layer_norm(tokens, (width,), s[f"{name}.norm2.weight"], s[f"{name}.norm2.bias"], 1e-6)
        for layer in (0, 3):
            hidden = F.gelu(hidden @ s[f"{name}.mlp.{layer}.weight"].T + s[f"{name}.mlp.{layer}.bias"])
        tokens = tokens + hidden
    flat = F.layer_norm(tokens, (width,), s["encoder.2.weight"], s["encoder.2.bias"], 1e-6).flatten(1)
    for layer in (0, 3):
        flat = F.gelu(flat @ s[f"head.2.{layer}.weight"].T + s[f"head.2.{layer}.bias"])
    return flat @ s["head.3.weight"].T + s["head.3.bias"]


def test_the_small_transformer_is_its_formula_with_overlapping_patches() -> None:
    model = TINY_VIT.load(CIFAR.replace(shape=(3, 16, 16)))
    with torch.no_grad():  # as drawn, biases are 0 and norms are 1
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert model.network.get_parameter("positions").shape == (25, 8)  # (16 - 4) / 3 + 1 patches a side
    wanted = reference_vit(model.network.state_dict(), 2 * x - 1, patch=4, stride=3, heads=2)
    with torch.no_grad():
        assert torch.allclose(model(x).double(), wanted, atol=1e-5)


@pytest.mark.parametrize(("stride", "patches"), [(0, 100), (8, 64), (6, 100), (4, 225)])
def test_the_stride_decides_how_many_patches_there_are(stride: int, patches: int) -> None:
    with torch.device("meta"):
        network = PlantViT(stride=stride).network(CIFAR)
    assert network.get_parameter("positions").shape == (patches, 64)


def test_inception_takes_torchvisions_weights_and_gives_its_logits(tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        official = inception_v3(weights=None, init_weights=False, transform_input=True, num_classes=10).eval()
    torch.save(official.state_dict(), tmp_path / "inception.pt")
    model = InceptionV3(checkpoint=str(tmp_path / "inception.pt"), size=80).load(CIFAR)
    x = torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    normalised = Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(x)
    with torch.no_grad():
        wanted, found = official(normalised), model(x)
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


def state_of(blocks: int, classes: int = 10) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CifarResNet(classes, "B", blocks).state_dict()


@pytest.mark.parametrize("kind", [ResNet20, ResNet32, ResNet44, ResNet56])
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_every_depth_has_its_hub_files(
    kind: type[ResNet20], data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = 6 * kind.blocks + 2
    assert kind.name == f"resnet{depth}"
    assert kind.url(data).startswith(
        f"https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet/{data}_"
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        WeightsError, match=rf"^ResNet-{depth}'s weights are not at \S+{kind.published[data]} and the run"
    ):
        kind(weights=data).load(CIFAR)
    assert not kind(weights=data).untrained()


def test_the_hub_weights_of_cifar100_come_with_their_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **_: state_of(5, 100))
    for name in ("HF_HUB_OFFLINE", "ROBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    hundred = CIFAR.replace(classes=tuple(map(str, range(100))))
    preprocess = ResNet32(weights="cifar100").load(hundred).preprocess
    assert preprocess.get_buffer("mean").flatten().tolist() == pytest.approx(STATISTICS["cifar100"][0])
    with pytest.raises(WeightsError, match=r"tells 100 classes apart, but the dataset has 10; name weights trained on"):
        ResNet32(weights="cifar100").load(CIFAR)


def test_a_file_of_another_depth_is_refused(tmp_path: Path) -> None:
    torch.save(state_of(5), tmp_path / "resnet32.pt")
    assert ResNet32(checkpoint=str(tmp_path / "resnet32.pt")).load(CIFAR)(images(CIFAR)).shape == (3, 10)
    with pytest.raises(
        WeightsError, match=r"is laid out almost, but not quite, as a CIFAR ResNet-44 with .*Missing key"
    ):
        ResNet44(checkpoint=str(tmp_path / "resnet32.pt")).load(CIFAR)


def test_a_drawn_resnet_takes_any_number_of_classes_and_he_s_variance() -> None:
    model = ResNet20(weights="none").load(CIFAR.replace(classes=("a", "b", "c")))
    assert model(images(CIFAR)).shape == (3, 3)
    weight = model.network.get_parameter("layer3.1.conv1.weight")
    assert float(weight.detach().var()) == pytest.approx(2 / (64 * 9), rel=0.03)


@pytest.mark.parametrize("name", ["mlp", "small-cnn", "resnet56"])
def test_they_conform_where_they_are_trained(name: str) -> None:
    given = {"weights": "none"} if name == "resnet56" else {}
    results = check_component(catalog().find("victim", name).build(given))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert next(result for result in results if result.name == "same weights").status == "passed"
