"""In a Slurm of one machine: an array's parts, and steps that share a store, give the cards of one process."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from ..fork_server import script
from ..without_clocks import cards_in
from .slurm import is_there, slurm
from .test_workers import COMMAND

pytestmark = pytest.mark.skipif(not is_there(), reason="needs slurm-wlm, munge and root")


def done(words, environment, folder):
    found = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=280)
    logs = "\n".join(path.read_text() for path in folder.glob("slurm-*.out"))
    assert found.returncode == 0, found.stdout + found.stderr + logs
    return found.stdout + found.stderr + logs


def test_parts_of_an_array_and_steps_give_the_cards_of_one_process(tmp_path, tmp_path_factory, one_process):
    command = shlex.join([str(script()), *COMMAND])
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        # Task 5 of 5 to 7 is the first part: a cell each.
        array = f"{command} --store shared --shard auto --out out/$SLURM_ARRAY_TASK_ID"
        done(["sbatch", "--wait", "--array", "5-7", "--wrap", array], environment, tmp_path)
        parts = [cards_in(tmp_path / "out" / str(task) / "cards") for task in (5, 6, 7)]
        assert [len(part) for part in parts] == [1, 1, 1]
        assert {name: card for part in parts for name, card in part.items()} == one_process

        steps = f"{command} --store steps --out steps/$SLURM_PROCID"
        done(["srun", "--ntasks", "2", "bash", "-c", steps], environment, tmp_path)
    assert cards_in(tmp_path / "steps" / "0" / "cards") == cards_in(tmp_path / "steps" / "1" / "cards") == one_process

    last = [str(script()), *COMMAND, "--store", "shared", "--out", "whole", "--no-compute"]
    done(last, None, tmp_path)  # where the cards are put together, nothing is computed
    assert cards_in(tmp_path / "whole" / "cards") == one_process
