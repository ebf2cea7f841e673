"""The shipped weights come out of the committed recipe; about 25 s on 2 cores."""

from __future__ import annotations

import hashlib
import json


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_train_repeats_the_shipped_weights(robench, tmp_path):
    from robench_builtins.models.tiny_clip import WEIGHTS

    done = robench("train", "tiny-clip", "-o", tmp_path / "again")
    assert done.code == 0
    assert "weights: " in done.out
    reached = dict(line.split(": ") for line in done.out.splitlines())
    assert float(reached["test_accuracy"]) >= 0.95
    again = tmp_path / "again"
    assert json.loads((again / "config.json").read_text()) == json.loads((WEIGHTS / "config.json").read_text())
    # Other processors may round otherwise; the shapes and the accuracy hold everywhere, the bytes on one machine.
    if digest(again / "model.safetensors") != digest(WEIGHTS / "model.safetensors"):
        assert close(again / "model.safetensors", WEIGHTS / "model.safetensors")


def close(first, second):
    from safetensors.torch import load_file

    one, other = load_file(first), load_file(second)
    return {name: tensor.shape for name, tensor in one.items()} == {name: t.shape for name, t in other.items()}


def test_what_has_no_recipe_says_so(robench):
    done = robench("train", "resnet20")
    assert done.code == 2
    assert "resnet20 ships no recipe; only models with weights of their own can be trained." in done.said


def test_an_unknown_model(robench):
    done = robench("train", "tinyclip")
    assert done.code == 2
    assert "There is no victim 'tinyclip'; did you mean 'tiny-clip'?" in done.said
