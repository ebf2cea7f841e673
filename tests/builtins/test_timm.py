"""timm's models answer as timm itself does, on the same weights and through its own transforms."""

from __future__ import annotations

import json
import sys

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from robench import Examples, SpecError, Task, WeightsError
from robench.evidence.fingerprint import of_component
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.models.timm import Timm

NAMES = ("cat", "dog", "bird", "fish", "frog")
TASK = Task(classes=NAMES, shape=(3, 40, 40), seed=3)

#: Small models of timm: a residual net (bilinear, cropped), a transformer and a hybrid.
SMALL = ("test_resnet.r160_in1k", "test_vit.r160_in1k", "test_efficientnet.r160_in1k")


def saved(path, name, classes=5, seed=0, **options):
    """Write weights whose answers depend on the image, and return timm's own model with them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(name, num_classes=classes, **options).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    save_file(model.state_dict(), path)
    return model


def theirs(model, images, **config):
    """Return what timm gives for the same bytes, through PIL."""
    transform = create_transform(**{**resolve_model_data_config(model), **config}, is_training=False)
    pixels = torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])
    with torch.no_grad():
        return pixels, model(pixels)


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_those_of_timm_on_the_same_bytes(tmp_path, name, photos):
    model = saved(tmp_path / "w.safetensors", name)
    images = photos()
    pixels, logits = theirs(model, images)
    victim = Timm(model=name, checkpoint=str(tmp_path / "w.safetensors")).load(TASK)
    with torch.no_grad():
        assert torch.equal(victim.network(pixels), logits)
        seen, ours = victim.preprocess(images.float() / 255), victim(images.float() / 255)
    # PIL rounds to bytes after each pass of the resizing: a grey level or two, over the standard deviation.
    assert seen.shape == pixels.shape
    assert (seen - pixels).abs().max() < 2 / 255 / 0.2
    assert (ours - logits).abs().max() < 0.05 * logits.abs().max()
    assert torch.equal(ours.argmax(1), logits.argmax(1))
    assert not victim.training


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet50", 25_557_032), ("vit_base_patch16_224", 86_567_656), ("efficientvit_m1", 2_980_560)],
)
def test_the_full_architectures_have_the_published_numbers_of_parameters(name, parameters):
    classes = tuple(str(number) for number in range(1000))
    with torch.device("meta"):
        victim = Timm(model=name, pretrained=False).load(TASK.replace(classes=classes))
    assert sum(parameter.numel() for parameter in victim.parameters()) == parameters


def test_images_are_resized_and_cropped_as_the_data_configuration_says():
    with torch.device("meta"):
        victim = Timm(model="efficientvit_m1", pretrained=False).load(TASK)
    resize, crop = victim.preprocess
    assert (resize.size, resize.interpolation, crop.size) == (256, "bicubic", (224, 224))  # 224 / 0.875


def test_the_size_and_the_interpolation_can_be_chosen(photos):
    victim = Timm(model="test_resnet", pretrained=False, resolution=40, interpolation="bilinear").load(TASK)
    images = photos().float() / 255
    assert (victim.preprocess.size, victim.preprocess.interpolation) == (40, "bilinear")
    assert torch.equal(victim.preprocess(images), (images - victim.preprocess.mean) / victim.preprocess.std)
    assert victim(images).shape == (3, 5)


def test_positions_are_interpolated_as_timm_does(tmp_path):
    saved(tmp_path / "w.safetensors", "test_vit")
    file = str(tmp_path / "w.safetensors")
    victim = Timm(model="test_vit", checkpoint=file, resolution=64).load(TASK)
    overlay = {"file": file, "num_classes": 5}
    reference = timm.create_model(
        "test_vit", pretrained=True, num_classes=5, img_size=64, pretrained_cfg_overlay=overlay
    ).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(victim.network(images), reference(images), atol=1e-5)


def test_drawn_weights_depend_on_the_seed_and_on_nothing_else():
    def weights(seed, scramble):
        torch.manual_seed(scramble)
        before = torch.random.get_rng_state()
        state = Timm(model="test_resnet", pretrained=False).load(TASK.replace(seed=seed)).state_dict()
        assert torch.equal(torch.random.get_rng_state(), before)
        return state["network.fc.weight"]

    assert torch.equal(weights(1, 5), weights(1, 6))
    assert not torch.equal(weights(1, 5), weights(2, 5))


def test_a_new_head_is_drawn_on_the_weights_of_the_rest(tmp_path, photos):
    model = saved(tmp_path / "w.safetensors", "test_resnet", classes=7)
    asked = Timm(model="test_resnet", checkpoint=str(tmp_path / "w.safetensors"), head="new")
    victim = asked.load(TASK)
    assert victim(photos().float() / 255).shape == (3, 5)
    kept = {name: value for name, value in victim.network.state_dict().items() if not name.startswith("fc.")}
    assert kept
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in kept.items())
    assert asked.untrained()
    assert torch.equal(asked.load(TASK).network.fc.weight, victim.network.fc.weight)


@pytest.mark.parametrize("start", [{"pretrained": False}, {"head": "new"}])
def test_what_is_drawn_is_trained_on_the_dataset(tmp_path, start):
    saved(tmp_path / "w.safetensors", "test_resnet", classes=7)
    weights = {"checkpoint": str(tmp_path / "w.safetensors")} if "head" in start else {}
    asked = Timm(model="test_resnet", resolution=32, epochs=6, batch_size=16, learning_rate=3e-3, **start, **weights)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    noise = torch.randint(0, 100, (64, 3, 32, 32), generator=generator)
    images = (noise + 150 * labels[:, None, None, None]).to(torch.uint8)  # class 0 is dark, class 1 is bright
    task = TASK.replace(classes=("dark", "bright"), shape=(3, 32, 32))
    model = asked.load(task)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    asked.fit(model, Examples.from_tensors(images, labels), task)
    model.eval()
    with torch.no_grad():
        assert (model(images.float() / 255).argmax(1) == labels).all()
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert asked.training_passes(1000) == (6 * 1000, 6 * 900)


def test_what_has_to_be_trained_first():
    assert not Timm(model="test_resnet").untrained()
    assert Timm(model="test_resnet", pretrained=False).untrained()


def test_a_folder_as_timm_saves_it_for_the_hub(tmp_path):
    from timm.models import save_for_hf

    model = saved(tmp_path / "w.safetensors", "test_resnet")
    folder = tmp_path / "hub"
    save_for_hf(model, folder, model_config={"num_classes": 5}, safe_serialization="both")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"]["mean"] = [0.1, 0.2, 0.3]
    (folder / "config.json").write_text(json.dumps(config))
    victim = Timm(model="test_resnet", checkpoint=str(folder)).load(TASK)
    pixels = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(victim.network(pixels), model(pixels))
    resize = victim.preprocess if hasattr(victim.preprocess, "mean") else victim.preprocess[0]
    assert resize.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert f"{folder} holds a test_resnet, not a test_vit; write timm:test_resnet." in refused(
        model="test_vit", checkpoint=str(folder)
    )
    (folder / "model.safetensors").unlink()
    assert (folder / "pytorch_model.bin").is_file()
    assert f"{folder} holds no model.safetensors; save it again with safe_serialization=True." in refused(
        model="test_resnet", checkpoint=str(folder)
    )


def test_what_is_typed_is_what_is_meant():
    known = catalog()
    for role in ("victim", "surrogate"):
        assert resolve_reference(known, role, "timm:resnet50.a1_in1k") == ("timm", {"model": "resnet50.a1_in1k"})


def test_the_weights_content_is_in_the_fingerprint(tmp_path):
    saved(tmp_path / "w.safetensors", "test_resnet")
    asked = Timm(model="test_resnet", checkpoint=str(tmp_path / "w.safetensors"))
    before = of_component(asked)["files"]
    saved(tmp_path / "w.safetensors", "test_resnet", seed=1)
    assert of_component(asked)["files"] != before
    assert not Timm.runs_code


def test_a_small_model_conforms():
    results = check_component(Timm(model="test_resnet", pretrained=False, resolution=32))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert sum(result.status == "passed" for result in results) >= 9


def refused(classes=NAMES, **parameters):
    with pytest.raises((WeightsError, SpecError)) as caught:
        Timm(**parameters).load(TASK.replace(classes=classes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_that_timm_does_not_have():
    assert refused() == "timm needs a model; write timm:NAME."
    assert "timm has no model 'resnet180'; did you mean resnet" in refused(model="resnet180")
    assert "timm has no weights 'mine' of resnet18; it has " in refused(model="resnet18.mine")
    assert "a1_in1k" in refused(model="resnet18.mine")


def test_published_weights_of_other_classes_are_refused_before_they_are_fetched():
    said = refused(model="resnet18")
    assert said.startswith("timm:resnet18 tells 1000 classes apart, but the dataset has 5; add -p victim.head=new and")
    assert "bring a checkpoint that was trained on these classes, or choose its dataset with --dataset." in said
    assert "has no last layer for classes, but the dataset has 5; add" in refused(model="vit_small_patch14_dinov2")


def test_local_weights_of_other_classes(tmp_path):
    saved(tmp_path / "w.safetensors", "test_resnet", classes=7)
    file = str(tmp_path / "w.safetensors")
    assert f"{file} tells 7 classes apart, but the dataset has 5; add" in refused(model="test_resnet", checkpoint=file)


def test_offline_says_what_to_download_and_where_to_put_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = refused(classes=tuple(map(str, range(1000))), model="test_resnet.r160_in1k")
    assert said.startswith("timm's weights of test_resnet.r160_in1k cannot be loaded (")
    assert "model.safetensors of https://huggingface.co/timm/test_resnet.r160_in1k and pass -p victim.check" in said


def test_files_that_are_no_weights_of_it(tmp_path):
    gone = str(tmp_path / "gone.pt")
    assert f"checkpoint {gone} does not exist; pass -p victim.checkpoint=PATH" in refused(
        model="test_vit", checkpoint=gone
    )
    (tmp_path / "bad.pt").write_text("no weights")
    assert "bad.pt cannot be read (" in refused(model="test_vit", checkpoint=str(tmp_path / "bad.pt"))
    saved(tmp_path / "w.safetensors", "test_vit")
    other = refused(model="test_vit2", checkpoint=str(tmp_path / "w.safetensors"))
    assert "w.safetensors does not make timm's test_vit2 (" in other
    (tmp_path / "folder").mkdir()
    assert "folder is no folder that timm saved (" in refused(model="test_vit", checkpoint=str(tmp_path / "folder"))
    both = refused(model="test_vit", checkpoint=str(tmp_path / "w.safetensors"), pretrained=False)
    assert both == "timm is given a checkpoint and pretrained=false, which draws weights at random; leave one out."


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    assert "evil.pt cannot be read (" in refused(model="test_vit", checkpoint=str(tmp_path / "evil.pt"))
    assert not (tmp_path / "ran").exists()


def test_a_side_that_the_architecture_cannot_take():
    said = refused(model="test_vit", pretrained=False, resolution=41)
    assert said.startswith("test_vit does not take images of 41 x 41 (")
    assert said.endswith("choose another -p victim.resolution, or none for the library's.")


def test_without_the_library_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert refused(model="resnet18") == (
        "timm models cannot be loaded without the package timm; install it with 'pip install timm', or all model "
        "libraries with 'pip install robench[models]'."
    )
