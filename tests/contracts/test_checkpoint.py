"""Unfinished work on disk is taken up only if it is whole and its own."""

from __future__ import annotations

import shutil

import pytest
import torch

from robench.contracts.task import Checkpoint

STATE = {"images": torch.arange(12.0).view(3, 4), "pass": 2}


def test_a_state_comes_back(tmp_path):
    Checkpoint(tmp_path / "a.partial").save(STATE)
    kept = Checkpoint(tmp_path / "a.partial").load()
    assert torch.equal(kept["images"], STATE["images"])
    assert kept["pass"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.partial"]


@pytest.mark.parametrize("place", [0, 40, 300, -1])
def test_one_flipped_bit_is_found_out_and_said(tmp_path, place):
    path, told = tmp_path / "a.partial", []
    Checkpoint(path).save(STATE)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert Checkpoint(path, note=told.append).load() is None
    assert told == [f"Unfinished work in {path} is damaged (its checksum does not match); it is begun again."]
    assert not path.exists()


@pytest.mark.parametrize("size", [0, 10, 500])
def test_a_cut_off_file_counts_as_none(tmp_path, size):
    path = tmp_path / "a.partial"
    Checkpoint(path).save(STATE)
    path.write_bytes(path.read_bytes()[:size])
    assert Checkpoint(path).load() is None


def test_the_state_of_other_work_counts_as_none(tmp_path):
    Checkpoint(tmp_path / "a.partial").save(STATE)
    shutil.copy(tmp_path / "a.partial", tmp_path / "b.partial")
    assert Checkpoint(tmp_path / "b.partial").load() is None
    assert Checkpoint(tmp_path / "a.partial").load() is not None
