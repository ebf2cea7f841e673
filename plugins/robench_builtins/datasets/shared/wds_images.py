"""Images of tar shards, decoded on demand by the rule for files; imported only where data is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from robench import DataError, Examples, Resize, StoredImage, decode_image, describe_image
from robench_builtins.datasets.shared.wds_tars import Sample

#: Threads that decode.
DECODERS = 4


def examples(samples: Sequence[Sample], how: Resize | None) -> Examples:
    """Serve these samples as RGB, brought to a resolution; without one all must have the size of the first."""
    first = describe_image(samples[0].content(), _named(samples[0]))
    shape = (3, how.size, how.size) if how else (3, first.height, first.width)

    def decode(row: int) -> Tensor:
        image = decode_image(samples[row].content(), _named(samples[row]), size=how)
        if tuple(image.shape) != shape:
            raise DataError(
                f"{_named(samples[row])} is {image.shape[2]} x {image.shape[1]}, the first is {shape[2]} x {shape[1]}; "
                "pass -p dataset.size=224."
            )
        return image

    def fetch(rows: Sequence[int]) -> Tensor:
        with ThreadPoolExecutor(DECODERS) as pool:
            return torch.stack(list(pool.map(decode, rows)))

    def digest(rows: Sequence[int]) -> bytes:
        hasher = hashlib.sha256(f"{shape} {how} upright on white".encode())
        for row in rows:
            hasher.update(hashlib.sha256(samples[row].content()).digest())
        return hasher.digest()

    def describe(row: int) -> StoredImage:
        return describe_image(samples[row].content(), _named(samples[row]))

    labels = torch.tensor([sample.label for sample in samples], dtype=torch.long)
    return Examples(labels, shape, fetch, digest, describe=describe)


def _named(sample: Sample) -> str:
    """Return what a sentence calls an image."""
    return f"image '{sample.key[:100]}' in {sample.shard}"
