"""A batch that does not fit is halved until it does, and the user is told."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench.contracts.task import Silent, Task
from robench.errors import DeviceError
from robench.runtime.out_of_memory import retry_in_halves

IMAGES, LABELS, PLACES = torch.rand(8, 3, 2, 2), torch.arange(8), list(range(10, 18))


class Notes(Silent):
    """Keep what the user would be told."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


@pytest.fixture
def task():
    return Task(classes=("a",), shape=(3, 2, 2), progress=Notes())


def limited(most, error, sizes):
    """Return work that needs memory for ``most`` images at a time."""

    def work(images, labels, places):
        sizes.append(len(images))
        if len(images) > most:
            raise error
        return images.flatten(1).sum(1) + labels + torch.tensor(places)

    return work


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 5 bytes"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__} {error}"[:60])
@pytest.mark.parametrize("most", [1, 2, 3, 7])
def test_halves_give_the_same_result(most, error, task):
    expected = IMAGES.flatten(1).sum(1) + LABELS + torch.tensor(PLACES)
    assert torch.equal(retry_in_halves(limited(most, error, []), IMAGES, LABELS, PLACES, task, nn.Identity()), expected)


def test_what_fits_is_done_at_once_and_in_silence(task):
    sizes = []
    retry_in_halves(limited(8, None, sizes), IMAGES, LABELS, PLACES, task, nn.Identity())
    assert sizes == [8]
    assert task.progress.texts == []


def test_the_user_is_told_of_each_halving(task):
    sizes = []
    retry_in_halves(limited(3, MemoryError(), sizes), IMAGES[:7], LABELS[:7], PLACES[:7], task, nn.Identity())
    assert sizes == [7, 3, 3, 1]
    assert task.progress.texts == ["Out of memory with 7 images at once; going on with 3 (see --batch-size)."]


def test_places_stay_with_their_images(task):
    seen = []

    def work(images, labels, places):
        if len(images) > 3:
            raise MemoryError
        seen.extend(zip(labels.tolist(), places, strict=True))
        return labels

    retry_in_halves(work, IMAGES, LABELS, range(10, 18), task, nn.Identity())
    assert seen == [(label, label + 10) for label in range(8)]


def test_one_image_that_does_not_fit_is_the_devices_fault(task):
    with pytest.raises(DeviceError) as raised:
        retry_in_halves(limited(0, MemoryError(), []), IMAGES, LABELS, PLACES, task, nn.Identity())
    assert str(raised.value) == (
        "One image alone does not fit into the memory of cpu; choose a smaller model or another device."
    )


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory"), KeyboardInterrupt()])
def test_other_errors_pass(error, task):
    sizes = []
    with pytest.raises(type(error)) as raised:
        retry_in_halves(limited(4, error, sizes), IMAGES, LABELS, PLACES, task, nn.Identity())
    assert raised.value is error
    assert sizes == [8]
    assert task.progress.texts == []


def test_a_gpus_cache_is_emptied_before_going_on(task, monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    retry_in_halves(
        limited(4, torch.OutOfMemoryError("x"), []),
        IMAGES,
        LABELS,
        PLACES,
        task.replace(device="cuda:0"),
        nn.Identity(),
    )
    assert emptied == [True]
    retry_in_halves(limited(4, MemoryError(), []), IMAGES, LABELS, PLACES, task, nn.Identity())
    assert emptied == [True]
