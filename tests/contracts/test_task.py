"""Randomness per image, checkpoints that survive a kill, and what a task has only while crafting."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from robench.contracts import philox
from robench.contracts.task import Checkpoint, Silent, Task, derive_seed
from robench.contracts.threat_model import ThreatModel
from robench.errors import ContractError

TASK = Task(classes=("a", "b"), shape=(3, 4, 4), seed=7)


def noise(task, count, *words):
    return task.uniform(torch.zeros(count, 3, 4, 4), *words)


def refusal(work):
    with pytest.raises(ContractError) as raised:
        work()
    return str(raised.value)


# Seeds


def test_a_derived_seed_is_the_same_for_ever():
    # sha256 of the words joined by the unit separator, first eight bytes, little-endian, halved.
    assert derive_seed(0, "craft") == 0x421DE3216074E37E
    first = hashlib.sha256(b"0\x1fcraft").digest()[:8]
    assert derive_seed(0, "craft") == int.from_bytes(first, "little") // 2


@given(st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_a_derived_seed_suits_a_generator(words):
    seed = derive_seed(*words)
    assert 0 <= seed < 2**63
    assert seed == derive_seed(*words)
    torch.Generator().manual_seed(seed)


def test_a_derived_seed_depends_on_every_word_and_its_place():
    words = [(0, "fit"), (1, "fit"), (0, "craft"), ("fit", 0), (0, "fit", 0), (0,), ("0fit",)]
    assert len({derive_seed(*each) for each in words}) == len(words)


def test_generators_repeat_and_differ_by_words():
    draws = [torch.rand(3, generator=TASK.generator(*words)) for words in (("x",), ("x",), ("y",), ())]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])


def test_no_draw_touches_the_global_generator():
    before = torch.get_rng_state()
    noise(TASK, 3, "start")
    TASK.generator("x")
    assert torch.equal(torch.get_rng_state(), before)


# Noise per image


def test_noise_lies_in_its_range_and_fills_it():
    drawn = noise(TASK, 200)
    assert drawn.dtype == torch.float32
    assert -1 <= drawn.min() < -0.99
    assert 0.99 < drawn.max() < 1
    assert abs(float(drawn.mean())) < 0.03


def test_noise_does_not_depend_on_the_batch():
    whole = noise(TASK.replace(indices=range(10)), 10, "start")
    for rows in ([0, 1, 2], [9, 3], [5]):
        assert torch.equal(noise(TASK.replace(indices=rows), len(rows), "start"), whole[rows])


def test_without_indices_images_are_numbered_from_zero():
    assert torch.equal(noise(TASK, 4), noise(TASK.replace(indices=[0, 1, 2, 3]), 4))


def test_noise_depends_on_seed_words_and_image():
    base = noise(TASK, 2, "restart", 0)
    assert not torch.equal(base[0], base[1])
    assert not torch.equal(base, noise(TASK, 2, "restart", 1))
    assert not torch.equal(base, noise(TASK.replace(seed=8), 2, "restart", 0))
    assert torch.equal(base, noise(TASK, 2, "restart", 0))


def test_noise_is_the_same_bits_for_ever():
    """On any processor, with any of torch's kernels: otherwise ``craft`` and what follows need another version."""
    images, task = torch.zeros(200, 3, 4, 4), TASK.replace(indices=range(100, 300))
    digests = [
        hashlib.sha256(drawn.numpy().tobytes()).hexdigest()[:16]
        for drawn in (task.uniform(images, "start", 0), task.normal(images, "start", 0))
    ]
    assert digests == ["1a3cff136605e278", "f04fa37195463556"]


def test_noise_in_another_precision_is_the_same_draw():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    for draw in (TASK.uniform, TASK.normal):
        assert draw(images, "x").dtype == torch.float64
        assert torch.equal(draw(images, "x"), draw(images.float(), "x").double())


def test_normal_draws_are_the_quantiles_of_the_uniform_ones():
    images = torch.zeros(200, 3, 8, 8)
    drawn = TASK.normal(images, "x")
    assert kstest(drawn.flatten().numpy(), "norm").pvalue > 0.01
    shares = (TASK.uniform(images, "x").double() + 1 + 2**-24) / 2
    assert np.array_equal(drawn.numpy(), norm.ppf(shares.numpy()).astype(np.float32))
    assert not torch.equal(drawn, TASK.normal(images, "y"))


def test_the_ends_of_a_normal_draw_are_finite(monkeypatch):
    ends = torch.tensor([-1.0, 1 - 2**-23]).view(2, 1, 1, 1)
    monkeypatch.setattr(philox, "uniform", lambda *_: ends)
    assert TASK.normal(ends).flatten().tolist() == pytest.approx([-5.42, 5.42], abs=0.01)


def test_noise_for_another_number_of_images_is_refused():
    assert refusal(lambda: noise(TASK.replace(indices=[1, 2]), 3)) == "task.uniform was given 3 images for 2 indices."


