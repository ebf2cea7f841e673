"""Models of the hub answer as transformers itself does; what is drawn is drawn from the task."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from robench import SpecError, Task, WeightsError, ZeroShotClassifier
from robench.evidence.fingerprint import of_component
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.models.hf import HuggingFace

NAMES = ("cat", "dog", "old bird")
TASK = Task(classes=NAMES, shape=(3, 40, 40), seed=3)


def vit(**changes):
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return ViTForImageClassification(ViTConfig(image_size=24, patch_size=8, **sizes, **changes))


def resnet(**changes):
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], **changes))


KINDS = {"vit": vit, "resnet": resnet}


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes a tiny checkpoint whose answers depend on the image, and gives its model."""
    from transformers import ViTImageProcessor

    def write(kind="vit", labels=NAMES, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = KINDS[kind](id2label=dict(enumerate(labels))).eval()
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.data.normal_(std=parameter[0].numel() ** -0.5)
        model.save_pretrained(tmp_path)
        ViTImageProcessor(size={"height": 24, "width": 24}).save_pretrained(tmp_path)
        return model

    return write


def load(folder, task=TASK, **parameters):
    return HuggingFace(model="org/name", checkpoint=str(folder), **parameters).load(task)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_transformers_on_the_same_bytes(tmp_path, saved, photos, kind):
    from transformers import AutoImageProcessor

    model, images = saved(kind), photos()
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    bytes_ = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    pixels = processor(bytes_, return_tensors="pt")["pixel_values"]
    victim = load(tmp_path)
    with torch.no_grad():
        logits = model(pixel_values=pixels).logits
        assert torch.equal(victim.network(pixels), logits)
        seen, ours = victim.preprocess(images.float() / 255), victim(images.float() / 255)
    assert (seen - pixels).abs().max() < 1.5 / 255 / 0.5
    assert (ours - logits).abs().max() < 0.05 * logits.abs().max()


def test_a_folder_may_stand_in_place_of_the_id(tmp_path, saved, photos):
    saved()
    images = photos().float() / 255
    typed = HuggingFace(model=str(tmp_path))
    assert typed.files() == (tmp_path,)
    assert torch.equal(typed.load(TASK)(images), load(tmp_path)(images))
    assert HuggingFace(model="org/name").files() == ()


def test_positions_are_interpolated_as_transformers_does(tmp_path, saved, photos):
    model = saved()
    victim = load(tmp_path, resolution=40)
    pixels = victim.preprocess(photos().float() / 255)
    assert pixels.shape == (3, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(victim.network(pixels), model(pixel_values=pixels, interpolate_pos_encoding=True).logits)
    assert load(tmp_path, resolution=24).network.options == {}


def test_convolutions_take_any_side(tmp_path, saved, photos):
    model = saved("resnet")
    victim = load(tmp_path, resolution=40, interpolation="bicubic")
    pixels = victim.preprocess(photos().float() / 255)
    assert victim.preprocess.interpolation == "bicubic"
    with torch.no_grad():
        assert torch.equal(victim.network(pixels), model(pixel_values=pixels).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_head_is_drawn_on_the_weights_of_the_rest(tmp_path, saved, photos, kind):
    model = saved(kind, labels=range(7))
    victim, again = (load(tmp_path, head="new") for _ in range(2))
    found, base = victim.network.model.state_dict(), f"{model.base_model_prefix}."
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items() if name.startswith(base))
    assert victim(photos().float() / 255).shape == (3, 3)
    assert all(torch.equal(value, again.network.model.state_dict()[name]) for name, value in found.items())
    assert victim.network.model.config.id2label == dict(enumerate(NAMES))


def test_a_new_head_needs_no_old_one(tmp_path, saved):
    from safetensors.torch import load_file, save_file

    saved()
    state = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if not k.startswith("classifier.")}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 2 of the model's tensors" in refused(tmp_path)
    assert load(tmp_path, head="new").classes == 3
    del state["vit.embeddings.cls_token"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    said = refused(tmp_path, head="new")
    assert "lacks 1 of the model's tensors or has them in other shapes, such as vit.embeddings.cls_token; " in said


def test_drawn_weights_depend_on_the_seed_and_on_nothing_else(tmp_path, saved):
    saved(labels=range(7))

    def weights(seed, scramble):
        torch.manual_seed(scramble)
        before = torch.random.get_rng_state()
        asked = HuggingFace(model=str(tmp_path), pretrained=False)
        state = asked.load(TASK.replace(seed=seed)).network.model.state_dict()
        assert torch.equal(torch.random.get_rng_state(), before)
        assert asked.untrained()
        return state["vit.embeddings.patch_embeddings.projection.weight"]

    assert torch.equal(weights(1, 5), weights(1, 6))
    assert not torch.equal(weights(1, 5), weights(2, 5))
    assert not HuggingFace(model="org/name").untrained()


def test_a_clip_is_used_zero_shot(tmp_path):
    from robench_builtins.datasets.digits import Digits
    from robench_builtins.models.tiny_clip import WEIGHTS, TinyClip

    digits = Digits()
    served = Task(classes=digits.classes(), templates=digits.templates, shape=(3, 32, 32))
    victim = load(WEIGHTS, served)
    assert isinstance(victim, ZeroShotClassifier)
    images = next(digits.load("test")[:20].batches(20)).images
    assert torch.equal(victim(images), TinyClip().load(served)(images))
    first, second = (load(WEIGHTS, served, template=text).text_features for text in ("a {}", "the number {}"))
    both = load(WEIGHTS, served, template="a {} | the number {}").text_features
    assert torch.allclose(both, torch.nn.functional.normalize(first + second, dim=1), atol=1e-6)
    for drawn in ({"pretrained": False, "model": str(WEIGHTS)}, {"head": "new", "model": str(WEIGHTS)}):
        with pytest.raises(
            SpecError, match="is a CLIP model and is used zero-shot, with the weights it has; pretrained"
        ):
            HuggingFace(**drawn).load(served)


def test_what_is_typed_is_what_is_meant():
    for role in ("victim", "surrogate"):
        assert resolve_reference(catalog(), role, "hf:microsoft/resnet-50") == ("hf", {"model": "microsoft/resnet-50"})


def test_the_folders_content_is_in_the_fingerprint(tmp_path, saved):
    saved()
    asked = HuggingFace(model="org/name", checkpoint=str(tmp_path))
    before = of_component(asked)["files"]
    saved(seed=1)
    assert of_component(asked)["files"] != before
    assert not HuggingFace.runs_code


def test_a_small_model_conforms(tmp_path, saved):
    saved("resnet")
    results = check_component(HuggingFace(model=str(tmp_path), pretrained=False))
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert sum(result.status == "passed" for result in results) >= 9


def refused(folder="", task=TASK, **parameters):
    with pytest.raises((WeightsError, SpecError)) as caught:
        HuggingFace(**{"model": "org/name", "checkpoint": str(folder), **parameters}).load(task)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_offline_says_what_to_download_and_where_to_put_it(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = refused()
    assert said.startswith("org/name cannot be loaded from the Hugging Face hub (")
    assert said.endswith("of https://huggingface.co/org/name into a folder DIR and pass -p victim.checkpoint=DIR.")


def test_folders_that_are_none(tmp_path, saved):
    assert refused(model="") == "hf needs a model; write hf:ORG/NAME."
    assert f"checkpoint {tmp_path / 'gone'} does not exist; pass" in refused(tmp_path / "gone")
    assert "cannot be read as a transformers checkpoint (" in refused(tmp_path)
    saved()
    said = refused(tmp_path, TASK.replace(classes=("a", "b")))
    assert "tells 3 classes apart (cat, dog, old bird, ...), but the dataset has 2; bring a model" in said
    assert "train a new last layer (hf:NAME with -p victim.head=new), or choose its dataset with --dataset." in said
    assert "does not take images of 4 x 4 (" in refused(tmp_path, resolution=4)


def test_it_is_measured_and_attacked_through_by_the_name_that_is_typed(tmp_path):
    import robench
    from robench_builtins.models.tiny_clip import WEIGHTS

    typed = f"hf:{WEIGHTS}"
    request = {"dataset": "digits", "attack": "fgsm", "n": 20, "store": tmp_path / "store", "device": "cpu"}
    whitebox, transfer = robench.run(victim=typed, surrogate=typed, **request)
    for component in (whitebox.cell.victim, transfer.cell.surrogate):
        assert (component.name, component.parameters["model"]) == ("hf", WEIGHTS.name)
    # The surrogate is the victim itself, so its images do the same harm.
    assert whitebox.robust.correct == transfer.robust.correct < whitebox.clean.correct
