"""``robench inspect``: what was understood of a dataset and a victim, and the contact sheet pixel by pixel."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.v2 import CenterCrop

from robench import Preprocess
from robench.cli import main
from robench.cli.contact_sheet import GAP, LEAST, LINE, first_of_each
from robench.cli.inspect_victim import in_words, undone

from ..odd_images import animated, pixels, stored, turned

INK = 60


@pytest.fixture
def say(monkeypatch, capsys, tmp_path):
    """Return a function that runs the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path / "store"))

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", "inspect", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return stopped.value.code or 0, done.out, done.err

    return run


def lines(out):
    """Return what is said by label."""
    return {line[:10].strip(): line[11:] for line in out.splitlines()}


@pytest.fixture
def photos(tmp_path):
    """Return a folder whose files differ in all that is reported."""
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / name / ".ipynb_checkpoints").mkdir(parents=True)
        for number in range(4):
            shade = pixels(np.full((10, 20, 3), 20 * number + 7))
            (root / name / f"{number}.png").write_bytes(stored(shade))
    (root / "cat" / "4.jpg").write_bytes(turned(pixels(np.full((30, 20, 3), 90)), 6, "JPEG"))
    (root / "cat" / "5.tif").write_bytes(stored(pixels(np.full((10, 20), 9999), "uint16"), "TIFF"))
    (root / "cat" / "6.gif").write_bytes(animated("GIF"))
    (root / "cat" / "notes.txt").write_bytes(b"x")
    (root / "cat" / ".ipynb_checkpoints" / "0.png").write_bytes(b"x")
    return root


def test_a_folder_is_described(say, photos):
    code, out, _ = say("--dataset", f"folder:{photos}", "-p", "dataset.size=8", "-p", "dataset.test=1")
    said = lines(out)
    assert code == 0
    assert said["dataset"] == "imagefolder[path=photos,size=8,test=1.0]"
    assert said["formats"] == "8 PNG, 1 GIF, 1 JPEG, 1 TIFF"
    assert said["modes"] == "9 RGB, 1 I;16, 1 P"
    assert said["sizes"] == "9 of 20 x 10, 1 of 2 x 2, 1 of 20 x 30"
    assert said["turned"] == "10 stored upright, 1 EXIF orientation 6; served upright"
    assert said["frames"] == "1 image has several; the first is served"
    assert said["left out"] == f"imagefolder leaves out of {photos}: 1 .txt, 1 hidden."
    assert said["served"] == "3 x 8 x 8, RGB, in [0, 1]"
    assert said["pixels"].endswith("on average, in 11 test images; 11 of them are of one single colour")
    assert said["train"].startswith("none: imagefolder leaves no train images of ")
    assert said["test"] == "11 images"
    assert said["classes"] == "2, in label order:"
    assert (said["0"], said["1"]) == ("cat (7 test)", "dog (4 test)")


def test_digits_and_the_embedded_victim_offline(say, tmp_path):
    code, out, _ = say("--victim", "tiny-clip", "--offline", "-o", "sheet.png", "--n", "60")
    said = lines(out)
    assert code == 0
    assert said["stored"] == "not as image files"
    assert (said["train"], said["val"], said["test"]) == ("1097 images", "200 images", "500 images")
    assert said["victim"] == "tiny-clip"
    assert said["input"].startswith("32 x 32, not resized; minus the mean (0.4815, 0.4578, 0.4082), divided by (0.2686")
    assert " of 60 clean test images [" in said["accuracy"]
    assert said["accuracy"].endswith("% is stated for digits, which fits")
    assert said["sheet"].startswith("sheet.png: 24 test images as served (left) and as tiny-clip sees them (right), no")
    assert not (tmp_path / "store").exists()
    with Image.open(tmp_path / "sheet.png") as sheet:
        array = np.asarray(sheet).astype(int)
    served = array[LINE + 2 * GAP :, GAP:][:LEAST, :LEAST]
    seen = array[LINE + 2 * GAP :, 2 * GAP + LEAST :][:LEAST, :LEAST]
    assert np.abs(served - seen).max() <= 1  # nothing is resized, and the normalisation is undone
    assert served.std() > INK


