"""open_clip's models answer as open_clip itself does, with the activation that their weights were trained with.

The architectures are open_clip's own, made narrow: RN50 (a modified residual net with attention pooling) and ViT-B-32.
"""

from __future__ import annotations

import json
import sys

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import save_file

from robench import SpecError, Task, WeightsError, ZeroShotClassifier
from robench.evidence.fingerprint import of_component
from robench.plan.references import resolve_reference
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.models.clip_rn50 import ClipRN50
from robench_builtins.models.open_clip import OpenClip

CLASSES = ("cat", "dog", "truck")
TEMPLATES = ("a photo of a {}", "a blurry photo of a {}")
TASK = Task(classes=CLASSES, templates=TEMPLATES, shape=(3, 40, 40))

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
VISION = {
    "RN50": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "ViT-B-32": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
}


def narrow(name):
    return {"embed_dim": 16, "vision_cfg": dict(VISION[name.removesuffix("-quickgelu")]), "text_cfg": dict(TEXT)}


@pytest.fixture(autouse=True)
def narrowed(monkeypatch):
    """Make the architectures narrow in open_clip's own list, their tags kept."""
    for name in VISION:
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, narrow(name))
        quick = {**narrow(name), "quick_gelu": True}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, f"{name}-quickgelu", quick)


def own(name, seed=0, **options):
    """Return open_clip's model with drawn weights whose answers depend on the image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.create_model(name, **options).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    return model


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes a model's weights, and gives their path."""

    def write(model):
        torch.save(model.state_dict(), tmp_path / "w.pt")
        return str(tmp_path / "w.pt")

    return write


def texts(model, template=TEMPLATES[0], arch="RN50"):
    with torch.no_grad():
        tokens = open_clip.get_tokenizer(arch)([template.format(name) for name in CLASSES])
        return F.normalize(model.encode_text(tokens), dim=1)


@pytest.mark.parametrize("name", VISION)
def test_logits_are_those_of_open_clip_on_the_same_bytes(saved, photos, name):
    model, images = own(name, force_quick_gelu=True), photos()
    victim = OpenClip(model=name, weights="openai", checkpoint=saved(model)).load(TASK)
    assert isinstance(victim, ZeroShotClassifier)
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    pixels = torch.stack([transform(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images])
    with torch.no_grad():
        features = model.encode_image(pixels)
        assert torch.equal(victim.image_tower(pixels), features)
        logits = model.logit_scale.exp() * F.normalize(features, dim=1) @ texts(model).T
        seen, ours = victim.preprocess(images.float() / 255), victim(images.float() / 255)
    # PIL rounds to bytes after each pass of the resizing: a grey level or two, over the standard deviation.
    assert (seen - pixels).abs().max() < 2 / 255 / 0.26
    assert (ours - logits).abs().max() < 0.05 * logits.abs().max()
    assert torch.allclose(victim.text_features, texts(model), atol=1e-6)
    assert victim.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)


def activations(network):
    return {type(module) for module in network.modules() if isinstance(module, QuickGELU | torch.nn.GELU)}


@pytest.mark.parametrize(
    ("typed", "activation"),
    [
        ("open_clip:ViT-B-32/openai", QuickGELU),
        ("open_clip:ViT-B-32-quickgelu/openai", QuickGELU),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", torch.nn.GELU),
        ("open_clip:ViT-B-32/laion2b-s34b-b79k", torch.nn.GELU),
    ],
)
def test_the_tag_decides_the_activation(saved, photos, typed, activation):
    _, given = resolve_reference(catalog(), "victim", typed)
    file = saved(own("ViT-B-32"))
    victim = OpenClip(**given, checkpoint=file).load(TASK)
    assert activations(victim) == {activation}
    same = OpenClip(**given, checkpoint=file, quick_gelu=activation is QuickGELU).load(TASK)
    images = photos().float() / 255
    assert torch.equal(same(images), victim(images))


def test_the_activation_of_the_text_tower_is_the_same(saved):
    model = own("RN50", force_quick_gelu=True)
    victim = OpenClip(model="RN50", weights="openai", checkpoint=saved(model)).load(TASK)
    assert torch.allclose(victim.text_features, texts(model), atol=1e-6)
    plain = own("RN50")
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(victim.text_features, texts(plain), atol=1e-3)


def test_what_the_weights_were_not_trained_with_is_an_error():
    assert refused(model="ViT-B-32", weights="openai", quick_gelu=False) == (
        "open_clip's openai weights of ViT-B-32 were trained with QuickGELU, and quick_gelu=false asks for GELU, which "
        "would cost accuracy without a word (CIFAR-10: 35.22 % for RN50, 82.81 % for ViT-B-32); leave quick_gelu out."
    )
    assert "trained with QuickGELU, and quick_gelu=false asks" in refused(
        model="RN50", weights="openai", quick_gelu=False
    )
    assert refused(model="ViT-B-32", weights="laion2b_s34b_b79k", quick_gelu=True) == (
        "open_clip's laion2b_s34b_b79k weights of ViT-B-32 were trained with GELU, and this asks for QuickGELU, which "
        "would cost accuracy without a word; leave quick_gelu out."
    )
    assert "has no weights 'laion2b_s34b_b79k' of ViT-B-32-quickgelu" in refused(
        model="ViT-B-32-quickgelu", weights="laion2b_s34b_b79k"
    )
    assert refused(model="ViT-B-32-quickgelu", weights="openai", quick_gelu=False) == (
        "open_clip's ViT-B-32-quickgelu is built with QuickGELU, and quick_gelu=false asks for GELU; name the "
        "architecture without -quickgelu."
    )


