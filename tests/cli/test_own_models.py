"""User-supplied models and photos from the command line; every count is known by hand.

The photos are grey: level 128 + d is bright, 127 - d is dark, d = 0..19. The model takes the mean, so an Linf attacker
of radius k/255 moves it by exactly k levels: the image survives iff 0.5 + d > k.
"""

from __future__ import annotations

import json
import warnings

import pytest

NET = """
import torch
from torch import nn


class Mean(nn.Module):
    def __init__(self, gain: float = 10.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, images):
        brightness = self.gain * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, -brightness], 1)


def build():
    return Mean()
"""
MARKED = NET + "\nfrom pathlib import Path\nPath({!r}).write_text('ran')\n"
QUICK = ("--attack", "fgsm", "-p", "dataset.size=8", "-p", "dataset.test=1")


@pytest.fixture
def desk(tmp_path):
    """Fill the working folder: photos/, net.py, net.ts and net.pt2."""
    from PIL import Image

    for d in range(20):
        for name, level in (("bright", 128 + d), ("dark", 127 - d)):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / "photos" / name / f"{d:02d}.png")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


@pytest.fixture
def programs(desk, monkeypatch):
    import torch

    monkeypatch.chdir(desk)
    scope = {"__name__": "net", "__file__": "net.py"}
    exec(compile(NET, str(desk / "net.py"), "exec"), scope)  # noqa: S102 - the text above
    images = torch.rand(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the writing of TorchScript; there are files of it
        torch.jit.trace(scope["Mean"](), images).save("net.ts")
    shapes = ({0: torch.export.Dim.AUTO},)
    torch.export.save(torch.export.export(scope["Mean"](), (images,), dynamic_shapes=shapes), "net.pt2")
    return desk


@pytest.fixture
def measure(desk, monkeypatch):
    """Return a function that measures in this process."""
    import robench

    monkeypatch.chdir(desk)
    usual = {"dataset": "folder:photos", "attack": "fgsm", "store": desk / "store", "device": "cpu"}
    sizes = {"dataset.size": 8, "dataset.test": 1}
    return lambda **request: robench.run(**{**usual, "parameters": sizes, **request})


def cards(desk):
    return [json.loads(path.read_text()) for path in sorted((desk / "results" / "cards").glob("*.json"))]


def run(robench, *words, dataset="folder:photos"):
    done = robench("run", "--dataset", dataset, *QUICK, *words)
    assert done.code == 0, done.said
    return done


def known(card, k=8):
    counts = (card["clean"]["correct"], card["robust"]["correct"], card["cell"]["n"])
    return counts == (40, 2 * sum(0.5 + d > k for d in range(20)), 40)


def test_a_model_of_ones_own_is_measured_as_known_by_hand(robench, desk):
    run(robench, "--victim", "net.py:build")
    (card,) = cards(desk)
    assert known(card)
    assert card["gate"]["verdict"] == "VALID"
    assert card["cell"]["given"]["victim"] == ["net.py:build"]
    assert card["cell"]["victim"]["changed"] == {"path": "net.py", "function": "build"}
    assert card["cell"]["victim"]["files"]
    assert card["cell"]["dataset"]["name"] == "imagefolder"
    assert card["cell"]["dataset"]["parameters"]["path"] == "photos"


@pytest.mark.parametrize("victim", ["net.py:Mean", "torchscript:net.ts", "export:net.pt2"])
def test_classes_and_programs_are_measured_as_known_by_hand(programs, measure, victim):
    (card,) = measure(victim=victim)
    assert (card.clean.correct, card.robust.correct, card.gate.verdict) == (40, 24, "VALID")
    assert card.cell.victim.parameters["path"] in victim


def test_two_files_in_one_grid_and_a_surrogate_of_ones_own(robench, desk):
    (desk / "other.py").write_text(NET.replace("10.0", "20.0"))
    run(robench, "--victim", "net.py:build,other.py:build", "--surrogate", "other.py:build", "--eps", "4/255")
    found = cards(desk)
    assert len(found) == 4
    assert all(known(card, 4) for card in found)
    assert {card["cell"]["victim"]["parameters"]["path"] for card in found} == {"net.py", "other.py"}
    (one, other) = (card for card in found if card["cell"]["surrogate"])
    assert (
        one["cell"]["surrogate"]["parameters"]["path"] == other["cell"]["surrogate"]["parameters"]["path"] == "other.py"
    )


def test_the_second_run_runs_nothing_and_an_edit_runs_again(robench, desk, modules):
    run(robench, "--victim", "net.py:build")
    words = ("run", "--dataset", "folder:photos", *QUICK, "--victim", "net.py:build")
    assert "torch" not in modules(*words)
    # The same signs for another reason: only the file's content differs.
    (desk / "net.py").write_text(NET.replace("gain: float = 10.0", "gain: float = 12.0"))
    run(robench, "--victim", "net.py:build")
    first, second = cards(desk)
    assert first["id"] != second["id"]
    assert first["model"]["victim"] != second["model"]["victim"]


def test_a_suite_and_python_take_the_same_strings(robench, desk, measure):
    (desk / "own.toml").write_text(
        'dataset = "folder:photos"\nvictim = "net.py:build"\nattack = "fgsm"\n'
        "[parameters]\ndataset.size = 8\ndataset.test = 1\n"
    )
    assert robench("run", "own.toml").code == 0
    (card,) = cards(desk)
    assert known(card)
    assert [found.id for found in measure(victim="net.py:build")] == [card["id"]]


def test_a_local_clip_folder_is_defended_and_trained_on_like_any_other(measure):
    from robench_builtins.models.tiny_clip import WEIGHTS

    folder, quick = f"hf-dir:{WEIGHTS}", "epochs=1,rank=2,attack_steps=1"
    defenses = [f"tecoa[{quick}]", f"lora-ce[surrogate={folder},{quick}]"]
    found = measure(dataset="digits", victim=folder, defense=defenses, n=20, parameters={})
    assert [card.cell.defense.name for card in found] == ["none", "tecoa", "lora-ce"]
    assert [[part.name for part in card.cell.loads] for card in found] == [[], [], ["hf-dir"]]


BAD = {
    "a missing file": ("gone.py:build", "file found no file at gone.py; write FILE.py:NAME with one that exists."),
    "no function": ("net.py", "net.py does not say what in it is the model; write net.py:NAME."),
    "another function": ("net.py:biuld", "net.py has no 'biuld'; it has Mean, build."),
    "a missing program": ("torchscript:gone.ts", "torchscript found no file at gone.ts; write torchscript:FILE with"),
    "a missing export": ("export:gone.pt2", "export found no file at gone.pt2; write export:FILE with one that"),
    "a missing folder": ("hf-dir:gone", "hf-dir: gone is no folder; name the folder that save_pretrained wrote"),
    "no module": ("no.such:thing", "There is no Python module 'no.such' here;"),
    "an unknown kind": (
        "onnx:net.onnx",
        "There is no victim 'onnx:net.onnx'; Known: clip-rn50, clip-vit-b16, clip-vit-b32, clip-vit-l14, export, ",
    ),
    "photos as a model": ("folder:photos", "There is no victim 'folder:photos'; Known: "),
}


@pytest.fixture
def refusal(measure):
    """Return a function that measures a victim in this process and gives the sentence it ends with."""
    from robench import RobenchError

    def measured(victim, **request):
        with pytest.raises(RobenchError) as caught:
            measure(victim=victim, **request)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return measured


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_brought_is_one_sentence(refusal, case):
    victim, sentence = BAD[case]
    assert sentence in refusal(victim)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def build(:\n", "net.py is not Python: "),
        (
            "def build():\n    return [][0]\n",
            "net.py:build raised IndexError: list index out of range (net.py, line 2).",
        ),
        (
            "def build():\n    return 3\n",
            "net.py:build is no model: it gives a int, and robench needs a torch.nn.Module",
        ),
        (NET.replace(", -brightness]", "]"), "net.py tells 1 classes apart, but the dataset has 2; bring a model that"),
        (
            NET.replace("1)\n\n", "1).softmax(1)\n\n"),
            "file returns probabilities, not logits: each row is in [0, 1] and",
        ),
        (
            NET.replace("(images.", "(images.detach()."),
            "logits carry no gradient back to its images: it runs under torch",
        ),
    ],
)
def test_a_file_that_builds_no_model_is_one_sentence(refusal, desk, text, sentence):
    (desk / "net.py").write_text(text)
    assert sentence in refusal("net.py:build")


