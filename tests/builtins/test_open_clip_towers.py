"""Checkpoints that hold an image tower alone, and local copies of robust CLIPs on the hub; networks made narrow."""

from __future__ import annotations

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from robench import SpecError, Task, WeightsError
from robench_builtins.models.open_clip import OpenClip
from robench_builtins.models.shared import open_clip_towers

TASK = Task(classes=("cat", "dog"), shape=(3, 40, 40))
NARROW = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
NAMES = ("ViT-B-32", "ViT-L-14")
create = open_clip.create_model


def own(name, seed):
    """Return open_clip's model with drawn weights whose answers depend on the image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create(name, force_quick_gelu=True).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    return model


@pytest.fixture(autouse=True)
def openai(monkeypatch):
    """Make the architectures narrow, and the tag openai a model with drawn weights; return it."""
    for name in NAMES:
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, NARROW)
    published = own("ViT-B-32", 1)

    def pretrained(name, pretrained=None, **options):
        model = create(name, **options)
        if pretrained == "openai":
            model.load_state_dict(published.state_dict())
        return model

    monkeypatch.setattr(open_clip, "create_model", pretrained)
    return published


@pytest.fixture
def tower():
    return own("ViT-B-32", 2).visual.state_dict()


def images():
    return torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


LAYOUTS = {
    "bare.pt": lambda state: state,
    "model_best.pth.tar": lambda state: {"epoch": 10, "best_acc1": 0.5, "vision_encoder_state_dict": state},
    "parallel.pt": lambda state: {"module." + name: value for name, value in state.items()},
    "visual.pt": lambda state: {"visual." + name: value for name, value in state.items()},
    "half.pt": lambda state: {name: value.half() for name, value in state.items()},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_image_tower_alone_is_put_before_the_text_tower_of_its_tag(tmp_path, openai, tower, name):
    torch.save(LAYOUTS[name](tower), tmp_path / name)
    whole = {**openai.state_dict(), **{f"visual.{key}": value for key, value in tower.items()}}
    save_file({key: value.clone() for key, value in whole.items()}, tmp_path / "whole.safetensors")

    noted = Task(classes=TASK.classes, shape=TASK.shape)
    victim = OpenClip(model="ViT-B-32", weights="openai", checkpoint=str(tmp_path / name)).load(noted)
    same = OpenClip(model="ViT-B-32", weights="openai", checkpoint=str(tmp_path / "whole.safetensors")).load(TASK)
    plain = OpenClip(model="ViT-B-32", weights="openai").load(TASK)

    with torch.no_grad():
        ours = victim(images())
        assert torch.allclose(ours, same(images()), atol=0.05 if name == "half.pt" else 1e-5)
        assert not torch.allclose(ours, plain(images()), atol=0.1)
    assert noted.notes[-1].endswith("the image tower alone, the text tower of open_clip:ViT-B-32/openai")


def test_an_image_tower_without_a_tag_is_refused(tmp_path, tower):
    torch.save(tower, tmp_path / "bare.pt")
    with pytest.raises(SpecError) as raised:
        OpenClip(model="ViT-B-32", quick_gelu=True, checkpoint=str(tmp_path / "bare.pt")).load(TASK)
    assert str(raised.value) == (
        f"{tmp_path / 'bare.pt'} holds an image tower alone; name the weights whose text tower belongs to it, such as "
        "open_clip:ViT-B-32/openai."
    )


def test_a_file_that_is_no_state_dict_is_no_image_tower(tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(WeightsError, match="does not make open_clip's ViT-B-32"):
        OpenClip(model="ViT-B-32", weights="openai", checkpoint=str(tmp_path / "text.pt")).load(TASK)


def test_an_image_tower_of_other_sizes_is_refused(tmp_path, tower):
    torch.save({**tower, "proj": torch.ones(32, 8)}, tmp_path / "bare.pt")
    with pytest.raises(WeightsError) as raised:
        OpenClip(model="ViT-B-32", weights="openai", checkpoint=str(tmp_path / "bare.pt")).load(TASK)
    assert str(raised.value).startswith(
        f"{tmp_path / 'bare.pt'} does not make the image tower of open_clip's ViT-B-32 ("
    )


def test_a_text_tower_that_cannot_be_had_is_said(tmp_path, tower, monkeypatch):
    torch.save(tower, tmp_path / "bare.pt")
    own_create = open_clip.create_model

    def offline(name, pretrained=None, **options):
        if pretrained:
            raise OSError("offline")
        return own_create(name, **options)

    monkeypatch.setattr(open_clip, "create_model", offline)
    with pytest.raises(
        WeightsError, match="holds an image tower alone, and the text tower of open_clip:ViT-B-32/openai"
    ):
        OpenClip(model="ViT-B-32", weights="openai", checkpoint=str(tmp_path / "bare.pt")).load(TASK)


@pytest.mark.parametrize("model", sorted(open_clip_towers.FINE_TUNED))
def test_a_local_copy_of_a_robust_clip_on_the_hub_is_built_as_what_it_was_fine_tuned_from(tmp_path, model):
    file = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(own("ViT-L-14", 3).state_dict(), file)
    victim = OpenClip(model=model, checkpoint=str(file)).load(TASK)
    same = OpenClip(model="ViT-L-14", weights="openai", checkpoint=str(file)).load(TASK)
    with torch.no_grad():
        assert torch.equal(victim(images()), same(images()))


def test_a_local_file_for_another_model_of_the_hub_is_refused(tmp_path):
    torch.save(own("ViT-L-14", 3).state_dict(), tmp_path / "w.bin")
    with pytest.raises(SpecError) as raised:
        OpenClip(model="hf-hub:someone/else", checkpoint=str(tmp_path / "w.bin")).load(TASK)
    assert str(raised.value) == (
        "open_clip:hf-hub:someone/else with a local file does not say which architecture the file is of; give a folder "
        "that also holds open_clip_config.json, or name architecture and tag, such as open_clip:ViT-L-14/openai."
    )
