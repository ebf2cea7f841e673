"""A component that ends the program fails its cell, in a sentence, and the other cells stand."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from robench import ContractError, Dataset, Model
from robench.api import CellsFailed

from ..fork_server import script
from ..grey import Greys, Mean, attack, corner


def leave():
    os._exit(9)


def crafting(how):
    def craft(model, images, labels, task):
        how()
        return corner(model, images, labels, task)

    return attack("rude", craft)


def interrupting():
    raise KeyboardInterrupt


def losing_a_child():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(leave).result()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda: sys.exit(0), "SystemExit(0) was raised in "),
        (sys.exit, "SystemExit() was raised in "),
        (interrupting, "KeyboardInterrupt() was raised in "),
        (losing_a_child, "BrokenProcessPool"),
    ],
)
def test_an_attack_that_ends_the_program_fails_its_cell_and_the_others_stand(grey, how, words):
    with pytest.raises(CellsFailed) as error:
        grey.run(crafting(how), attack=["steps", "rude"], eps="8/255", gate="quick")

    assert [card.cell.attack.name for card in error.value.cards] == ["steps"]
    assert words in str(error.value)


def ending(base, method):
    def end(self, *args):
        sys.exit(0)

    return type("Ending", (base,), {"__doc__": "End the program.", method: end, "__module__": __name__})


@pytest.mark.parametrize(("base", "role"), [(Greys, "dataset"), (Mean, "victim")])
def test_a_dataset_or_a_victim_that_ends_the_program_is_a_sentence(grey, base, role):
    with pytest.raises(ContractError, match=r"SystemExit\(0\) was raised in .*test_silence\.py, line \d+, which would"):
        grey.run((role, ending(base, "load")), attack="steps", eps="8/255", gate="quick")


def test_planning_that_ends_the_program_is_a_sentence(grey):
    with pytest.raises(ContractError, match=r"SystemExit\(0\) was raised in .*test_silence\.py, line \d+, which would"):
        grey.run(("victim", ending(Mean, "files")), attack="steps", eps="8/255", gate="quick")


NETWORK = """
import os, sys, threading
import torch

class Net(torch.nn.Module):
    def forward(self, images):
        if os.path.exists("now"):
            {how}
        brightness = images.flatten(1).mean(1, keepdim=True)
        return brightness * torch.linspace(-1, 1, 10)

def build():
    return Net()
"""


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("sys.exit(0)", 2, "robench: SystemExit(0) was raised in "),
        ("raise KeyboardInterrupt", 2, "robench: KeyboardInterrupt() was raised in "),
        ("os._exit(0)", 1, "ended the process with os._exit(0) in the midst of a run;"),
        ("threading.Thread(target=os._exit, args=(0,)).start(); threading.Event().wait(60)", 1, "os._exit(0)"),
    ],
)
def test_no_run_of_the_command_ends_in_silence(tmp_path, how, code, words):
    (tmp_path / "net.py").write_text(NETWORK.format(how=how), encoding="utf-8")
    (tmp_path / "now").touch()
    done = subprocess.run(
        [
            script(),
            "run",
            "--victim",
            "net.py:build",
            "--n",
            "20",
            "--attack",
            "fgsm",
            "--gate",
            "quick",
            "--device",
            "cpu",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=800,
        check=False,
        env={**os.environ, "ROBENCH_STORE": str(tmp_path / "store"), "COLUMNS": "400"},
    )
    assert done.returncode == code, done.stderr
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("results/cards/*"))


def test_the_toy_components_are_what_they_say():
    assert issubclass(ending(Mean, "load"), Model)
    assert issubclass(ending(Greys, "load"), Dataset)
