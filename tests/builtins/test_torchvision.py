"""torchvision's models answer as torchvision itself does, on the same weights and through its own transforms."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision import models

from robench import SpecError, Task, WeightsError
from robench.evidence.fingerprint import of_component
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.models.torchvision import Torchvision

NAMES = ("cat", "dog", "bird", "fish", "frog")
TASK = Task(classes=NAMES, shape=(3, 40, 40), seed=3)


def saved(path, name, classes=5, seed=0, **options):
    """Write weights whose answers depend on the image, and return torchvision's own model with them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = models.get_model(name, weights=None, num_classes=classes, **options).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=(2 / parameter[0].numel()) ** 0.5)
    torch.save(model.state_dict(), path)
    return model


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mobilenet_v3_small"])
def test_logits_are_those_of_torchvision_on_the_same_bytes(tmp_path, name, photos):
    model = saved(tmp_path / "w.pt", name)
    transform = models.get_model_weights(name).DEFAULT.transforms()
    images = photos()
    pixels = torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])
    victim = Torchvision(model=name, checkpoint=str(tmp_path / "w.pt")).load(TASK)
    with torch.no_grad():
        logits = model(pixels)
        assert torch.equal(victim.network(pixels), logits)
        seen, ours = victim.preprocess(images.float() / 255), victim(images.float() / 255)
    # PIL rounds to bytes after each pass of the resizing: a grey level or two, over the standard deviation.
    assert seen.shape == pixels.shape
    assert (seen - pixels).abs().max() < 2 / 255 / 0.2
    assert (ours - logits).abs().max() < 0.05 * logits.abs().max()
    assert not victim.training


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet18", 11_689_512), ("resnet50", 25_557_032), ("vit_b_16", 86_567_656), ("squeezenet1_1", 1_235_496)],
)
def test_the_full_architectures_have_the_published_numbers_of_parameters(name, parameters):
    classes = tuple(str(number) for number in range(1000))
    with torch.device("meta"):
        victim = Torchvision(model=name, pretrained=False).load(TASK.replace(classes=classes))
    assert sum(parameter.numel() for parameter in victim.parameters()) == parameters
    assert parameters == models.get_model_weights(name).DEFAULT.meta["num_params"]


def test_the_weights_decide_the_preprocessing():
    def sizes(**chosen):
        with torch.device("meta"):
            resize, crop = Torchvision(pretrained=False, **chosen).load(TASK).preprocess
        return resize.size, crop.size[0], resize.interpolation

    assert sizes(model="resnet50") == (232, 224, "bilinear")
    assert sizes(model="resnet50", weights="IMAGENET1K_V1") == (256, 224, "bilinear")
    assert sizes(model="inception_v3") == (342, 299, "bilinear")
    assert sizes(model="efficientnet_b0", interpolation="bilinear") == (256, 224, "bilinear")
    assert sizes(model="efficientnet_b0") == (256, 224, "bicubic")


def test_the_side_can_be_chosen(photos):
    victim = Torchvision(model="shufflenet_v2_x0_5", pretrained=False, resolution=40).load(TASK)
    images = photos().float() / 255
    assert torch.equal(victim.preprocess(images), (images - victim.preprocess.mean) / victim.preprocess.std)
    assert victim(images).shape == (3, 5)


def test_a_vision_transformers_positions_are_interpolated_as_torchvision_does(tmp_path):
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    small = {"patch_size": 16, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072, "num_classes": 5}
    state = saved(tmp_path / "w.pt", "vit_b_16").state_dict()
    reference = VisionTransformer(image_size=64, **small).eval()
    reference.load_state_dict(interpolate_embeddings(64, 16, dict(state)))
    victim = Torchvision(model="vit_b_16", checkpoint=str(tmp_path / "w.pt"), resolution=64).load(TASK)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(victim.network(images), reference(images))


def test_auxiliary_classifiers_are_left_out_and_the_input_is_that_of_the_published_weights(tmp_path, photos):
    model = saved(tmp_path / "w.pt", "googlenet", aux_logits=True, transform_input=True, init_weights=False)
    victim = Torchvision(model="googlenet", checkpoint=str(tmp_path / "w.pt"), resolution=64).load(TASK)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(victim.network(pixels), model(pixels))
    assert not any(name.startswith("network.aux") for name in victim.state_dict())
    assert isinstance(victim.train()(photos().float() / 255), torch.Tensor)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_drawn_networks_answer_with_logits_in_training_too(name):
    with torch.device("meta"):
        victim = Torchvision(model=name, pretrained=False).load(TASK).train()
        assert victim.network(torch.empty(2, 3, 299, 299)).shape == (2, 5)
    assert not victim.network.transform_input


def test_inception_v3_has_as_many_parameters_as_without_its_auxiliary_classifier():
    with torch.device("meta"):
        victim = Torchvision(model="inception_v3", pretrained=False).load(TASK.replace(classes=NAMES * 2))
    # 27,161,264 as published, less 3,326,696 of AuxLogits, less 990 classes of 2,048 weights and a bias.
    assert sum(parameter.numel() for parameter in victim.parameters()) == 27_161_264 - 3_326_696 - 990 * 2049


