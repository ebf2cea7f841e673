"""What timm, torchvision and timm behind transformers do to an image is done alike, or refused by name."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform

from robench import Task, WeightsError
from robench_builtins.models.hf_dir import HfDir
from robench_builtins.models.shared.timm_preprocessing import CROP_MODES, read_config
from robench_builtins.models.timm import Timm

NAMES = ("cat", "dog", "bird")
PLAIN = {
    "input_size": (3, 48, 48),
    "interpolation": "bicubic",
    "mean": (0.2, 0.4, 0.6),
    "std": (0.25, 0.2, 0.3),
    "crop_pct": 0.875,
    "crop_mode": "center",
}


def images(height=40, width=None):
    chance = torch.Generator().manual_seed(3)
    coarse = torch.rand(40, 3, 5, 5, generator=chance)
    smooth = torch.nn.functional.interpolate(coarse, (height, width or height), mode="bicubic").clamp(0, 1)
    return (255 * smooth).round().to(torch.uint8)


def pictures(given):
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in given]


#: Changes of a data configuration, and the images' shape.
CONFIGS = {
    "plain": ({}, (40, 40)),
    "larger images": ({}, (97, 97)),
    "an odd crop": ({"crop_pct": 0.9, "input_size": (3, 47, 47)}, (40, 40)),
    "the whole image": ({"crop_pct": 1.0}, (40, 40)),
    "crop_pct above 1 pads with black": ({"crop_pct": 1.15}, (40, 40)),
    "crop_pct above 1 pads oddly": ({"crop_pct": 1.15, "input_size": (3, 47, 47)}, (57, 57)),
    "crop_pct above 1 of volo": ({"crop_pct": 1.15, "input_size": (3, 448, 448)}, (64, 64)),
    "bilinear": ({"interpolation": "bilinear"}, (40, 40)),
    "squash": ({"crop_mode": "squash"}, (40, 40)),
    "squash of an oblong": ({"crop_mode": "squash", "crop_pct": 1.0}, (40, 56)),
    "center of an oblong": ({}, (40, 56)),
    "center of a tall one": ({"crop_pct": 0.95}, (61, 40)),
    "border": ({"crop_mode": "border"}, (40, 40)),
    "border above 1 pads with the mean": ({"crop_mode": "border", "crop_pct": 1.2}, (40, 40)),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_timms_pixels_are_made_alike(case):
    changes, size = CONFIGS[case]
    config = {**PLAIN, **changes}
    given = images(*size)[:8]
    transform = create_transform(**config, is_training=False)
    wanted = torch.stack([transform(picture) for picture in pictures(given)])
    found = read_config(config, "timm:x", "library", (3, *size), None)(given.float() / 255)
    levels = (found - wanted).abs() * 255 * torch.tensor(PLAIN["std"]).view(1, 3, 1, 1)
    assert found.shape == wanted.shape
    assert levels.max() <= 2
    assert levels.mean() <= 0.6


@pytest.mark.parametrize(
    ("changes", "size", "sentence"),
    [
        (
            {"crop_mode": "spiral"},
            (40, 40),
            "timm:x is prepared with timm's crop_mode 'spiral', which robench does",
        ),
        (
            {"crop_mode": "border"},
            (40, 56),
            "crop_mode 'border', which pads images that are not square, as the data",
        ),
        (
            {"interpolation": "lanczos"},
            (40, 40),
            "timm:x is prepared with lanczos interpolation, which has no diff",
        ),
        ({"input_size": (3, 48, 32)}, (40, 40), "timm:x takes images of 48 x 32; robench resizes to squares; give"),
        (
            {"mean": (0.5, 0.5)},
            (40, 40),
            "timm's transform of timm:x cannot process the dataset's images, 3 x 40 x 40 (",
        ),
    ],
)
def test_what_timm_does_otherwise_is_refused(changes, size, sentence):
    with pytest.raises(WeightsError) as caught:
        read_config({**PLAIN, **changes}, "timm:x", "library", (3, *size), None)
    assert sentence in str(caught.value)


def test_all_of_timms_published_crop_modes_are_known():
    configs = [timm.get_pretrained_cfg(name) for name in timm.list_pretrained()]
    modes = {config.crop_mode or "center" for config in configs}
    assert modes <= set(CROP_MODES)
    assert any(config.crop_pct > 1 for config in configs)  # volo, which pads


def test_a_side_of_ones_own_leaves_the_statistics(tmp_path):
    made = read_config({**PLAIN, "crop_pct": 0.5}, "timm:x", "library", (3, 40, 40), 64)(images()[:2].float() / 255)
    plain = read_config({**PLAIN, "crop_pct": 1.0, "input_size": (3, 64, 64)}, "timm:x", "library", (3, 40, 40), None)
    assert torch.equal(made, plain(images()[:2].float() / 255))


def wrapper(folder, **changes):
    """Write a folder that timm saves for the hub, which transformers reads as a timm_wrapper."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("test_resnet", num_classes=3).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    stated = json.loads((folder / "config.json").read_text())
    # As folders of the hub are: the number of classes is stated once, and classes have names.
    stated.pop("model_args", None)
    stated["label_names"] = list(NAMES)
    stated["pretrained_cfg"] = {**stated["pretrained_cfg"], "input_size": [3, 48, 48], "crop_pct": 1.15, **changes}
    (folder / "config.json").write_text(json.dumps(stated))
    return model


@pytest.mark.parametrize("pct", [0.9, 1.15])
def test_a_folder_of_timm_is_read_through_transformers(tmp_path, pct):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    wrapper(tmp_path, crop_pct=pct)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    model = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    given = images()
    pixels = processor(pictures(given), return_tensors="pt")["pixel_values"]
    victim = HfDir(path=str(tmp_path)).load(Task(classes=NAMES, shape=(3, 40, 40)))
    with torch.no_grad():
        logits, answers = model(pixel_values=pixels).logits, victim(given.float() / 255)
        assert torch.allclose(victim.network(pixels), logits, atol=1e-5)
    assert (answers - logits).abs().max() < 0.1 * logits.std()
    assert (answers.argmax(1) == logits.argmax(1)).sum() >= 39


def test_torchvisions_preset_is_held_to_its_pixels(monkeypatch):
    from torchvision.transforms import functional

    from robench_builtins.models.torchvision import Torchvision

    task = Task(classes=NAMES, shape=(3, 40, 40))
    assert Torchvision(model="squeezenet1_1", pretrained=False).load(task).classes == 3
    normalize = functional.normalize
    monkeypatch.setattr(functional, "normalize", lambda image, mean, std: normalize(image, std, mean))
    with pytest.raises(WeightsError, match=r"^torchvision's preset of torchvision:squeezenet1_1 makes other pixels"):
        Torchvision(model="squeezenet1_1", pretrained=False).load(task)


def test_a_timm_checkpoint_is_unwrapped(tmp_path):
    model = timm.create_model("test_vit", num_classes=3)
    averaged = {name: value + 1 for name, value in model.state_dict().items()}
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged, "epoch": 3}, tmp_path / "w.pt")
    task = Task(classes=NAMES, shape=(3, 40, 40))
    victim = Timm(model="test_vit", checkpoint=str(tmp_path / "w.pt")).load(task)
    assert torch.equal(victim.network.head.weight, model.head.weight)
    said = "taken from entry 'state_dict' (not 'state_dict_ema'), without prefix 'module.'"
    assert task.notes == [f"{tmp_path / 'w.pt'}: {said}"]
    assert "state_dict" not in victim.network.pretrained_cfg
