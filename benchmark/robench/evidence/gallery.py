"""Gallery files: a cell's pictures beside its card, read without torch and held to their shapes before they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.errors import CardError
from robench.evidence.files import write_whole
from robench.evidence.fingerprint import fingerprint
from robench.evidence.patch_embedding import (
    CUT,
    FILTERS,
    IMAGE,
    MOST_SIDE,
    MOST_VALUES,
    NAMES,
    TOKENS,
    Embedding,
    embedding_of,
    fits,
)

if TYPE_CHECKING:
    import numpy as np

    from robench.evidence.card import Card
    from robench.evidence.store import Store

    Array = np.ndarray[Any, Any]

KIND = "gallery"
SUFFIX = ".safetensors"

#: Images kept a cell.
PICTURES = 6

#: More pictures, or larger files, are not what robench writes.
MOST_PICTURES = 64
MOST_BYTES = 256_000_000

_FLOATS = ("clean", "adversarial", "confidence", "saliency_clean", "saliency_adversarial", IMAGE, FILTERS, TOKENS)
_MAPS = {"saliency_clean", "saliency_adversarial"}


@dataclass(frozen=True, eq=False)
class Picture:
    """Hold one image before and after the attack.

    Attributes:
        index: its position in the test set.
        label: its class.
        predictions: the defended victim's answers, clean and adversarial.
        confidence: their softmax probabilities.
        clean: float32 (C, H, W) in [0, 1].
        adversarial: likewise.
        saliency: |d loss / d x| summed over channels, clean and adversarial, each (H, W); None if there is none.
    """

    index: int
    label: int
    predictions: tuple[int, int]
    confidence: tuple[float, float]
    clean: Array
    adversarial: Array
    saliency: tuple[Array, Array] | None

    @property
    def flipped(self) -> bool:
        """Tell whether a right answer became a wrong one."""
        return self.predictions[0] == self.label != self.predictions[1]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Hold what a gallery file shows.

    Attributes:
        pictures: the images, before and after the attack.
        embedding: how the model cuts the first of them; None if it cuts none into patches, or the file is older.
    """

    pictures: list[Picture]
    embedding: Embedding | None = None


def gallery_key(cell: str) -> str:
    """Return the store's key of a cell's gallery; ``cell`` is the fingerprint that identifies it."""
    return fingerprint("illustrate", cell=cell, pictures=PICTURES)


def gallery_name(card: Card) -> str:
    """Return the name of the gallery file that belongs to a card's file."""
    return Path(card.file_name).stem + SUFFIX


def write_gallery(store: Store, card: Card, folder: Path) -> Path | None:
    """Write a card's stored gallery under the card's name, atomically; return its path, None if the store has none."""
    from safetensors.numpy import load, save

    artifact = store.get(KIND, gallery_key(card.id))
    if artifact is None:
        return None
    path = folder / gallery_name(card)
    # One metadata key: the order of several is not fixed, and the file would differ from run to run.
    write_whole(path, save(load(artifact.content()), {"robench": json.dumps({"card": card.id})}))
    return path


