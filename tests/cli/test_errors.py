"""Every mistake a user can make is one sentence: what, where, and the way out."""

from __future__ import annotations

import subprocess

import pytest

from ..fork_server import script

PLANNED = {
    "unknown defense": (("--defense", "tecao"), "There is no defense 'tecao'; did you mean 'tecoa'? Known: "),
    "unknown attack": (("--attack", "pdg"), "There is no attack 'pdg'; did you mean 'pgd'? Known: apgd, "),
    "unknown victim": (("--victim", "tinyclip"), "There is no victim 'tinyclip'; did you mean 'tiny-clip'?"),
    "unknown surrogate": (("--surrogate", "resnet-20"), "There is no surrogate 'resnet-20'; did you mean 'resnet20'?"),
    "unknown dataset": (("--dataset", "cifar"), "There is no dataset 'cifar'; did you mean 'cifar10'?"),
    "nothing like it": (("--attack", "zzz"), "There is no attack 'zzz'; Known: "),
    "unbalanced": (("--attack", "pgd[steps=5"), "'pgd[steps=5' is no component; write its name, or name[parameter="),
    "no value": (("--attack", "pgd[steps]"), "'steps' in 'pgd[steps]' is no parameter; write parameter=value."),
    "unknown parameter": (("--attack", "pgd[stepz=5]"), "pgd has no parameter 'stepz'; did you mean 'steps'?"),
    "unknown -p": (("-p", "attack.stepz=5"), "pgd has no parameter 'stepz'; did you mean 'steps'?"),
    "-p without a role": (("-p", "steps=5"), "-p steps=5 is no parameter; write role.name=value, such as -p attack.st"),
    "-p for nobody": (("-p", "atack.steps=5"), "-p atack.steps: this run has no atack; did you mean 'attack'?"),
    "text for int": (("-p", "attack.steps=many"), "pgd.steps takes int, not 'many' (gradient steps from each start)."),
    "float for int": (("-p", "attack.steps=5.5"), "pgd.steps takes int, not '5.5' ("),
    "too few": (("-p", "attack.steps=0"), "pgd.steps must be at least 1, not 0 ("),
    "not a choice": (("-p", "attack.target=any"), "pgd.target takes untargeted | least-likely | random, not 'any' ("),
    "not a truth value": (("-p", "attack.random_start=maybe"), "pgd.random_start takes bool, not 'maybe' ("),
    "eps 8": (("--eps", "8"), "For 8 grey levels of 255 write --eps 8/255."),
    "eps 8/0": (("--eps", "8/0"), "eps '8/0' is not a number (division by zero). Write a fraction such as 8/255 or"),
    "eps words": (("--eps", "big"), "eps 'big' is not a number ("),
    "eps with its unit": (("--norm", "L0", "--eps", "24px"), "Write the number of pixels alone, such as 24."),
    "side with its unit": (
        ("--norm", "patch", "--eps", "5px"),
        "Write the side of the square in pixels alone, such as 5.",
    ),
    "eps is no severity": (("--norm", "corruption", "--eps", "fog"), "Write the severity alone, from 1 to 5."),
    "attack of another norm": (
        ("--norm", "L0", "--eps", "24"),
        "pgd works in Linf, L2 and L1, not in L0; choose another --norm or attack. In L0: sparse-rs.",
    ),
    "negative eps": (("--eps=-8/255",), "is not a radius; give a number of at least 0, such as 8/255."),
    "eps NaN": (("--eps", "nan"), "eps 'nan' is not a number ("),
    "eps infinite": (("--eps", "inf"), "eps 'inf' is not a number ("),
    "step of eps": (("-p", "attack.step_size=8/255"), "is not smaller than eps 8/255: a step as large as the ball"),
    "step of nothing": (("-p", "attack.step_size=0"), "pgd.step_size 0 does not move an image;"),
    "no image": (
        ("--n", "0"),
        "--n 0 leaves no image to test on; give at least 1, or leave --n out for the whole spli",
    ),
    "norm": (("--norm", "L3"), "norm 'L3' is unknown; choose Linf, L2, L1, L0, patch or corruption."),
    "seed": (("--seed", "one"), "--seed takes whole numbers, not 'one'; write numbers from 0"),
    "no victim": (("--dataset", "imagefolder"), "The dataset 'imagefolder' has no usual victim; name one with --victi"),
}


@pytest.mark.parametrize("case", PLANNED)
def test_a_request_that_cannot_be_run_as_written(robench, tmp_path, case):
    words, sentence = PLANNED[case]
    done = robench("run", *words, "--out", tmp_path / "out")
    assert done.code == 2
    assert done.err.count("robench: ") == 1
    assert sentence in done.said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [("run", "--batch-size", "0"), ("run", "--n", "some"), ("lst",), ("list", "attacks")])
