"""Philox4x64-10: random bits as a function of a key and a counter (Salmon et al. 2011, doi 10.1145/2063384.2063405).

Nothing is carried from one draw to the next, so an image's bits are the same in any batch and order. On the CPU
numpy.random.Philox computes them, on an accelerator integer operations of torch, for all images at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: What the words of a counter are multiplied by, and what each round adds to the key (the paper's section 4.3).
FACTORS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10

#: Numbers in a block: four words of 64 bits, two numbers each.
NUMBERS = 8

#: What a signed number of 24 bits is multiplied by.
_UNIT = 2**-23
#: The lower half of a word.
_LOW = 0xFFFFFFFF


def uniform(images: Sequence[int], values: int, key: int, device: torch.device) -> Tensor:
    """Draw U[-1, 1) in multiples of 2^-23, float32 (N, values), for the images of these numbers.

    Block b = 1, 2, ... of image i has the counter (b, i, 0, 0) and the key (key, 0). Each of its words gives two
    numbers: the upper 24 bits of its lower half and of its upper half, signed.
    """
    if not len(images) or not values:
        return torch.zeros(len(images), values, device=device)
    if device.type == "cpu":
        return _with_numpy(images, values, key)
    return _with_torch(images, values, key, device)


def _with_numpy(images: Sequence[int], values: int, key: int) -> Tensor:
    generator = np.random.Philox(key=np.array([key % 2**64, 0], dtype=np.uint64))
    state = generator.state  # a counter is advanced before its block is computed
    drawn = np.empty((len(images), values), dtype=np.float32)
    for row, image in zip(drawn, images, strict=True):
        state["state"]["counter"][1] = image % 2**64
        generator.state = state
        halves = generator.random_raw(-(-values // 2)).astype("<u8", copy=False).view("<i4")
        halves >>= 8
        row[:] = halves[:values]
        row *= _UNIT
    return torch.from_numpy(drawn)


def _with_torch(images: Sequence[int], values: int, key: int, device: torch.device) -> Tensor:
    # One copy to the device: the images' numbers and the constants.
    sent = torch.tensor([signed(image) for image in images] + constants((key, 0))).to(device)
    count, blocks = len(images), -(-values // NUMBERS)
    even, odd = (torch.zeros(2, count, blocks, dtype=torch.int64, device=device) for _ in range(2))
    even[0] += torch.arange(1, blocks + 1, device=device)
    odd[0] += sent[:count, None]
    words = philox4x64(even, odd, sent[count:])
    halves = torch.stack([words << 32, words], -1) >> 40
    return halves.flatten(1)[:, :values].to(torch.float32).mul_(_UNIT)


def constants(key: tuple[int, int]) -> list[int]:
    """Return what :func:`philox4x64` needs for a key: the factors, their halves, and the key of each round."""
    factors = FACTORS[::-1]
    keys = [word + number * step for number in range(ROUNDS) for word, step in zip(key, WEYL, strict=True)]
    halves = [*(factor & _LOW for factor in factors), *(factor >> 32 for factor in factors)]
    return [signed(word) for word in (*factors, *halves, *keys)]


def philox4x64(even: Tensor, odd: Tensor, constants: Tensor) -> Tensor:
    """Return the four words of each block (..., 4), int64, by integer operations of torch.

    Args:
        even: words 0 and 2 of each counter (2, ...), which a round multiplies.
        odd: words 1 and 3 (2, ...).
        constants: of the key, on the same device.
    """
    factor, low_factor, high_factor, *keys = constants.view(-1, 2, *[1] * (even.dim() - 1))
    for key in keys:
        turned = even.flip(0)
        high = _upper_half(turned, low_factor, high_factor)
        even, odd = high.bitwise_xor_(odd).bitwise_xor_(key), turned.mul_(factor)
    return torch.stack([even[0], odd[0], even[1], odd[1]], -1)


def _upper_half(words: Tensor, low_factor: Tensor, high_factor: Tensor) -> Tensor:
    """Return the upper 64 of the 128 bits of ``words`` times a factor given in halves, all of them unsigned."""
    low, high = words & _LOW, _shifted(words)
    middle = _shifted(low * low_factor).add_(high * low_factor)  # below 2^64, as all sums here
    crossed = low.mul_(high_factor).add_(middle & _LOW)
    return high.mul_(high_factor).add_(_shifted(middle)).add_(_shifted(crossed))


def _shifted(words: Tensor) -> Tensor:
    """Return the upper half of each word; torch's own shift would repeat its first bit."""
    return (words >> 32).bitwise_and_(_LOW)


def signed(word: int) -> int:
    """Return the int64 of the same 64 bits."""
    return (word + 2**63) % 2**64 - 2**63