def test_a_checkpoint_without_a_tag_must_say_what_it_was_trained_with(saved):
    file = saved(own("ViT-B-32"))
    said = refused(model="ViT-B-32", checkpoint=file)
    assert said.startswith("open_clip builds ViT-B-32 with GELU, and weights of it were trained with QuickGELU (openai")
    assert "say which the checkpoint is, with open_clip:ViT-B-32/openai or -p victim.quick_gelu=false." in said
    for quick, activation in ((True, QuickGELU), (False, torch.nn.GELU)):
        victim = OpenClip(model="ViT-B-32", checkpoint=file, quick_gelu=quick).load(TASK)
        assert activations(victim) == {activation}
    assert activations(OpenClip(model="ViT-B-32-quickgelu", checkpoint=file).load(TASK)) == {QuickGELU}


def test_several_templates_are_an_ensemble_of_normalised_features(saved):
    model = own("RN50", force_quick_gelu=True)
    file = saved(model)
    first, second = (texts(model, template) for template in TEMPLATES)
    mean = F.normalize((first + second) / 2, dim=1)

    def features(**parameters):
        return OpenClip(model="RN50", weights="openai", checkpoint=file, **parameters).load(TASK).text_features

    assert torch.allclose(features(), first, atol=1e-6)
    assert torch.allclose(features(template=TEMPLATES[1]), second, atol=1e-6)
    assert torch.allclose(features(ensemble=True), mean, atol=1e-6)
    assert torch.allclose(features(template=" | ".join(TEMPLATES)), mean, atol=1e-6)
    with pytest.raises(SpecError, match=r"template 'a photo' has no place for the class name; write one with \{\}"):
        features(template="a photo")


def test_the_tags_own_preprocessing_is_used(saved):
    def prepared(tag):
        return OpenClip(model="ViT-B-32", weights=tag, checkpoint=saved(own("ViT-B-32"))).load(TASK).preprocess

    openai = prepared("openai")
    assert openai.mean.flatten().tolist() == pytest.approx(list(open_clip.OPENAI_DATASET_MEAN))
    assert openai.std.flatten().tolist() == pytest.approx(list(open_clip.OPENAI_DATASET_STD))
    assert (openai.size, openai.interpolation) == (32, "bicubic")


