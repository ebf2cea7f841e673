"""``robench audit``: the gate on any module, explained; the exit code is the verdict."""

from __future__ import annotations

import pytest

NET = """
import torch
from torch import nn

class Coarse(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.Linear(3 * 32 * 32, 10)

    def forward(self, images):
        return self.read((images * 4).round().flatten(1) / 4)

def coarse():
    torch.manual_seed(0)
    return Coarse()

number = 3
"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def test_a_module_that_masks_its_gradients_is_found_out(robench, net):
    done = robench("audit", f"{net}:coarse", "--n", "40", "--gate", "quick", "--device", "cpu")

    assert done.code == 1
    lines = done.out.splitlines()
    assert "none / pgd: Linf 8/255, white-box, n = 40" in lines[0]
    assert lines[1] == "verdict: SUSPECT: the number may be right, but could not be confirmed; it is not ranked"
    assert lines[2].startswith("gate: quick, ")
    # What did not pass comes first, with its reason.
    assert [" ".join(line.split()[:3]) for line in lines[5:7]] == ["above chance suspect", "gradients present suspect"]
    assert "exactly zero input gradient" in " ".join(done.out.split())


def test_an_honest_victim_passes_and_nothing_is_kept(robench, tmp_path):
    done = robench("audit", "tiny-clip", "--n", "60", "--gate", "quick", "--device", "cpu")

    assert (done.code, done.out.count("verdict: VALID")) == (0, 1)
    assert not list(tmp_path.rglob("cards"))


def test_what_is_no_model_gets_a_sentence(robench, net):
    done = robench("audit", f"{net}:number", "--n", "10", "--device", "cpu")
    assert done.code == 2
    assert "Traceback" not in done.err
    assert "number" in done.err


def test_an_unknown_level_is_refused_before_any_work(robench):
    done = robench("audit", "tiny-clip", "--gate", "standart")
    assert (done.code, done.out) == (2, "")
    assert "--gate standart is unknown; did you mean 'standard'?" in done.err
