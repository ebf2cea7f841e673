"""Philox against its authors' vectors and numpy's, and numpy's path against torch's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robench.contracts import philox
from robench.contracts.task import Task
from robench.testing import pretended_cuda

CPU = torch.device("cpu")
WORD = 2**64 - 1

#: Counter, key and block of Random123's file of known answers (kat_vectors, philox4x64, 10 rounds).
KNOWN = [
    (
        (0,) * 4,
        (0,) * 2,
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (WORD,) * 4,
        (WORD,) * 2,
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


def by_torch(counter, key):
    """Return one block by the operations that run on an accelerator."""
    one, two, three, four = (torch.tensor([philox.signed(word)]) for word in counter)
    even, odd = torch.stack([one, three]), torch.stack([two, four])
    words = philox.philox4x64(even, odd, torch.tensor(philox.constants(key)))
    return tuple(word % 2**64 for word in words.flatten().tolist())


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN)
def test_the_authors_known_answers(counter, key, block):
    assert by_torch(counter, key) == block


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, WORD)] * 4), st.tuples(*[st.integers(0, WORD)] * 2))
def test_any_block_is_numpys(counter, key):
    # numpy adds one to the counter before it computes a block.
    whole = (sum(word << 64 * place for place, word in enumerate(counter)) - 1) % 2**256
    start = [whole >> 64 * place & WORD for place in range(4)]
    given_key, given_counter = (np.array(words, dtype=np.uint64) for words in (key, start))
    drawn = np.random.Philox(key=given_key, counter=given_counter).random_raw(4)
    assert by_torch(counter, key) == tuple(drawn.tolist())


def by_the_paper(counter, key):
    """Return one block as the paper's figure says, by Python's integers."""
    one, two, three, four = counter
    for number in range(10):
        first, second = one * philox.FACTORS[0], three * philox.FACTORS[1]
        keys = [(word + number * step) % 2**64 for word, step in zip(key, philox.WEYL, strict=True)]
        one, two = (second >> 64) ^ two ^ keys[0], second % 2**64
        three, four = (first >> 64) ^ four ^ keys[1], first % 2**64
    return one, two, three, four


def test_a_number_is_the_upper_24_bits_of_half_a_word_of_the_block_that_is_written_down():
    image, key, drawn = 9, 31, philox.uniform([9], 20, 31, CPU)[0]
    expected = []
    for block in (1, 2, 3):
        for word in by_the_paper((block, image, 0, 0), (key, 0)):
            for half in (word % 2**32, word >> 32):
                top = half >> 8
                expected.append((top - 2**24 if top >= 2**23 else top) / 2**23)
    assert drawn.tolist() == expected[:20]


SHAPES = [(1,), (2,), (7,), (8,), (9,), (3, 5, 5), (3, 32, 32), (11, 3)]
NUMBERS = [[0], [3, 1, 2], [0, 2**31, 2**40 + 1, 2**63 - 1, 5, 5], list(range(40))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_gpu_draws_the_cpus_bits_for_any_shape_and_images(shape):
    for numbers in NUMBERS:
        task = Task(classes=("a", "b"), shape=(3, 4, 4), seed=len(numbers), indices=numbers)
        images = torch.zeros(len(numbers), *shape)
        wanted = task.uniform(images, "start", 1), task.normal(images, "start", 1)
        with pretended_cuda() as counts:
            found = task.uniform(images.to("cuda"), "start", 1), task.normal(images.to("cuda"), "start", 1)
            assert {one.device.type for one in found} == {"cuda"}
            assert not counts.waits
            assert all(torch.equal(one.cpu(), other) for one, other in zip(found, wanted, strict=True))
        assert wanted[0].shape == images.shape
        assert wanted[0].is_contiguous()


def test_how_much_a_gpu_is_given_to_do_does_not_depend_on_the_number_of_images():
    seen = []
    for count in (1, 40):
        with pretended_cuda() as counts:
            philox.uniform(range(count), 48, 7, torch.device("cuda"))
        seen.append(dict(counts.launches))
        # Numbers of images, three constants of two words, ten keys of two: nothing else comes from the host.
        assert (counts.bytes_up, counts.launches["to cuda"], sum(counts.waits.values())) == (8 * (count + 26), 1, 0)
    assert seen[0] == seen[1]
    assert sum(seen[0].values()) < 250


def test_the_draw_fills_its_range_evenly_and_its_ends_are_those_of_24_bits():
    drawn = philox.uniform(range(64), 2**14, 3, CPU)
    assert -1 <= float(drawn.min()) < -1 + 1e-5
    assert 1 - 1e-5 < float(drawn.max()) <= 1 - 2**-23
    assert torch.equal((drawn * 2**23).round() / 2**23, drawn)
    counts = torch.histc(drawn, 64, -1, 1)
    assert float(((counts - 2**14).square() / 2**14).sum()) < 63 + 5 * (2 * 63) ** 0.5  # chi-squared
    neighbours = torch.stack([drawn[:-1].flatten(), drawn[1:].flatten()])
    assert abs(float(torch.corrcoef(neighbours)[0, 1])) < 5e-3


def test_nothing_to_draw_is_nothing():
    assert philox.uniform([], 5, 0, CPU).shape == (0, 5)
    assert philox.uniform([4, 2], 0, 0, CPU).shape == (2, 0)