def test_a_folder_of_photos_that_is_not_there(refusal):
    said = refusal("net.py:build", dataset="folder:gone")
    assert said == 'imagefolder found no folder at gone; pass parameters={"dataset.path": DIR} with one that exists.'


def test_a_mistake_on_the_command_line_is_one_sentence_and_code_2(robench, desk):
    done = robench("run", "--dataset", "folder:photos", *QUICK, "--victim", "net.py:biuld")
    assert (done.code, done.err.count("robench: ")) == (2, 1), done.said
    assert "net.py has no 'biuld'; it has Mean, build." in done.said


@pytest.fixture
def marked(desk):
    """Return the marker that running net.py leaves, after one run that left it and a cleaning up."""
    (desk / "net.py").write_text(MARKED.format(str(desk / "ran")))
    return desk / "ran"


def card_file(desk):
    (path,) = (desk / "results" / "cards").glob("*.json")
    return path


def test_verify_runs_no_code_that_a_card_names_unless_it_is_trusted(robench, desk, marked):
    run(robench, "--victim", "net.py:build")
    for words in ((), ("--rerun",)):
        marked.unlink()
        done = robench("verify", card_file(desk), *words)
        assert done.code == (2 if words else 0), done.said
        assert "it names 'file[function=build,path=net.py]', which runs code of a file; read that file, a" in done.said
        assert not marked.exists()

        done = robench("verify", card_file(desk), *words, "--trust-code")
        assert done.code == 0, done.said
        assert "WRONG" not in done.out
        assert "not at hand" not in done.out
        assert marked.exists()


