"""Labelled images that may not fit in memory, served as float32 in [0, 1]."""

from __future__ import annotations

import copy
import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robench.contracts.array_inputs import as_labels, as_tensor, check_images
from robench.contracts.decoded_images import DecodedImages
from robench.contracts.freed_memory import FreedMemory
from robench.contracts.image_files import StoredImage, decode_image, describe_image, read_bytes, resizing, to_uint8
from robench.contracts.image_resize import Resize
from robench.errors import ContractError, DataError

#: Threads that decode files; decoding releases the interpreter lock.
DECODERS = 4


class Batch(NamedTuple):
    """Hold one batch: float32 images (N, C, H, W) in [0, 1], int64 labels (N,), and positions in the split."""

    images: Tensor
    labels: Tensor
    indices: list[int]


def as_floats(images: Tensor) -> Tensor:
    """Return uint8 ``images`` as float32 in [0, 1], with the same bits on every device; floats as they are.

    A GPU divides by a number through its reciprocal, and rounds half of the grey levels otherwise than a CPU: there
    they are looked up.
    """
    if images.dtype != torch.uint8:
        return images
    if images.device.type == "cpu":
        return images.to(torch.float32).div_(255)
    levels = (torch.arange(256, dtype=torch.float32) / 255).to(images.device)
    return levels.index_select(0, images.flatten().int()).view(images.shape)


def _pinned(images: Tensor, device: str) -> Tensor:
    """Return images where a CUDA GPU can copy them from by itself; as they are where there is no room for that."""
    if not device.startswith("cuda"):
        return images
    try:
        return images.pin_memory()
    except RuntimeError:
        return images


