"""RobustBench's models: the networks by their parameters, random weights in every layout."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robench import SpecError, Task, WeightsError
from robench.plan.spec import Spec, plan
from robench_builtins.models.robustbench import RobustBench
from robench_builtins.models.shared.robustbench_networks import PerImage, build
from robench_builtins.models.shared.robustbench_zoo import STATISTICS, entries

CLASSES = {"cifar10": 10, "cifar100": 100}
#: A model of each family; of wide networks the narrowest that the zoo has.
SMALL = [
    ("corruptions", "Hendrycks2020AugMix_WRN"),
    ("Linf", "Andriushchenko2020Understanding"),
    ("L2", "Rice2020Overfitting"),
    ("Linf", "Rebuffi2021Fixing_R18_ddpm"),
    ("Linf", "Sehwag2021Proxy_R18"),
]


def task(classes=10, shape=(3, 32, 32)):
    return Task(classes=tuple(map(str, range(classes))), shape=shape)


def drawn(family, *arguments, classes=10):
    """Return a network with random weights and statistics that change what it answers."""
    torch.manual_seed(0)
    network = build(family, arguments, classes).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


def images(count=2):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def preact():
    return drawn("preact18", "raw")


def under(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("wrn 28 10", 36_479_194),
        ("wrn 28 10 unused", 38_119_866),
        ("dm-wrn 28 10 swish", 36_479_194),
        ("dm-preact18 swish", 12_548_426),
        ("resnet18", 11_173_962),
    ],
)
def test_parameters_are_as_many_as_in_the_zoo(kind, count):
    family, *arguments = kind.split()
    with torch.device("meta"):
        network = build(family, arguments, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("wrn 28 10", ["conv1.weight", "block1.layer.0.bn1.weight", "block2.layer.0.convShortcut.weight", "fc.bias"]),
        ("dm-wrn 28 10 silu", ["init_conv.weight", "layer.0.block.0.batchnorm_0.weight", "logits.bias"]),
        ("dm-preact18 swish", ["conv_2d.weight", "layer_0.0.batchnorm_0.weight", "layer_1.0.shortcut.weight"]),
        ("preact18 last", ["layer1.0.bn1.weight", "layer2.0.shortcut.0.weight", "bn.weight", "linear.weight"]),
        ("resnet50", ["bn1.weight", "layer1.0.conv3.weight", "layer1.0.shortcut.1.weight", "linear.weight"]),
    ],
)
def test_tensors_are_named_as_in_the_zoo(kind, names):
    family, *arguments = kind.split()
    with torch.device("meta"):
        assert set(names) <= set(build(family, arguments, 10).state_dict())


def test_every_entry_of_the_table_has_a_network_statistics_and_a_file_of_its_own():
    for entry in entries().values():
        assert entry.normalisation in ("", "per-image", "stored", *STATISTICS), entry
        assert len(entry.drive) == 33, entry
        assert entry.clean is None or 0.5 < entry.clean < 1, entry
        if entry.family != "torchvision":
            with torch.device("meta"):
                build(entry.family, entry.arguments, CLASSES[entry.data])
    assert len(entries()) > 90


@pytest.mark.parametrize(("threat", "name"), SMALL)
def test_a_model_of_each_family_answers_as_its_network_behind_its_normalisation(tmp_path, threat, name):
    entry = entries()["cifar10", threat, name]
    network = drawn(entry.family, *entry.arguments)
    torch.save(network.state_dict(), tmp_path / "weights.pt")

    model = RobustBench(model=name, threat=threat, checkpoint=str(tmp_path / "weights.pt")).load(task())

    pixels = images()
    if entry.normalisation:
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in STATISTICS[entry.normalisation])
        pixels = (pixels - mean) / std
    with torch.no_grad():
        assert torch.allclose(model(images()), network(pixels), atol=1e-5)


LAYOUTS = {
    "plain": lambda state: state,
    "state_dict, DataParallel": lambda state: {"state_dict": under("module.", state), "epoch": 3},
    "last of two": lambda state: {"last": state, "best": {name: value + 1 for name, value in state.items()}},
    "under model.": lambda state: {"state_dict": under("model.", state)},
    "without counters": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    "half": lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
    "with heads of training": lambda state: {**state, "model_preact_hl1.1.weight": torch.ones(2)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_in_every_layout(tmp_path, preact, layout):
    torch.save(LAYOUTS[layout](preact.state_dict()), tmp_path / "weights.pt")
    model = RobustBench(model="Andriushchenko2020Understanding", checkpoint=str(tmp_path / "weights.pt")).load(task())
    with torch.no_grad():
        assert torch.allclose(model(images()), preact(images()), atol=0.05 if layout == "half" else 1e-6)


def test_the_mean_and_deviation_that_lie_with_the_weights_count(tmp_path, preact):
    state = {**preact.state_dict(), "mu": torch.full((1, 3, 1, 1), 0.25), "sigma": torch.full((1, 3, 1, 1), 0.5)}
    save_file(state, tmp_path / "weights.safetensors")
    notes = task()
    model = RobustBench(model="Wong2020Fast", checkpoint=str(tmp_path / "weights.safetensors")).load(notes)
    with torch.no_grad():
        assert torch.allclose(model(images()), preact((images() - 0.25) / 0.5), atol=1e-5)
    assert notes.notes == [f"{tmp_path / 'weights.safetensors'}: normalised as stored with the weights"]


def test_a_model_whose_statistics_lie_with_the_weights_needs_them(tmp_path):
    torch.save(drawn("resnet18").state_dict(), tmp_path / "weights.pt")
    chosen = RobustBench(model="Modas2021PRIMEResNet18", threat="corruptions", checkpoint=str(tmp_path / "weights.pt"))
    with pytest.raises(WeightsError, match="holds no mu and sigma, by which RobustBench's Modas2021PRIMEResNet18"):
        chosen.load(task())


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "behind its Normalize"])
def test_a_model_for_imagenet_is_torchvisions_behind_its_normalisation(tmp_path, wrapped):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    state = network.state_dict()
    if wrapped:
        inner = {"normalize.mean": mean, "normalize.std": std, **under("model.", state)}
        state = {"state_dict": under("module.", inner), "epoch": 90}
    torch.save(state, tmp_path / "weights.pt")
    chosen = RobustBench(model="Salman2020Do_R18", data="imagenet", checkpoint=str(tmp_path / "weights.pt"))
    assert chosen.reference == {"imagenet": 0.5292}
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        found = chosen.load(task(1000, (3, 64, 64)))(pixels)
        assert torch.allclose(found, network((pixels - mean) / std), atol=1e-4)


def test_a_block_that_no_forward_uses_is_read_and_left_out(tmp_path, monkeypatch):
    network = drawn("wrn", "10", "1", "unused")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    entry = entries()["cifar10", "Linf", "Carmon2019Unlabeled"]
    narrow = {
        ("cifar10", "Linf", "Carmon2019Unlabeled"): type(entry)(**{**vars(entry), "arguments": ("10", "1", "unused")})
    }
    monkeypatch.setattr("robench_builtins.models.shared.robustbench_zoo.entries", lambda: narrow)
    noted = task()

    model = RobustBench(model="Carmon2019Unlabeled", checkpoint=str(tmp_path / "weights.pt")).load(noted)

    assert not [name for name in model.state_dict() if "sub_block1" in name]
    assert noted.notes == [f"{tmp_path / 'weights.pt'}: sub_block1 left out, which no forward uses"]
    with torch.no_grad():
        assert torch.allclose(model(images()), network(images()), atol=1e-6)


def test_images_are_normalised_by_their_own_statistics_where_a_model_does_so():
    flat, varied = torch.full((1, 3, 4, 4), 0.5), torch.rand(1, 3, 4, 4)
    out = PerImage()(torch.cat([flat, varied]))
    assert torch.equal(out[0], torch.zeros(3, 4, 4))
    assert out[1].mean().item() == pytest.approx(0, abs=1e-6)
    assert out[1].std().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda state: {k: v for k, v in state.items() if k != "linear.bias"}, "it lacks linear.bias"),
        (lambda state: {**state, "extra": torch.ones(1)}, "it also has extra"),
        (lambda state: {**state, "linear.weight": torch.ones(3, 512)}, "size mismatch for linear.weight"),
    ],
)
def test_another_models_file_is_refused(tmp_path, preact, damage, sentence):
    torch.save(damage(preact.state_dict()), tmp_path / "weights.pt")
    with pytest.raises(WeightsError) as raised:
        RobustBench(model="Andriushchenko2020Understanding", checkpoint=str(tmp_path / "weights.pt")).load(task())
    said = str(raised.value)
    assert (
        f"{tmp_path / 'weights.pt'} is not laid out as RobustBench's Andriushchenko2020Understanding (preact18 raw)"
        in said
    )
    assert sentence in said
    assert said.endswith(
        "give that model's own file, https://drive.google.com/file/d/1Uyvprd98bIyxfMjLdCZwm-NEJ-6GMVis/view."
    )


def test_images_of_another_size_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="classifies images of 3 x 32 x 32, and the dataset's are 3 x 224 x 224"):
        RobustBench(model="Standard").load(task(shape=(3, 224, 224)))


def test_offline_says_where_the_file_goes(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    place = tmp_path / "robustbench" / "cifar10" / "Linf" / "Standard.pt"
    with pytest.raises(WeightsError) as raised:
        RobustBench(model="Standard").load(task())
    assert str(raised.value) == (
        f"The weights of Standard are not at {place} and the run is offline; download "
        f"https://drive.google.com/file/d/1t98aEuzeTL8P7Kpd5DIrCoCL21BNZUhC/view, put it at {place} or pass -p "
        "victim.checkpoint=FILE."
    )


@pytest.mark.parametrize(
    ("answer", "sentence"), [(b"<html>", "answered with a page"), (None, "could not be downloaded")]
)
def test_a_download_that_fails_is_a_sentence_and_leaves_no_file(monkeypatch, tmp_path, answer, sentence):
    def download(url, path, progress):
        if answer is None:
            raise OSError("no route to host")
        assert "1t98aEuzeTL8P7Kpd5DIrCoCL21BNZUhC" in url
        with open(path, "wb") as file:
            file.write(answer)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr("robench_builtins.models.shared.robustbench_checkpoint.offline", lambda: False)
    with pytest.raises(WeightsError, match=sentence):
        RobustBench(model="Standard").load(task())
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("robustbench:Carmon2019Unlabelled", "did you mean Carmon2019Unlabeled"),
        ("robustbench:Rony2019Decoupling", "write robustbench:cifar10/L2/Rony2019Decoupling."),
        ("robustbench:cifar11/Linf/Standard", "robustbench.data takes cifar10 | cifar100 | imagenet, not 'cifar11'"),
        ("robustbench:zzz", "RobustBench has no cifar10/Linf model 'zzz' of a network that is known here; known: "),
    ],
)
def test_what_the_zoo_has_not_is_refused_before_anything_is_loaded(text, sentence):
    with pytest.raises(SpecError) as raised:
        plan(Spec(dataset="cifar10", victim=(text,)))
    assert sentence in str(raised.value)


def test_names_stand_for_data_threat_model_and_stated_accuracy():
    (cell,) = plan(Spec(dataset="cifar10", victim=("robustbench:Carmon2019Unlabeled",)))
    assert cell.victim.component == RobustBench(model="Carmon2019Unlabeled")
    assert cell.victim.component.reference == {"cifar10": 0.8969}
    (other,) = plan(Spec(dataset="cifar100", victim=("robustbench:cifar100/Linf/Addepalli2021Towards_PARN18",)))
    assert (other.victim.component.data, other.victim.component.reference) == ("cifar100", {})
    assert RobustBench.reference == {}
