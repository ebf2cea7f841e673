"""Positions and images from a file, and what is wrong with them: said, never mended."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from robench import DataError

if TYPE_CHECKING:
    from robench import Examples, Task

#: How far an image may lie outside the ball: what float32 rounds, as for images that robench crafts.
ROUNDING = 1e-6
BATCH = 256
NAMES = ("positions", "images")
FORM = "positions (N,) of whole numbers and images (N, C, H, W), float32 in [0, 1] or uint8"


@dataclass(frozen=True)
class GivenImages:
    """Hold images and their positions in the test set."""

    positions: tuple[int, ...]
    images: Tensor

    @cached_property
    def rows(self) -> dict[int, int]:
        """Return where the image of each position is."""
        return {position: row for row, position in enumerate(self.positions)}

    def image(self, position: int) -> Tensor:
        """Return the image (C, H, W) of a position, as float32 in [0, 1]."""
        return self.at([position])[0]

    def at(self, positions: list[int]) -> Tensor:
        """Return the images of these positions, as float32 in [0, 1]."""
        chosen = self.images[[self.rows[position] for position in positions]]
        return chosen.to(torch.float32) / 255 if chosen.dtype == torch.uint8 else chosen


def read(path: Path) -> GivenImages:
    """Return what a file holds; DataError if that is not positions and images."""
    arrays = _arrays(path)
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path} has no array '{missing[0]}' (it holds {held}); save {FORM}.")
    positions, images = arrays["positions"], arrays["images"]
    if positions.ndim != 1 or positions.dtype.kind not in "iu" or len(positions) != len(images) or not len(positions):
        raise DataError(
            f"{path} has positions {positions.dtype} {positions.shape} for images {images.shape}; save {FORM}."
        )
    if images.ndim != 4 or images.dtype not in (np.dtype(np.float32), np.dtype(np.uint8)):
        raise DataError(f"{path} has images {images.dtype} {images.shape}; save {FORM}.")
    listed = [int(position) for position in positions]
    twice = next((one for place, one in enumerate(sorted(listed)[1:]) if one == sorted(listed)[place]), None)
    if twice is not None:
        raise DataError(f"{path} names position {twice} twice; give one image a position, or several files.")
    return GivenImages(tuple(listed), torch.from_numpy(np.ascontiguousarray(images)))


def inspect(given: GivenImages, name: str, test: Examples, task: Task) -> None:
    """Raise DataError unless every image may stand at its position; the sentence says which may not, by how much."""
    outside = [position for position in given.positions if not 0 <= position < len(test)]
    if outside:
        raise DataError(
            f"{name} names position {outside[0]}, but the test set of this run has {len(test)} images, 0 to "
            f"{len(test) - 1}; give --n as when they were made (robench.load_test serves them)."
        )
    if tuple(given.images.shape[1:]) != tuple(test.shape):
        ours, theirs = ("x".join(map(str, shape)) for shape in (test.shape, given.images.shape[1:]))
        raise DataError(f"{name} has images of {theirs}, and the test images are {ours} (channels, height, width).")
    moved = 0
    ordered = sorted(given.positions)
    for start in range(0, len(ordered), BATCH):
        positions = ordered[start : start + BATCH]
        clean = next(test[positions].batches(len(positions))).images
        images = given.at(positions)
        _check_pixels(name, positions, images)
        _check_ball(name, positions, clean, images, test, task)
        moved += int((clean != images).flatten(1).any(1).sum())
    if not moved and task.threat.eps > 0:
        raise DataError(f"{name} moves no image: all {len(ordered)} are the clean ones of the test set.")


def _check_pixels(name: str, positions: list[int], images: Tensor) -> None:
    bad = (~torch.isfinite(images)).flatten(1).any(1)
    if bool(bad.any()):
        place = positions[int(bad.int().argmax())]
        raise DataError(
            f"{name} has NaN or infinite pixels in {int(bad.sum())} images, such as the one at position {place}; leave "
            "those out."
        )
    excess = torch.maximum(images - 1, -images).flatten(1).amax(1)
    if float(excess.max()) > 0:
        place, far = positions[int(excess.argmax())], float(excess.max())
        hint = "; pixels are in [0, 1], not in [0, 255]" if far > 2 else "; clamp them there before they are saved"
        count = int((excess > 0).sum())
        raise DataError(
            f"{name} leaves [0, 1] in {count} images, by up to {far:.3g} (the one at position {place}){hint}."
        )


def _check_ball(name: str, positions: list[int], clean: Tensor, images: Tensor, test: Examples, task: Task) -> None:
    threat = task.threat
    distance = threat.distance(clean, images)
    if float(distance.max()) <= threat.eps + ROUNDING:
        return
    worst = int(distance.argmax())
    place, far, count = positions[worst], float(distance[worst]), int((distance > threat.eps + ROUNDING).sum())
    other, near = _nearest(images[worst], test, threat)
    why = "nothing is projected; make them with this eps and this norm"
    if near < far and other != place:
        why = f"test image {other} is nearer, {near:.4g} away: positions count the images of another --n or order"
        if near > threat.eps + ROUNDING:
            why = f"no test image is nearer than {near:.4g}: it was made from other images than this test set's"
    raise DataError(
        f"{name} leaves the ball in {count} of these images: the one at position {place} is {far:.4g} from test image "
        f"{place} in {threat.norm}, and eps is {threat.eps:.4g}; {why}."
    )


def _nearest(image: Tensor, test: Examples, threat: Any) -> tuple[int, float]:
    """Return which test image an image is nearest to, and how far it is."""
    best, place = float("inf"), 0
    for batch in test.batches(BATCH):
        distance = threat.distance(batch.images, image.expand_as(batch.images))
        if float(distance.min()) < best:
            best, place = float(distance.min()), batch.indices[int(distance.argmin())]
    return place, best


def _arrays(path: Path) -> dict[str, Any]:
    if path.suffix not in (".npz", ".safetensors"):
        raise DataError(f"{path} is neither .npz nor .safetensors; save {FORM} in one of them.")
    if not path.is_file():
        raise DataError(f"There is no file {path}; name one of {FORM}.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files if name in NAMES}
        from safetensors.numpy import load_file

        return dict(load_file(path))
    except Exception as error:  # whatever zipfile, zlib and safetensors raise for a damaged or foreign file
        raise DataError(f"{path} cannot be read ({type(error).__name__}: {error}); save {FORM} again.") from error