def test_drawn_weights_depend_on_the_seed_and_on_nothing_else():
    def weights(seed, scramble):
        torch.manual_seed(scramble)
        before = torch.random.get_rng_state()
        state = Torchvision(model="squeezenet1_1", pretrained=False).load(TASK.replace(seed=seed)).state_dict()
        assert torch.equal(torch.random.get_rng_state(), before)
        return state["network.classifier.1.weight"]

    assert torch.equal(weights(1, 5), weights(1, 6))
    assert not torch.equal(weights(1, 5), weights(2, 5))


@pytest.mark.parametrize(
    ("name", "head"), [("shufflenet_v2_x0_5", "fc"), ("squeezenet1_1", "classifier.1"), ("googlenet", "fc")]
)
def test_a_new_head_is_drawn_on_the_weights_of_the_rest(tmp_path, name, head):
    options = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    state = saved(tmp_path / "w.pt", name, classes=7, **options).state_dict()
    asked = Torchvision(model=name, checkpoint=str(tmp_path / "w.pt"), head="new")
    victim, again = asked.load(TASK), asked.load(TASK)
    found = victim.network.state_dict()
    assert found[f"{head}.weight"].shape[0] == 5
    assert torch.equal(found[f"{head}.weight"], again.network.state_dict()[f"{head}.weight"])
    assert all(torch.equal(found[key], state[key]) for key in found if not key.startswith(f"{head}."))
    assert asked.untrained()


def test_what_has_to_be_trained_first():
    assert not Torchvision(model="resnet18").untrained()
    assert Torchvision(model="resnet18", pretrained=False).untrained()


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("torchvision:resnet18", {"model": "resnet18"}),
        ("torchvision:resnet50/IMAGENET1K_V1", {"model": "resnet50", "weights": "IMAGENET1K_V1"}),
    ],
)
def test_what_is_typed_is_what_is_meant(typed, given):
    for role in ("victim", "surrogate"):
        assert resolve_reference(catalog(), role, typed) == ("torchvision", given)


def test_the_weights_content_is_in_the_fingerprint(tmp_path):
    asked = Torchvision(model="squeezenet1_1", checkpoint=str(tmp_path / "w.pt"))
    saved(tmp_path / "w.pt", "squeezenet1_1")
    before = of_component(asked)["files"]
    saved(tmp_path / "w.pt", "squeezenet1_1", seed=1)
    assert of_component(asked)["files"] != before
    assert not Torchvision.runs_code


def test_a_model_conforms():
    results = check_component(Torchvision(model="shufflenet_v2_x0_5", pretrained=False, resolution=64))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert sum(result.status == "passed" for result in results) >= 9


def refused(classes=NAMES, **parameters):
    with pytest.raises((WeightsError, SpecError)) as caught:
        Torchvision(**parameters).load(TASK.replace(classes=classes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_that_torchvision_does_not_have():
    assert refused() == "torchvision needs a model; write torchvision:NAME or torchvision:NAME/WEIGHTS."
    assert "torchvision has no classifier 'resnet19'; did you mean resnet1" in refused(model="resnet19")
    assert "has no classifier 'fcn_resnet50'" in refused(model="fcn_resnet50")  # a segmentation network
    said = refused(model="resnet50", weights="V3")
    assert said == "torchvision has no weights 'V3' of resnet50; it has IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT."


def test_published_weights_of_other_classes_are_refused_before_they_are_fetched():
    said = refused(model="resnet18")
    assert said.startswith(
        "torchvision:resnet18 tells 1000 classes apart, but the dataset has 5; add -p victim.head=new"
    )


def test_local_weights_of_other_classes(tmp_path):
    saved(tmp_path / "w.pt", "squeezenet1_1", classes=7)
    said = refused(model="squeezenet1_1", checkpoint=str(tmp_path / "w.pt"))
    assert f"{tmp_path / 'w.pt'} tells 7 classes apart, but the dataset has 5; add -p victim.head=new and train" in said


def test_offline_says_what_to_download_and_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    said = refused(classes=tuple(map(str, range(1000))), model="resnet18")
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    assert said == (
        f"torchvision:resnet18's weights are not at {file} and the run is offline; download "
        "https://download.pytorch.org/models/resnet18-f37072fd.pth, put it there or pass -p victim.checkpoint=FILE."
    )


def test_published_weights_are_taken_from_torch_hubs_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    url = models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url
    model = saved(tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2], "squeezenet1_1", classes=1000)
    victim = Torchvision(model="squeezenet1_1").load(TASK.replace(classes=tuple(map(str, range(1000)))))
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(victim.network(pixels), model(pixels))


def test_files_that_are_no_weights_of_it(tmp_path):
    gone = str(tmp_path / "gone.pt")
    assert f"checkpoint {gone} does not exist; pass -p victim.checkpoint=PATH" in refused(
        model="resnet18", checkpoint=gone
    )
    (tmp_path / "bad.pt").write_text("no weights")
    assert "bad.pt cannot be read (" in refused(model="resnet18", checkpoint=str(tmp_path / "bad.pt"))
    saved(tmp_path / "w.pt", "squeezenet1_1")
    said = refused(model="squeezenet1_0", checkpoint=str(tmp_path / "w.pt"))
    assert "w.pt does not fit torchvision's squeezenet1_0 (" in said
    said = refused(model="resnet18", checkpoint=str(tmp_path / "w.pt"))
    assert "w.pt does not fit torchvision's resnet18 (" in said


def test_a_side_that_the_architecture_cannot_take():
    said = refused(model="vit_b_16", pretrained=False, resolution=41)
    assert said.startswith("vit_b_16 does not take images of 41 x 41 (")
