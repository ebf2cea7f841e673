"""A run that is killed inside an adversarial chunk goes on there, with the same images and the same counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from torch import Tensor

from robench.evidence.artifact_folder import Artifact

from ..fork_server import script

#: One chunk of 48 images in batches of 16; what is crafted on the undefended digits victim is a few seconds long.
COMMAND = [
    "run", "--defense", "none", "--n", "48", "--batch-size", "16", "--device", "cpu", "--gate", "quick",
]  # fmt: skip
AUTOATTACK = ["--eps", "2/255", "--attack", "autoattack", "-p", "attack.steps=6", "-p", "attack.queries=60"]
PATCH = ["--attack", "patch", "--norm", "patch", "--eps", "2"]
SQUARE = ["--eps", "2/255", "--attack", "square", "-p", "attack.queries=600"]


def start(folder: Path, attack: list[str]) -> subprocess.Popen[str]:
    places = ["--store", str(folder / "store"), "--out", str(folder / "out")]
    return subprocess.Popen(
        [script(), *COMMAND, *attack, *places], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(folder: Path, attack: list[str]) -> tuple[dict, Tensor, float]:
    """Run to the end and return what the card says was done, the stored images, and the seconds it took."""
    process = start(folder, attack)
    out, err = process.communicate(timeout=600)
    assert process.returncode in (0, 1), out + err  # 1: the verdict of so short an attack may be SUSPECT
    (card,) = [json.loads(path.read_text()) for path in (folder / "out" / "cards").glob("*.json")]
    craft = card["cost"]["craft"]
    counts = {name: craft[name] for name in ("images", "forwards", "backwards", "batch_size")}
    (chunk,) = (folder / "store").glob("adversarial/*/*")
    images = Artifact(chunk, {}).tensors()["images"]
    assert not list((folder / "store").glob("tmp/*.partial"))
    return {**counts, **card["adversarial"], "robust": card["robust"]["bits"]}, images, craft["seconds"]


def unfinished(folder: Path) -> int:
    """Return when the unfinished chunk was written last, in ns; 0 if there is none."""
    try:
        (found,) = (folder / "store").glob("tmp/adversarial-*.partial")
        return found.stat().st_mtime_ns
    except (ValueError, FileNotFoundError):
        return 0


def kill_after_another_write(folder: Path, attack: list[str]) -> None:
    """Start the command and send SIGKILL as soon as it has written its unfinished chunk once more."""
    before, process = unfinished(folder), start(folder, attack)
    try:
        deadline = time.monotonic() + 600
        while unfinished(folder) == before:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "nothing unfinished was ever written"
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("attack", "kills"), [(AUTOATTACK, 2), (SQUARE, 1), (PATCH, 1)], ids=["autoattack", "square", "patch"]
)
def test_killed_inside_a_chunk(tmp_path, attack, kills):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    facts, images, seconds = finish(straight, attack)

    for _ in range(kills):
        kill_after_another_write(killed, attack)
    assert unfinished(killed)
    again, same, taken = finish(killed, attack)

    assert again == facts
    assert (same == images).all()
    assert facts["forwards"] > 48 * 100
    # The clock is restored as well: what was done before the kills counts.
    assert taken > seconds / 10
