"""``robench predict``: the answers to single photos, in captions of one's own, and under an attack."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from robench import Classifier, Task
from robench.cli import main
from robench.cli.predictions import overlay, salience
from robench.plan.spec import Spec, plan

CAPTIONS = ("a photo of the digit three", "a photo of the digit eight")


@pytest.fixture(scope="module")
def scan():
    return (load_digits().images[3] / 16 * 255).round().astype("uint8")


@pytest.fixture
def say(monkeypatch, capsys, tmp_path, scan):
    """Return a function that runs the command line in this process, in a folder with one scan of a three."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scan).resize((32, 32), Image.Resampling.BILINEAR).convert("RGB").save("three.png")

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", "predict", "three.png", "--size", "32", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return stopped.value.code or 0, done.out, done.err

    return run


def test_the_answers_are_the_models_own(say):
    code, out, err = say("--json", "--top", "10")
    assert code == 0, err
    (found,) = json.loads(out)["images"]
    assert found["image"] == "three.png"
    assert found["clean"][0]["class"] == "three"
    assert [one["probability"] for one in found["clean"]] == sorted(one["probability"] for one in found["clean"])[::-1]
    assert sum(one["probability"] for one in found["clean"]) == pytest.approx(1, abs=1e-4)
    (cell,) = plan(Spec())
    dataset = cell.dataset.component
    task = Task(classes=dataset.classes(), templates=dataset.templates, shape=(3, 32, 32))
    pixels = torch.from_numpy(np.array(Image.open("three.png"))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        likeliest = cell.victim.component.load(task)(pixels).softmax(1).max().item()
    assert found["clean"][0]["probability"] == pytest.approx(likeliest, abs=1e-5)


def test_captions_take_the_place_of_classes(say):
    code, out, err = say("--captions", *CAPTIONS, "--json")
    assert code == 0, err
    (found,) = json.loads(out)["images"]
    assert [one["class"] for one in found["clean"]] == list(CAPTIONS)
    assert "attacked" not in found


def test_what_the_answer_depends_on_is_laid_over_the_photo_in_red(say, tmp_path):
    code, _, err = say("--captions", *CAPTIONS, "--attack", "fgsm", "--saliency", "-o", "sheet.png")
    assert code == 0, err
    with Image.open("sheet.png") as picture:
        sheet = np.array(picture).astype(int)
    assert sheet.shape == (32, 5 * 32, 3)  # clean and attacked, each with its overlay, and the difference
    clean, covered = sheet[:, :32], sheet[:, 32:64]
    assert (covered[..., 0] >= clean[..., 0]).all()
    assert (covered[..., 1:] <= clean[..., 1:]).all()
    assert covered[..., 0].max() == 255
    assert (covered[..., 1] + covered[..., 2]).min() == 0  # the pixel that matters most is red alone


def test_saliency_is_the_gradient_of_the_likeliest_answer_s_loss():
    weight = torch.tensor([[2.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(weight)
    image = torch.tensor([[[[0.9, 0.1], [0.2, 0.3]]]])
    logits = weight @ image.flatten()
    expected = ((logits.softmax(0) - torch.tensor([1.0, 0.0])) @ weight).abs().view(2, 2)
    assert torch.allclose(salience(Classifier(network, 2), image)[0], expected, atol=1e-7)
    red = overlay(image[0].expand(3, 2, 2), expected)
    assert red[:, 0, 0].tolist() == [1.0, 0.0, 0.0]
    assert red[:, 1, 1].tolist() == pytest.approx([0.3] * 3)


def test_an_attack_lowers_the_first_answer_inside_the_ball(say):
    code, out, err = say("--captions", *CAPTIONS, "--attack", "pgd", "--eps", "16/255", "--json", "-o", "sheet.png")
    assert code == 0, err
    (found,) = json.loads(out)["images"]
    before = {one["class"]: one["probability"] for one in found["clean"]}
    after = {one["class"]: one["probability"] for one in found["attacked"]}
    assert after[CAPTIONS[0]] < before[CAPTIONS[0]]
    assert (found["attack"], found["eps"]) == ("pgd", "16/255")
    sheet = np.array(Image.open("sheet.png")).astype(int)
    assert sheet.shape == (32, 96, 3)
    assert np.array_equal(sheet[:, :32], np.array(Image.open("three.png")))
    moved = np.abs(sheet[:, 32:64] - sheet[:, :32])
    assert 0 < moved.max() <= 17


def test_it_says_the_same_in_words(say):
    code, out, err = say("--captions", *CAPTIONS, "--attack", "fgsm", "--top", "1")
    assert code == 0, err
    first, clean, attacked = out.splitlines()
    assert first == "three.png"
    assert clean.startswith("  clean: a photo of the digit three ")
    assert attacked.startswith("  under fgsm at Linf 8/255: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--captions",), '--captions needs captions; write --captions "a dog" "a cat".'),
        (("--captions", "a dog"), "One caption leaves nothing to choose from; give several:"),
        (("--victim", "mlp"), "mlp comes without weights, so it has no answers; name a victim that is trained."),
        (
            ("--victim", "resnet20", "--captions", "a", "b"),
            "resnet20 reads no text; leave --captions out, or name a CLIP",
        ),
        (("--attack", "pdg"), "did you mean 'pgd'?"),
        (("-o", "sheet.jpg"), "-o sheet.jpg is no PNG file"),
        (("--top", "0"), "0 is below 1; write a whole number such as 5."),
        (("gone.png",), "gone.png"),
    ],
)
def test_what_cannot_be_asked_is_said(say, words, sentence):
    code, out, err = say(*words)
    assert code == 2
    assert sentence in " ".join(err.split())
    assert out == ""
