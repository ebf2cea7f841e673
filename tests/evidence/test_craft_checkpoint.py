"""What is kept of an unfinished chunk: images, counts and the attack's state, all of one moment."""

from __future__ import annotations

import time

import pytest
import torch

from robench.evidence import craft_checkpoint as module
from robench.evidence.craft_checkpoint import Unfinished
from robench.evidence.meter import Meter


@pytest.fixture
def at_once(monkeypatch):
    """Write whenever asked to."""
    monkeypatch.setattr(module, "EVERY", 0.0)
    monkeypatch.setattr(module, "SHARE", 0)


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens the same chunk of six images, as each new process would."""

    def go():
        images, found, meter = torch.zeros(6, 1, 2, 2), {"outside_ball": 0, "largest": 0.0}, Meter()
        return Unfinished(tmp_path / "chunk.partial", images, found, meter), images, found, meter

    return go


@pytest.mark.usefixtures("at_once")
def test_finished_images_and_counts_come_back(opened):
    chunk, images, found, meter = opened()
    images[[1, 3]] = 0.5
    found.update(outside_ball=2, largest=0.25)
    meter.forwards, meter.backwards, meter.images, meter.batch_size, meter.seconds = 10, 8, 2, 2, 1.5
    chunk.finish([1, 3])

    again, images, found, meter = opened()

    assert again.done.tolist() == [False, True, False, True, False, False]
    assert images.flatten(1).amax(1).tolist() == [0, 0.5, 0, 0.5, 0, 0]
    assert found == {"outside_ball": 2, "largest": 0.25}
    assert (meter.forwards, meter.backwards, meter.images, meter.batch_size, meter.seconds) == (10, 8, 2, 2, 1.5)


@pytest.mark.usefixtures("at_once")
def test_what_is_still_being_copied_is_waited_for(opened, tmp_path):
    images = torch.zeros(6, 1, 2, 2)
    path, found = tmp_path / "chunk.partial", {"outside_ball": 0, "largest": 0.0}
    Unfinished(path, images, found, Meter(), settle=lambda: images.fill_(0.5)).finish([1, 3])

    _, images, *_ = opened()

    assert images.flatten(1).amax(1).tolist() == [0, 0.5, 0, 0.5, 0, 0]


@pytest.mark.usefixtures("at_once")
def test_the_attacks_state_comes_back_for_exactly_its_images(opened):
    chunk, _, _, meter = opened()
    meter.forwards = 7
    chunk.checkpoint([0, 2]).save({"stage": 3, "images": torch.ones(2)})

    again, _, _, meter = opened()

    assert meter.forwards == 7
    assert again.checkpoint([0, 2]).load()["stage"] == 3
    assert again.checkpoint([0]).load() is None  # the batch was halved, or is another
    assert again.checkpoint([2, 0]).load() is None


@pytest.mark.usefixtures("at_once")
def test_the_state_goes_with_its_batch(opened):
    chunk, _, _, _ = opened()
    chunk.checkpoint([0, 2]).save({"stage": 3})
    chunk.finish([0, 2])
    again, _, _, _ = opened()
    assert again.checkpoint([0, 2]).load() is None
    assert again.done.sum() == 2


@pytest.mark.usefixtures("at_once")
def test_a_discarded_state_is_gone(opened):
    chunk, _, _, _ = opened()
    kept = chunk.checkpoint([0])
    kept.save("x")
    kept.discard()
    assert kept.load() is None


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_or_foreign_file_counts_as_none(opened, tmp_path, content):
    chunk, _, _, _ = opened()
    chunk.finish([0])
    path = tmp_path / "chunk.partial"
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    again, images, _, meter = opened()
    assert not again.done.any()
    assert not images.any()
    assert meter.forwards == 0


@pytest.mark.usefixtures("at_once")
def test_a_file_of_another_size_counts_as_none(tmp_path):
    path = tmp_path / "chunk.partial"
    Unfinished(path, torch.ones(4, 1, 2, 2), {}, Meter()).finish([0])
    assert not Unfinished(path, torch.zeros(6, 1, 2, 2), {}, Meter()).done.any()


@pytest.mark.usefixtures("at_once")
def test_the_last_batch_is_not_written_since_the_chunk_is(opened, tmp_path):
    chunk, _, _, _ = opened()
    chunk.finish(range(6))
    assert not (tmp_path / "chunk.partial").exists()


def test_quick_work_is_never_written(opened, tmp_path):
    chunk, _, _, _ = opened()
    for place in range(5):
        chunk.checkpoint([place]).save("state")
        chunk.finish([place])
    assert not (tmp_path / "chunk.partial").exists()


def test_long_work_is_written_once_in_a_while(opened, tmp_path, monkeypatch):
    clock = iter([0.0, 0.5, 1.5, 1.6, 2.0, 2.7, 2.7])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    chunk, _, _, _ = opened()
    chunk.finish([0])  # 0.5 s: too soon
    assert not (tmp_path / "chunk.partial").exists()
    chunk.finish([1])  # 1.5 s: written, which takes 0.1 s, so not again for 20 times that
    first = (tmp_path / "chunk.partial").stat().st_mtime_ns
    chunk.finish([2])  # 2.0 s
    chunk.finish([3])  # 2.7 s
    assert (tmp_path / "chunk.partial").stat().st_mtime_ns == first