class Examples:
    """Serve labelled images, from memory or decoded on demand; slices share the underlying data.

    Build one with :meth:`from_tensors` or :meth:`from_files`.

    Attributes:
        labels: int64 (N,).
        shape: (C, H, W) of every image.
    """

    def __init__(
        self,
        labels: Tensor,
        shape: tuple[int, int, int],
        fetch: Callable[[Sequence[int]], Tensor],
        digest: Callable[[Sequence[int]], bytes],
        rows: Sequence[int] | None = None,
        describe: Callable[[int], StoredImage | None] | None = None,
    ) -> None:
        self._all_labels = labels
        self._fetch = fetch
        self._digest = digest
        self._describe = describe
        self._rows = array("q", range(len(labels)) if rows is None else rows)  # 8 bytes an image; in a list they are 40
        self.shape = shape

    @classmethod
    def from_tensors(cls, images: Any, labels: Any, *, who: str = "Examples.from_tensors") -> Examples:
        """Serve ``images`` (N, C, H, W) from memory, uint8 or float32 in [0, 1], with integer ``labels`` (N,).

        Arrays and lists are taken too, and labels as a column, one-hot or whole floats. ``who`` is named in errors.
        """
        images, labels = as_tensor(images, "images", who), as_labels(labels, who)
        if images.dtype not in (torch.uint8, torch.float32) or images.dim() != 4 or len(images) != len(labels):
            raise ContractError(
                f"{who} takes uint8 or float32 images (N, C, H, W) and N labels, not {images.dtype} "
                f"{tuple(images.shape)} and {len(labels)} labels."
            )
        check_images(images, who)
        shape = (images.shape[1], images.shape[2], images.shape[3])
        all_images: Tensor = images
        plain = all_images.is_contiguous()

        def fetch(rows: Sequence[int]) -> Tensor:
            if plain:  # a twelfth of what indexing costs, but it would lay out anew what is laid out otherwise
                return all_images.index_select(0, torch.tensor(rows, dtype=torch.long))
            return all_images[list(rows)]

        def digest(rows: Sequence[int]) -> bytes:
            hasher = hashlib.sha256()
            for start in range(0, len(rows), 1024):
                hasher.update(fetch(rows[start : start + 1024]).contiguous().numpy().data)
            return hasher.digest()

        return cls(labels, shape, fetch, digest)

    @classmethod
    def from_files(cls, paths: Sequence[Path], labels: Sequence[int], size: int | Resize) -> Examples:
        """Serve image files as RGB, the largest square in the middle resized (bicubic) to ``size``, or by a ``Resize``.

        They are decoded by :func:`robench.decode_image`: the first frame, upright, on white.
        """

        how = resizing(size)

        decoded = DecodedImages(lambda row: decode_image(paths[row], size=how))

        def fetch(rows: Sequence[int]) -> Tensor:
            with ThreadPoolExecutor(DECODERS) as pool:
                return torch.stack(list(pool.map(decoded.get, rows)))

        def digest(rows: Sequence[int]) -> bytes:
            hasher = hashlib.sha256(f"rgb {how} upright on white".encode())
            for row in rows:
                hasher.update(hashlib.sha256(read_bytes(paths[row])).digest())
            return hasher.digest()

        def describe(row: int) -> StoredImage:
            return describe_image(paths[row])

        shape = (3, how.size, how.size)
        return cls(torch.tensor(labels, dtype=torch.long), shape, fetch, digest, describe=describe)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | Sequence[int]) -> Examples:
        """Return the examples at a slice or at a list of positions."""
        chosen = self._rows[rows] if isinstance(rows, slice) else [self._rows[row] for row in rows]
        return Examples(self._all_labels, self.shape, self._fetch, self._digest, chosen, self._describe)

    @property
    def labels(self) -> Tensor:
        """Return the labels (N,)."""
        return self._all_labels[self._places()]

    def _places(self) -> Tensor:
        """Return the rows that are served, of those underneath (N,)."""
        return torch.frombuffer(self._rows, dtype=torch.int64) if self._rows else torch.empty(0, dtype=torch.int64)

    def images(self) -> Tensor:
        """Return all images at once as uint8 (N, C, H, W); prefer :meth:`batches` where there may be many."""
        return self._fetch([*self._rows])

    def stored(self, place: int) -> StoredImage | None:
        """Return how the image at ``place`` is stored; None where that is not known, as of images from memory."""
        return self._describe(self._rows[place]) if self._describe is not None else None

    def resized(self, how: Resize | None) -> Examples:
        """Return the examples brought to another resolution; as they are for None. Their images must be uint8."""
        if how is None:
            return self

        def fetch(rows: Sequence[int]) -> Tensor:
            from torchvision.transforms.functional import to_pil_image

            return torch.stack([to_uint8(how(to_pil_image(image))) for image in self[rows].images()])

        def digest(rows: Sequence[int]) -> bytes:
            return hashlib.sha256(f"{how} {self[rows].fingerprint}".encode()).digest()

        return Examples(self.labels, (self.shape[0], how.size, how.size), fetch, digest, describe=self.stored)

    def of_classes(self, kept: Sequence[int]) -> Examples:
        """Return the examples of these classes, which are numbered anew in this order."""
        anew = torch.full_like(self._all_labels, -1)
        for place, label in enumerate(kept):
            anew[self._all_labels == label] = place
        rows = [row for row in self._rows if anew[row] >= 0]
        return Examples(anew, self.shape, self._fetch, self._digest, rows, self._describe)

    def watched(self, seen: Callable[[list[int], Tensor], None]) -> Examples:
        """Return the same examples, which tell ``seen`` of what is decoded: positions here, and the images as decoded.

        Told from the thread that decodes, and of whatever is made from these examples too: slices, batches, samples.
        """
        places = torch.full((len(self._all_labels),), -1)
        places.numpy()[self._places().numpy()] = range(len(self))  # of a row that is there twice, the last place
        fetch = self._fetch

        def telling(rows: Sequence[int]) -> Tensor:
            images, there = fetch(rows), places[torch.tensor(rows, dtype=torch.long)]
            known = (there >= 0).nonzero().flatten()
            if len(known):
                seen(there[known].tolist(), images if len(known) == len(rows) else images[known])
            return images

        twin = copy.copy(self)
        twin._fetch = telling
        return twin

    def sample(self, count: int, seed: int) -> Examples:
        """Return ``count`` examples drawn without replacement; a larger count with one seed holds a smaller one's."""
        if not 0 < count <= len(self):
            raise DataError(f"{count} images were asked for, but the split has {len(self)}; choose 1 to {len(self)}.")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self[sorted(order[:count].tolist())]

    def batches(
        self, size: int, device: str = "cpu", shuffle: torch.Generator | None = None, ahead: int = 1
    ) -> Iterator[Batch]:
        """Yield batches of ``size`` (the last may be smaller), in order or shuffled, decoding ``ahead`` of use."""
        order = range(len(self)) if shuffle is None else torch.randperm(len(self), generator=shuffle)
        bounds = list(pairwise([*range(0, len(order), size), len(order)])) if len(order) else []

        def prepare(start: int, stop: int) -> Batch:
            chosen = order[start:stop]
            places = [*chosen] if isinstance(chosen, range) else chosen.tolist()
            rows = [self._rows[place] for place in places]
            images = self._fetch(rows)
            # On a CPU ahead of use too; for a GPU as bytes, a quarter of what is copied, while it computes.
            ready = as_floats(images) if device == "cpu" else _pinned(images, device)
            return Batch(ready, self._all_labels[rows], places)

        freed = FreedMemory()
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(prepare, *bound) for bound in bounds[: ahead + 1]]
            for place in range(len(bounds)):
                images, labels, places = waiting.pop(0).result()
                if place + ahead + 1 < len(bounds):
                    waiting.append(pool.submit(prepare, *bounds[place + ahead + 1]))
                yield Batch(as_floats(images.to(device, non_blocking=True)), labels.to(device), places)
                freed.served(4 * images.numel())

    @cached_property
    def fingerprint(self) -> str:
        """Return the sha256 over exactly the images and labels that are served, in order."""
        hasher = hashlib.sha256(f"{self.shape} {self.labels.tolist()}".encode())
        hasher.update(self._digest([*self._rows]))
        return hasher.hexdigest()