@pytest.mark.parametrize("place", ["victim", "surrogate", "attacks beside it", "surrogates beside it"])
@pytest.mark.parametrize("words", [(), ("--rerun",)], ids=["verify", "rerun"])
def test_a_forged_card_cannot_have_code_run(robench, copied_run, marked, place, words):
    path = copied_run.card("none-fgsm")
    card = json.loads(path.read_text())
    code = {"name": "file", "parameters": {"path": str(marked.parent / "net.py"), "function": "build"}}
    if place == "victim":
        card["cell"]["victim"].update(code)
    elif place == "surrogate":
        card["cell"]["surrogate"] = {**card["cell"]["victim"], **code}
    else:
        card["cell"]["given"][place.partition("s ")[0]] = [f"{marked.parent}/net.py:build"]
    path.write_text(json.dumps(card))
    done = robench("verify", path, *words, "--store", copied_run.store)
    assert done.code in (0, 1, 2), done.said  # 1: it found the forgery
    assert not marked.exists()


def test_a_forged_card_cannot_drive_the_terminal(robench, desk):
    run(robench, "--victim", "net.py:build")
    card = json.loads(card_file(desk).read_text())
    card["cell"]["victim"]["parameters"]["path"] = "\x1b[2Jnet.py"
    card_file(desk).write_text(json.dumps(card))
    done = robench("verify", card_file(desk), "--rerun")
    assert done.code == 2
    assert "\x1b" not in done.out + done.err


def test_what_can_be_brought_is_listed_and_shown(robench):
    listed = robench("list", "victim").out
    assert all(f" {name} " in listed for name in ("file", "hf-dir", "torchscript", "export"))
    shown = robench("show", "file").out
    assert "FILE.py:NAME" in shown
    assert "weights" in shown
