"""The ``robench`` process, and one real run that many tests look at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from ..fork_server import INSTALLED, script
from ..without_clocks import cards_in

ENVIRONMENT = {**os.environ, "COLUMNS": "400", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
REQUEST = ("--defense", "tecoa", "--attack", "fgsm,pgd", "--n", "60", "-p", "attack.steps=5", "-p", "defense.epochs=1")


@dataclass(frozen=True)
class Finished:
    """What a process said; ``said`` is on one line, however it was wrapped."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return " ".join((self.out + " " + self.err).split())


@dataclass(frozen=True)
class Run:
    """Hold one finished run: what it said, its request, and where its files are."""

    done: Finished
    words: tuple[str, ...]
    store: Path
    out: Path

    @property
    def cards(self) -> list[Path]:
        return sorted((self.out / "cards").glob("*.json"))

    def card(self, name: str) -> Path:
        """Return the one card whose file name holds ``name``."""
        (found,) = [card for card in self.cards if name in card.name]
        return found


def start(words, folder, **environment):
    done = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=800,
        env={**ENVIRONMENT, **environment},
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def robench(tmp_path):
    """Return a function that runs robench in an empty folder; no user ever sees a traceback."""

    def run(*words, **environment):
        return start([script(), *words], tmp_path, **{"ROBENCH_STORE": str(tmp_path / "store"), **environment})

    return run


@pytest.fixture
def modules(tmp_path):
    """Return a function that runs a command in a process of its own and gives the modules it imported."""

    def run(*words, store=tmp_path / "store"):
        code = (
            "import sys\n"
            f"sys.argv = ['robench', *{list(map(str, words))!r}]\n"
            "from robench.cli import main\n"
            "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
            "print('MODULES', *sorted(sys.modules))\n"
        )
        done = start([sys.executable, "-c", code], tmp_path, ROBENCH_STORE=str(store))
        assert done.code == 0, done.said
        return set(done.out.rpartition("MODULES")[2].split())

    return run


@pytest.fixture(scope="session")
def real_run(once):
    """Return the main job on 60 digits; read its folders, change only copies."""

    def asked(root):
        return ("run", *REQUEST, "--store", root / "store", "--out", root / "out")

    def run(root):
        (root / "said.json").write_text(json.dumps(asdict(start([INSTALLED, *asked(root)], root))))

    root = once("real-run", run)
    done = Finished(**json.loads((root / "said.json").read_text()))
    return Run(done, asked(root), root / "store", root / "out")


@pytest.fixture
def copied_run(real_run, tmp_path):
    """Return a copy of the run, to be tampered with."""
    shutil.copytree(real_run.store, tmp_path / "store")
    shutil.copytree(real_run.out, tmp_path / "out")
    return replace(real_run, store=tmp_path / "store", out=tmp_path / "out")


@pytest.fixture(scope="session")
def one_process(once):
    """Return the cards that one process gives for the command that several share, by file name, without clocks."""
    from .test_workers import finish, start

    folder = once("one-process", lambda folder: finish(start(folder, "one")))
    return cards_in(folder / "out" / "one" / "cards")