def test_clicks_own_errors_have_the_same_code(robench, words):
    done = robench(*words)
    assert done.code == 2
    assert "Error: " in done.err


def test_an_unknown_component_to_show(robench):
    done = robench("show", "pgdd")
    assert done.code == 2
    assert "There is no component 'pgdd'; did you mean 'pgd'? Known: " in done.said


def test_more_images_than_there_are(robench):
    done = robench("run", "--n", "100000", "--attack", "fgsm")
    assert done.code == 2
    assert "--n 100000 asks for more images than the test split of digits has (" in done.said
    assert "or leave --n out for all." in done.said


def test_no_cuda_where_cuda_was_asked_for(robench):
    done = robench("run", "--n", "20", "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert done.code == 2
    assert "--device cuda was asked for, but torch sees no CUDA device here; use --device cpu, or install" in done.said


def test_a_device_that_is_none(robench):
    done = robench("run", "--n", "20", "--device", "gpu")
    assert done.code == 2
    assert "--device gpu is no device; write cpu, cuda or cuda:0, mps, xpu or auto." in done.said


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize("words", [("--n", "20"), ("--n", "20", "--dry-run")])
def test_a_store_that_cannot_be_written(robench, tmp_path, place, words):
    (tmp_path / "file").write_text("in the way")
    done = robench("run", *words, "--store", tmp_path / place)
    assert done.code == 2
    assert f"The store at {tmp_path / place} cannot be written (" in done.said
    assert "Free some space or mend the permissions, or choose another folder with --store;" in done.said


def test_an_output_folder_that_cannot_be_written(robench, real_run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = robench(*real_run.words[:-1], tmp_path / "file")
    assert done.code == 2
    assert "cannot be written (" in done.said
    assert "choose another folder with --out." in done.said


@pytest.fixture
def photos(tmp_path):
    from PIL import Image

    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for shade in range(6):
            Image.new("RGB", (32, 32), (40 * shade, 10, 90)).save(root / name / f"{shade}.png")
    return root


def over(photos, *words):
    sized = ("-p", f"dataset.path={photos}", "-p", "dataset.size=32", "-p", "dataset.test=1")
    return ("run", "--dataset", "imagefolder", "--victim", "tiny-clip", "--attack", "fgsm", *sized, *words)


def test_a_class_folder_with_one_image(robench, photos):
    for image in list((photos / "dog").iterdir())[1:]:
        image.unlink()
    done = robench(*over(photos))
    assert done.code == 2
    assert f"class folder {photos / 'dog'} has 1 image (" in done.said
    assert "and needs 2 or more; add images or remove the folder." in done.said


def test_an_unreadable_image_is_named(robench, photos):
    (photos / "dog" / "3.png").write_bytes(b"not a picture")
    done = robench(*over(photos))
    assert done.code == 2
    assert f"image {photos / 'dog' / '3.png'} cannot be decoded (" in done.said
    assert "replace or remove the file." in done.said


def test_a_folder_that_is_not_there(robench, tmp_path):
    done = robench(*over(tmp_path / "gone"))
    assert done.code == 2
    assert f"imagefolder found no folder at {tmp_path / 'gone'}; pass -p dataset.path=DIR with one that" in done.said


def test_missing_hub_files_while_offline(robench, photos, tmp_path):
    words = over(photos, "--offline")
    empty = {"HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch")}
    done = robench(*(word.replace("tiny-clip", "clip-vit-b32,resnet20") for word in words), **empty)
    assert done.code == 1
    assert "2 cells failed" in done.said
    assert "openai/clip-vit-base-patch32" in done.said
    assert "cifar10_resnet20-4118986f.pt" in done.said
    assert "download" in done.said


def test_a_model_with_another_number_of_classes(robench, photos, kit):
    words = [word.replace("tiny-clip", "resnet20") for word in over(photos)]
    done = robench(*words, "-p", f"victim.checkpoint={kit / 'resnet20_cifar10.safetensors'}")
    assert done.code == 2
    assert "10 classes" in done.said
    assert "but the dataset has 2; name weights trained on these classes with -p victim.checkpoint=FILE" in done.said


@pytest.mark.parametrize("words", [("suites",), ("protocol", "list"), ("show", "pgd"), ("list",), ("--help",)])
def test_a_reader_that_has_gone_is_no_fault(words):
    """As where ``robench suites | head -1`` has read its line."""
    with subprocess.Popen([script(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, "")