def test_positions_are_interpolated_as_open_clip_does(saved):
    file = saved(own("ViT-B-32", force_quick_gelu=True))
    victim = OpenClip(model="ViT-B-32", weights="openai", checkpoint=file, resolution=48).load(TASK)
    reference = open_clip.create_model("ViT-B-32", pretrained=file, force_quick_gelu=True, force_image_size=48).eval()
    pixels = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert victim.preprocess.size == 48
    with torch.no_grad():
        assert torch.equal(victim.image_tower(pixels), reference.encode_image(pixels))


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a folder as open_clip saves it for the hub, and gives it and its model."""

    def write(quick):
        model, place = own("ViT-B-32", force_quick_gelu=quick), tmp_path / "hub"
        place.mkdir()
        config = {
            "model_cfg": {**narrow("ViT-B-32"), "quick_gelu": quick},
            "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"},
        }
        (place / "open_clip_config.json").write_text(json.dumps(config))
        save_file(model.state_dict(), place / "open_clip_model.safetensors")
        return place, model

    return write


@pytest.mark.parametrize("quick", [True, False])
def test_a_folder_brings_its_own_configuration(folder, quick):
    place, model = folder(quick)
    asked = OpenClip(model="ViT-B-32", checkpoint=str(place))
    victim = asked.load(TASK)
    assert activations(victim) == {QuickGELU if quick else torch.nn.GELU}
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(victim.image_tower(pixels), model.encode_image(pixels))
    assert victim.preprocess.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert victim.preprocess.interpolation == "bilinear"
    assert asked.files() == (place,)
    does, asks = ("QuickGELU", "GELU") if quick else ("GELU", "QuickGELU")
    assert f"that it was trained with {does}, and this asks for {asks}, which would cost accuracy" in refused(
        model="ViT-B-32", checkpoint=str(place), quick_gelu=not quick
    )


def test_a_folder_trained_with_gelu_is_not_taken_for_openais(folder):
    place, _ = folder(False)
    assert "it was trained with GELU, and this asks for QuickGELU" in refused(
        model="ViT-B-32", weights="openai", checkpoint=str(place)
    )
    (place / "open_clip_model.safetensors").unlink()
    assert "cannot be read as an open_clip model (" in refused(model="ViT-B-32", checkpoint=str(place))


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", {"model": "ViT-B-32", "weights": "laion2b_s34b_b79k"}),
        ("open_clip:RN50", {"model": "RN50"}),
        ("open_clip:hf-hub:laion/CLIP", {"model": "hf-hub:laion/CLIP"}),
    ],
)
def test_what_is_typed_is_what_is_meant(typed, given):
    for role in ("victim", "surrogate"):
        assert resolve_reference(catalog(), role, typed) == ("open_clip", given)


def test_the_weights_content_is_in_the_fingerprint(saved):
    asked = OpenClip(model="RN50", weights="openai", checkpoint=saved(own("RN50")))
    before = of_component(asked)["files"]
    saved(own("RN50", seed=1))
    assert of_component(asked)["files"] != before
    assert not OpenClip.runs_code


def test_clip_rn50_is_openais(saved, photos):
    model, images = own("RN50", force_quick_gelu=True), photos().float() / 255
    file = saved(model)
    victim = ClipRN50(checkpoint=file).load(TASK)
    assert torch.equal(victim(images), OpenClip(model="RN50", weights="openai", checkpoint=file).load(TASK)(images))
    assert torch.equal(victim.inference_copy()(images), victim(images))
    assert ClipRN50.reference["cifar10"] - ClipRN50.reference_tolerance > 0.3522  # QuickGELU forgotten
    assert set(ClipRN50().parameters) == {"template", "ensemble", "checkpoint"}


@pytest.mark.parametrize("kind", ["rn50", "vit"])
def test_small_models_conform(saved, kind):
    name = {"rn50": "RN50", "vit": "ViT-B-32"}[kind]
    file = saved(own(name, force_quick_gelu=True))
    asked = ClipRN50(checkpoint=file) if kind == "rn50" else OpenClip(model=name, weights="openai", checkpoint=file)
    results = check_component(asked)
    assert {result.name: result.sentence for result in results if result.status == "failed"} == {}
    assert sum(result.status == "passed" for result in results) >= 10


def test_the_full_rn50_has_the_documented_number_of_parameters(monkeypatch):
    monkeypatch.undo()
    with torch.device("meta"):
        tower = open_clip.create_model("RN50", device="meta", force_quick_gelu=True).visual
    count = sum(parameter.numel() for parameter in tower.parameters())
    assert f"{count:,} parameters in the image tower" in ClipRN50.__doc__


def refused(**parameters):
    with pytest.raises((WeightsError, SpecError)) as caught:
        OpenClip(**parameters).load(TASK)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_names_that_open_clip_does_not_have():
    assert refused() == "open_clip needs a model; write open_clip:ARCH/TAG, such as open_clip:ViT-B-32/openai."
    assert "open_clip has no model 'ViT-B-33'; did you mean ViT-B-" in refused(model="ViT-B-33", weights="openai")
    assert "open_clip has no weights 'opeanai' of RN50; it has openai, " in refused(model="RN50", weights="opeanai")
    said = refused(model="RN50")
    assert said.startswith("open_clip:RN50 names no weights; write open_clip:RN50/TAG with one of openai, ")
    assert said.endswith("or bring some with -p victim.checkpoint=FILE.")
    assert "open_clip has no model 'local-dir:x'" in refused(model="local-dir:x")


def test_offline_says_what_to_download_and_where_to_put_it(monkeypatch, caplog):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = refused(model="RN50", weights="openai")
    assert said.startswith("open_clip:RN50/openai cannot be loaded (")
    assert "of https://huggingface.co/timm/resnet50_clip.openai and pass -p victim.checkpoint=FILE." in said
    assert "https://huggingface.co/org/name and pass -p" in refused(model="hf-hub:org/name")
    assert not caplog.records


def test_files_that_are_no_weights_of_it(tmp_path, saved):
    gone = str(tmp_path / "gone.pt")
    assert f"checkpoint {gone} does not exist; pass -p victim.checkpoint=PATH" in refused(
        model="RN50", weights="openai", checkpoint=gone
    )
    other = refused(model="RN50", weights="openai", checkpoint=saved(own("ViT-B-32")))
    assert "w.pt does not make open_clip's RN50 (" in other
    (tmp_path / "bad.pt").write_text("no weights")
    assert "bad.pt does not make open_clip's RN50 (" in refused(
        model="RN50", weights="openai", checkpoint=str(tmp_path / "bad.pt")
    )
    (tmp_path / "empty").mkdir()
    assert "empty cannot be read as an open_clip model (" in refused(
        model="RN50", weights="openai", checkpoint=str(tmp_path / "empty")
    )


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    refused(model="RN50", weights="openai", checkpoint=str(tmp_path / "evil.pt"))
    assert not (tmp_path / "ran").exists()


def test_without_the_library_the_command_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert refused(model="RN50", weights="openai") == (
        "open_clip models cannot be loaded without the package open-clip-torch; install it with 'pip install "
        "open-clip-torch', or all model libraries with 'pip install robench[models]'."
    )
    with pytest.raises(SpecError, match="clip-rn50 cannot be loaded without the package open-clip-torch; install"):
        ClipRN50().load(TASK)