def read_gallery(path: Path, card: Card) -> Gallery:
    """Return the pictures in ``path``, each as the card's shape and classes have it, and the model's patches.

    Raises:
        CardError: the file cannot be read, belongs to another card, or holds anything else.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refuse(path, f"it has more than {MOST_BYTES // 1_000_000} MB")
        tensors = dict(_read(path, card))
    except OSError as error:
        raise CardError(f"gallery {path} cannot be read ({error.strerror or error}).") from None
    _check_values(path, tensors, card)
    try:
        embedding = embedding_of(tensors)
    except ValueError as error:
        raise _refuse(path, str(error)) from None
    return Gallery([_picture(tensors, place) for place in range(len(tensors["labels"]))], embedding)


def _read(path: Path, card: Card) -> Iterator[tuple[str, Array]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            _check_owner(path, file.metadata() or {}, card)
            names = set(file.keys())
            if min(card.data.shape) < 1:
                raise _refuse(path, "its card's images have no pixels")
            count = file.get_slice("labels").get_shape()[0] if "labels" in names else 0
            wanted = _shapes(count, card, saliency=bool(names & _MAPS))
            if names & NAMES:
                wanted |= _embedding_shapes(file, names, path)
            if not 0 < count <= MOST_PICTURES or names != set(wanted):
                raise _refuse(path, "its tensors are not those of a gallery")
            for name, shape in wanted.items():
                part = file.get_slice(name)
                dtype = "F32" if name in _FLOATS else "I64"
                # Before it is read: a header may claim anything.
                if tuple(part.get_shape()) != shape or part.get_dtype() != dtype:
                    raise _refuse(path, f"'{name}' must be {dtype} {shape}, as its card has it")
                yield name, file.get_tensor(name)
    except (SafetensorError, ValueError, IndexError) as error:
        raise _refuse(path, str(error)[:200].rstrip(".")) from None


def _check_owner(path: Path, metadata: Mapping[str, str], card: Card) -> None:
    try:
        owner = json.loads(metadata.get("robench", "{}"))
    except (ValueError, RecursionError):
        owner = None
    if not isinstance(owner, dict) or owner.get("card") != card.id:
        raise _refuse(path, f"it does not belong to card {card.id[:8]}")


def _shapes(count: int, card: Card, *, saliency: bool) -> dict[str, tuple[int, ...]]:
    image = card.data.shape
    shapes: dict[str, tuple[int, ...]] = {
        "clean": (count, *image),
        "adversarial": (count, *image),
        "labels": (count,),
        "indices": (count,),
        "predictions": (count, 2),
        "confidence": (count, 2),
    }
    return shapes | dict.fromkeys(sorted(_MAPS), (count, *image[1:])) if saliency else shapes


def _embedding_shapes(file: Any, names: set[str], path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes that the file itself gives a patch embedding, whose sides no card knows, if they are likely."""
    if not names >= NAMES:
        raise _refuse(path, "its tensors are not those of a gallery")
    image, filters = (tuple(file.get_slice(name).get_shape()) for name in (IMAGE, FILTERS))
    # The stride is not yet read: as that of patches side by side.
    if not fits(image, filters, stride=filters[-1] if filters else 0):
        raise _refuse(path, f"its patch embedding has an image {image} and filters {filters}")
    shapes: dict[str, tuple[int, ...]] = {IMAGE: image, FILTERS: filters, CUT: (2,)}
    if TOKENS in names:
        tokens = tuple(file.get_slice(TOKENS).get_shape())
        if len(tokens) != 2 or not 0 < tokens[0] * tokens[1] <= MOST_VALUES:
            raise _refuse(path, f"its tokens have the shape {tokens}")
        shapes[TOKENS] = tokens
    return shapes


def _check_values(path: Path, tensors: Mapping[str, Array], card: Card) -> None:
    # Written so that NaN is refused too.
    bounds = {"labels": len(card.data.classes), "predictions": len(card.data.classes), "indices": card.cell.n}
    bounds[CUT] = MOST_SIDE + 1
    for name, values in tensors.items():
        high = bounds[name] - 1 if name in bounds else float("inf") if name in _MAPS else 1
        if not bool(((values >= 0) & (values <= high) & (values < float("inf"))).all()):
            raise _refuse(path, f"'{name}' has values outside their range")


def _picture(tensors: Mapping[str, Array], place: int) -> Picture:
    maps = (tensors["saliency_clean"][place], tensors["saliency_adversarial"][place]) if set(tensors) >= _MAPS else None
    before, after = (int(value) for value in tensors["predictions"][place])
    sure, still = (float(value) for value in tensors["confidence"][place])
    return Picture(
        index=int(tensors["indices"][place]),
        label=int(tensors["labels"][place]),
        predictions=(before, after),
        confidence=(sure, still),
        clean=tensors["clean"][place],
        adversarial=tensors["adversarial"][place],
        saliency=maps,
    )


def _refuse(path: Path, why: str) -> CardError:
    return CardError(f"gallery {path} is not what robench writes ({why}); remove it to go without its pictures.")