def test_the_sheet_shows_the_crop_that_the_victim_sees(say, photos, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom robench import Classifier, Preprocess\n"
        "def build():\n"
        "    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))\n"
        "    return Classifier(network, 2, Preprocess((0.5,) * 3, (0.25,) * 3, size=4))\n"
    )
    words = ("--dataset", f"folder:{photos}", "-p", "dataset.size=8", "-p", "dataset.test=1")
    code, out, _ = say(*words, "--victim", "net.py:build", "-o", "sheet.png")
    assert code == 0
    assert lines(out)["input"] == (
        "resized to 4 x 4 (bicubic, antialiased); minus the mean (0.5, 0.5, 0.5), divided by (0.25, 0.25, 0.25)"
    )
    assert lines(out)["accuracy"].endswith("; none is stated for imagefolder")
    with Image.open(tmp_path / "sheet.png") as sheet:
        array = np.asarray(sheet)
    left = array[LINE + 2 * GAP + 40, GAP + 40].tolist()
    right = array[LINE + 2 * GAP + 40, 2 * GAP + LEAST + 40].tolist()
    assert left == right == [7, 7, 7]


def test_a_victim_without_weights_is_not_trained(say):
    code, out, _ = say("--victim", "mlp", "--n", "20")
    assert code == 0
    assert lines(out)["accuracy"] == "not measured: it comes without weights, and a run trains it first"


def test_what_a_checkpoint_was_unwrapped_of_is_said(say, tmp_path):
    from robench import Task
    from robench_builtins.models.mlp import Mlp

    task = Task(classes=tuple(map(str, range(10))), shape=(3, 32, 32))
    weights = Mlp(hidden="8").load(task).network.state_dict()
    torch.save({"net": {f"module.{name}": value for name, value in weights.items()}, "epoch": 3}, tmp_path / "net.pt")
    code, out, err = say("--victim", "mlp", "-p", "victim.hidden=8", "-p", "victim.checkpoint=net.pt", "--n", "20")
    assert code == 0, err
    assert lines(out)["loaded"] == "net.pt: taken from entry 'net', without prefix 'module.'"


def test_weights_in_another_order_do_not_fit(say, tmp_path, monkeypatch):
    from robench_builtins.models.tiny_clip import TinyClip

    monkeypatch.setattr(TinyClip, "reference", {"digits": 0.4})
    _, out, _ = say("--victim", "tiny-clip", "--n", "60")
    assert lines(out)["accuracy"].endswith(
        "40.0% is stated for digits, which does NOT fit: wrong weights, preprocessing or class order"
    )


def test_names_of_anyone_reach_no_terminal(say, tmp_path):
    for name in ("\x1b[31mred", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "photos" / name / f"{number}.png").write_bytes(stored(pixels([[[number, 2, 3]]])))
    words = ("--dataset", f"folder:{tmp_path / 'photos'}", "-p", "dataset.size=8", "-p", "dataset.test=1")
    code, out, _ = say(*words, "-o", "sheet.png")
    assert code == 0
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("preprocess", "sides", "words"),
    [
        (nn.Identity(), (8, 8), "as served, in [0, 1]; whatever else is done happens inside the network"),
        (Preprocess((0,), (1,)), (8, 9), "8 x 9, not resized; not normalised"),
        (
            Preprocess((0.5,), (0.5,), 4, "bilinear"),
            (8, 9),
            "resized to 4 x 4 by the short side, the centre cropped (bilinear, antialiased); minus the mean (0.5), "
            "divided by (0.5)",
        ),
        (
            nn.Sequential(Preprocess((0,), (1,)), CenterCrop(4)),
            (8, 8),
            "8 x 8, not resized; not normalised; then CenterCrop(size=(4, 4))",
        ),
    ],
)
def test_preprocessing_in_words(preprocess, sides, words):
    assert in_words(preprocess, sides) == words


def test_what_is_normalised_is_undone_or_said_to_be_stretched():
    images = torch.rand(2, 3, 8, 8)
    seen, stretched = undone(Preprocess((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), images)
    assert not stretched
    assert torch.allclose(seen, images, atol=1e-6)

    class Unknown(nn.Module):
        def forward(self, images):
            return 7 * images - 3

    seen, stretched = undone(Unknown(), images)
    assert stretched
    assert (float(seen.min()), float(seen.max())) == (0.0, 1.0)


def test_a_sheet_shows_every_class_before_any_twice():
    assert first_of_each([0, 0, 0, 1, 2, 2], 3) == [0, 3, 4, 1, 5, 2]
    assert len(first_of_each([0] * 99, 1)) == 24
