"""Images are decoded once while there is room, and what is kept is given back."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from PIL import Image

from robench import Examples
from robench.contracts import decoded_images, examples
from robench.contracts.decoded_images import DecodedImages
from robench.testing import pretended_cuda

SIZE = 3 * 4 * 4


@pytest.fixture
def room(monkeypatch):
    """Return a function that leaves room for so many images of 4 x 4 beside what other tests keep."""
    gc.collect()
    return lambda count: monkeypatch.setattr(decoded_images, "MOST_BYTES", decoded_images._kept + count * SIZE)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def images(asked):
    return DecodedImages(lambda row: asked.append(row) or torch.full((3, 4, 4), row, dtype=torch.uint8))


def test_each_image_is_decoded_once(images, asked, room):
    room(10)
    for _ in range(3):
        assert [int(images.get(row)[0, 0, 0]) for row in (2, 0, 1)] == [2, 0, 1]
    assert asked == [2, 0, 1]


def test_those_that_came_first_stay(images, asked, room):
    room(2)
    for _ in range(2):
        for row in range(4):
            images.get(row)
    assert asked == [0, 1, 2, 3, 2, 3]


def test_room_is_given_back(room):
    room(2)
    before = decoded_images._kept
    images = DecodedImages(lambda row: torch.zeros(3, 4, 4, dtype=torch.uint8))
    images.get(0)
    assert decoded_images._kept == before + SIZE
    del images
    gc.collect()
    assert decoded_images._kept == before


def test_files_are_decoded_once_for_all_passes_and_slices(tmp_path, monkeypatch):
    paths = [tmp_path / f"{place}.png" for place in range(3)]
    for place, path in enumerate(paths):
        Image.fromarray(np.full((4, 4, 3), 10 * place, dtype=np.uint8)).save(path)
    decoded, real = [], examples.decode_image
    monkeypatch.setattr(examples, "decode_image", lambda path, size: decoded.append(path.name) or real(path, size=size))
    served = Examples.from_files(paths, [0, 1, 2], 4)
    first = torch.cat([batch.images for batch in served.batches(2)])
    first.zero_()  # what is served is a copy
    again = torch.cat([batch.images for batch in served[1:].batches(2)])
    assert sorted(decoded) == ["0.png", "1.png", "2.png"]
    assert torch.equal(again[:, 0, 0, 0], torch.tensor([10.0, 20.0]) / 255)


def test_what_a_gpu_copies_lies_in_pinned_memory(monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: pinned.append(tensor.nbytes) or tensor)
    served = Examples.from_tensors(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.zeros(5))
    with pretended_cuda() as counts:
        list(served.batches(2, "cuda"))
    assert pinned == [2 * SIZE, 2 * SIZE, SIZE]
    assert counts.waits["to cpu"] == 0
    list(served.batches(2))
    assert len(pinned) == 3


def test_without_room_for_pinned_memory_images_are_served_all_the_same(monkeypatch):
    def full(tensor, *_):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.Tensor, "pin_memory", full)
    served = Examples.from_tensors(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.zeros(2))
    with pretended_cuda():
        (batch,) = served.batches(2, "cuda")
        assert float(batch.images.min()) == 1.0
