"""``robench show VICTIM --layers``: inputs, outputs and parameters of each layer, as the reports print them."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from robench import Classifier, SpecError
from robench.cli import main
from robench.cli.layer_table import trace


@pytest.fixture
def show(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["robench", "show", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return stopped.value.code or 0, done.out, done.err

    return run


def rows(out):
    """Return what stands beside each layer: input, output, parameters."""
    found = {}
    for line in out.splitlines():
        name, _, rest = line.partition(")")
        if rest.count("[") == 2:
            found[name.rpartition("─")[2] + ")"] = rest.replace("]", "]|").split("|")
    return {name: [part.strip() for part in parts] for name, parts in found.items()}


@pytest.mark.parametrize(
    ("victim", "patch", "total"),
    [("plant-vit", "12,352", "15,319,754"), ("plant-vit[patch=32,size=256]", "196,672", "15,504,074")],
)
def test_the_transformer_of_report_001_layer_by_layer(show, victim, patch, total):
    code, out, _ = show(victim, "--layers")
    found = rows(out)
    assert code == 0
    assert found["Conv2d (embedding)"][1:] == ["[1, 64, 10, 10]", patch]
    assert found["EncoderBlock (0)"] == ["[1, 100, 64]", "[1, 100, 64]", "83,200"]
    assert found["Flatten (0)"][1] == "[1, 6400]"
    assert found["Linear (3)"] == ["[1, 1024]", "[1, 10]", "10,250"]
    assert f"Total params: {total}\nTrainable params: {total}\n" in out
    assert "it comes without weights and is trained whole" in out


def test_of_a_clip_the_image_side_is_shown_and_it_is_frozen(show):
    code, out, _ = show("tiny-clip", "--layers", "--depth", "2")
    assert code == 0
    assert rows(out)["Linear (visual_projection)"] == ["[1, 64]", "[1, 32]", "(2,048)"]
    assert "Total params: 82,688\nTrainable params: 0\n" in out
    assert "CLIPEncoder" not in out
    assert "a CLIP's image side" in out


def test_what_torchinfo_cannot_follow_is_a_sentence():
    class Hidden(nn.Module):
        def forward(self, pixels):
            raise RuntimeError("compiled away.")

    with pytest.raises(SpecError, match=r"^The layers of mine cannot be shown, .*\(compiled away\).*it was made from"):
        trace(Classifier(Hidden(), 2), (1, 4, 4), 3, "mine")


def test_the_table_of_a_plain_network_is_known_by_hand():
    table = trace(Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), 2), (1, 4, 4), 3, "mine")
    assert rows(table)["Linear (1)"] == ["[1, 16]", "[1, 2]", "34"]
    assert "mult-adds" not in table
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("option", ["--depth 2", "--dataset digits", "-p victim.size=8", "--offline"])
def test_an_option_of_layers_alone_is_refused(show, option):
    code, _, err = show("mlp", *option.split())
    name = {"-p": "--parameter"}.get(option.split()[0], option.split()[0])
    assert code == 2
    assert f"{name} is for --layers; add it, or leave {name} out." in err