def test_keep_drops_the_indices_of_dropped_images():
    kept = TASK.replace(indices=[4, 7, 9]).keep(torch.tensor([True, False, True]))
    assert list(kept.indices) == [4, 9]
    assert list(TASK.keep(torch.tensor([False, True, True])).indices) == [1, 2]


def test_kept_images_keep_their_noise():
    mask = torch.tensor([False, True, True, False, True])
    assert torch.equal(noise(TASK.keep(mask), 3, "eot", 5), noise(TASK, 5, "eot", 5)[mask])


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter than argument 1"):
        TASK.replace(indices=[1, 2]).keep(torch.tensor([True]))


# The rest


def test_a_fork_changes_the_seed_alone():
    fork = TASK.fork("epoch", 3)
    assert fork == TASK.replace(seed=derive_seed(7, "epoch", 3))
    assert fork.seed not in (7, TASK.fork("epoch", 4).seed)


def test_history_is_shared_with_copies():
    task = Task(classes=("a",), shape=(1, 2, 2))
    task.log(loss=1)
    task.fork("x").log(loss=torch.tensor(0.5))
    assert task.history == [{"loss": 1.0}, {"loss": 0.5}]
    assert Task(classes=("a",), shape=(1, 2, 2)).history == []


def test_the_threat_exists_only_while_crafting():
    assert TASK.replace(threat_model=ThreatModel()).threat == ThreatModel()
    assert refusal(lambda: TASK.threat) == (
        "task.threat exists only while crafting: a defense is fitted once for all threat models, "
        "so give it an eps parameter of its own."
    )


def test_models_load_by_name_only_inside_a_run():
    assert refusal(lambda: TASK.load_model("cnn")) == (
        "surrogate 'cnn' was asked for outside a run; only robench's stages can load models by name."
    )


def test_silence_passes_items_on():
    assert list(Silent().track(iter([1, 2]), 2, "text")) == [1, 2]
    assert Silent().note("text") is None


# Checkpoints

STATE = {"step": 3, "weights": torch.arange(3.0), "words": ["a", None, True], "rng": torch.get_rng_state()}


def test_without_a_path_nothing_is_kept():
    checkpoint = Checkpoint()
    checkpoint.save(STATE)
    assert checkpoint.load() is None
    checkpoint.discard()


def test_a_state_comes_back(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit.partial")
    assert checkpoint.load() is None
    checkpoint.save({"step": 1})
    checkpoint.save(STATE)
    loaded = Checkpoint(tmp_path / "fit.partial").load()
    assert {**loaded, "weights": 0, "rng": 0} == {**STATE, "weights": 0, "rng": 0}
    assert torch.equal(loaded["weights"], STATE["weights"])
    assert torch.equal(loaded["rng"], STATE["rng"])
    assert [path.name for path in tmp_path.iterdir()] == ["fit.partial"]


def test_discarding_forgets(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit.partial")
    checkpoint.save(STATE)
    checkpoint.discard()
    checkpoint.discard()
    assert checkpoint.load() is None
    assert list(tmp_path.iterdir()) == []


def test_extra_travels_with_the_state(tmp_path):
    counts, restored = {"forwards": 5}, []
    checkpoint = Checkpoint(tmp_path / "fit.partial", (lambda: dict(counts), restored.append))
    checkpoint.save(1)
    counts["forwards"] = 9
    assert checkpoint.load() == 1
    assert restored == [{"forwards": 5}]


def test_a_damaged_file_counts_as_none(tmp_path):
    path, restored = tmp_path / "fit.partial", []
    checkpoint = Checkpoint(path, (lambda: 1, restored.append))
    checkpoint.save(STATE)
    whole = path.read_bytes()
    torch.save({"state": 1}, tmp_path / "foreign")
    for content in (b"", b"garbage", whole[:100], whole[:-30], (tmp_path / "foreign").read_bytes()):
        path.write_bytes(content)
        assert checkpoint.load() is None
    assert restored == []


class Bomb:
    """Create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"state": Bomb(tmp_path / "harm"), "extra": None}, tmp_path / "fit.partial")
    assert Checkpoint(tmp_path / "fit.partial").load() is None
    assert not (tmp_path / "harm").exists()


def test_a_write_that_fails_leaves_the_last_state(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit.partial")
    checkpoint.save(1)
    with pytest.raises(Exception, match=r"pickle|local object"):  # in the words of 3.11, and of 3.13
        checkpoint.save(lambda: None)
    assert checkpoint.load() == 1


def test_a_kill_while_writing_leaves_a_whole_state(tmp_path):
    code = (
        "import os, sys, torch\n"
        "from pathlib import Path\n"
        "from robench.contracts.task import Checkpoint\n"
        "checkpoint = Checkpoint(Path(sys.argv[1]))\n"
        "checkpoint.save(1)\n"
        "def half(state, file):\n"
        "    file.write(b'half of it')\n"
        "    os.kill(os.getpid(), 9)\n"
        "torch.save = half\n"
        "checkpoint.save(2)\n"
    )
    path = tmp_path / "fit.partial"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert Checkpoint(path).load() == 1
