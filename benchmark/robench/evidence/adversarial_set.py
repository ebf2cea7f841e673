"""The stored adversarial images of a cell, chunk by chunk, and what the harness measured on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from robench.errors import StoreError
from robench.evidence.artifact_folder import Artifact
from robench.evidence.fingerprint import CHUNK
from robench.evidence.stage_ids import CURRENT

if TYPE_CHECKING:
    from torch import Tensor

    from robench.contracts.examples import Batch
    from robench.evidence.meter import Meter

KIND = "adversarial"

#: Entry of a chunk's record that says which of its images are kept, where not all are: their places in the chunk.
KEPT = "kept"


def chunk_key(key: str, start: int) -> str:
    """Return the store's key of the images from number ``start`` on, of the set ``key``."""
    return CURRENT.chunk(key, start)


def chunk_keys(key: str, n: int) -> list[str]:
    """Return the keys of all chunks of a set of ``n`` images."""
    return [chunk_key(key, start) for start in range(0, n, CHUNK)]


def whole(chunk: Artifact) -> bool:
    """Tell whether a chunk has all its images."""
    return KEPT not in chunk.meta


def images_of(chunk: Artifact) -> Tensor:
    """Return a chunk's images; StoreError where it has not all of them."""
    if whole(chunk):
        return chunk.tensors()["images"]
    left = f"{len(chunk.meta[KEPT])} of them" if chunk.meta[KEPT] else "none of them, only their digest"
    raise StoreError(
        f"These adversarial images are not in the store: {left} was kept (--keep-images). Nothing can be asked of them "
        "again; robench verify --rerun crafts them anew."
    )


@dataclass(frozen=True)
class AdversarialSet:
    """Hold the stored adversarial images, chunk by chunk, and what the harness measured on them."""

    key: str
    chunks: Sequence[Artifact]
    labels: Tensor
    meter: Meter

    @property
    def fingerprint(self) -> str:
        """Return the sha256 over the chunks' digests."""
        return hashlib.sha256("".join(chunk.meta["images"] for chunk in self.chunks).encode()).hexdigest()

    def total(self, name: str) -> Any:
        """Return the sum of one of the chunks' counts."""
        return sum(chunk.meta[name] for chunk in self.chunks)

    def named(self, name: str) -> list[str]:
        """Return the texts that the chunks' metadata holds under a name; a chunk of an older release has none."""
        held = [chunk.meta.get(name, []) for chunk in self.chunks]
        return sorted({text for found in held for text in ([found] if isinstance(found, str) else found)})

    def largest(self, name: str) -> float:
        """Return the maximum of one of the chunks' measurements."""
        return float(max(chunk.meta[name] for chunk in self.chunks))

    def images(self, place: int) -> Tensor:
        """Return the images of the chunk at this place, on the CPU."""
        return images_of(self.chunks[place])

    def batches(self, size: int, device: str) -> Iterator[Batch]:
        """Yield the images as they lie in the store, in batches that are cut where those of the clean ones are."""
        import torch

        from robench.contracts.examples import Batch

        start, waiting = 0, list[torch.Tensor]()
        for place in range(len(self.chunks)):
            waiting.append(self.images(place))
            count, last = sum(map(len, waiting)), place == len(self.chunks) - 1
            if count < size and not last:
                continue
            images = torch.cat(waiting) if len(waiting) > 1 else waiting[0]
            whole = count if last else count - count % size
            for part in images[:whole].split(size):
                places = list(range(start, start + len(part)))
                yield Batch(part.to(device), self.labels[places].to(device), places)
                start += len(part)
            waiting = [images[whole:]] if whole < count else []
