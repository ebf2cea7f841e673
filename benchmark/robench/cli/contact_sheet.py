"""A contact sheet: the first images of each class, as they are served and as a victim sees them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from robench.cli.inspect_dataset import Known

if TYPE_CHECKING:
    from robench.cli.inspect_victim import View

#: Images on a sheet, and in a row.
IMAGES, ACROSS = 24, 6

#: Sides between which a picture is shown, in pixels; in between, and enlarged by whole numbers, its pixels are kept.
LEAST, MOST = 96, 256

LINE, GAP = 14, 8
INK, WRONG, PAPER = (20, 20, 20), (200, 30, 30), (245, 245, 245)


@dataclass(frozen=True)
class Caption:
    """Be a line below a picture."""

    text: str
    ink: tuple[int, int, int] = INK


def draw(known: Known, view: View | None) -> tuple[bytes, str]:
    """Return the sheet as a PNG file, and what it shows."""
    rows = first_of_each(known.data.test.labels.tolist(), len(known.data.classes))
    images = next(known.data.test[rows].batches(len(rows))).images
    columns = [images]
    says = "as served"
    if view is not None:
        seen, stretched = view.seen(images)
        columns.append(seen)
        says = f"as served (left) and as {view.label} sees them (right)"
        says += ", stretched to [0, 1]: how it normalises is not known" if stretched else ", normalisation undone"
    tiles = [tile([part[place] for part in columns], _words(known, view, row)) for place, row in enumerate(rows)]
    title = f"{known.label}: {says}"
    content = io.BytesIO()
    sheet(tiles, title).save(content, "PNG")
    return content.getvalue(), f"{len(rows)} test images {says}"


def first_of_each(labels: list[int], classes: int) -> list[int]:
    """Return positions of images: the first of every class, then the second of each, until the sheet is full."""
    members: list[list[int]] = [[] for _ in range(classes)]
    for place, label in enumerate(labels):
        members[label].append(place)
    deepest = max(map(len, members))
    order = [rows[depth] for depth in range(deepest) for rows in members if depth < len(rows)]
    return order[:IMAGES]


def _words(known: Known, view: View | None, row: int) -> list[Caption]:
    """Return an image's class, and the victim's answer in red where it is another."""
    label = int(known.data.test.labels[row])
    found = [Caption(f"{label} {known.data.classes[label]}")]
    if view is not None and view.answers is not None:
        answer = int(view.answers[row])
        found.append(Caption(f"-> {answer} {known.data.classes[answer]}", INK if answer == label else WRONG))
    return found


def tile(images: Sequence[Tensor], captions: Sequence[Caption]) -> Image.Image:
    """Return one image (C, H, W) in [0, 1], in its forms side by side, over at most two lines."""
    pictures = [_picture(image) for image in images]
    width = sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1)
    height = max(picture.height for picture in pictures)
    found = Image.new("RGB", (max(width, 2 * LEAST), height + 2 * LINE + 2), PAPER)
    left = 0
    for picture in pictures:
        found.paste(picture, (left, 0))
        left += picture.width + GAP
    for place, caption in enumerate(captions[:2]):
        _write(found, height + 1 + place * LINE, caption.text, caption.ink)
    return found


def _picture(image: Tensor) -> Image.Image:
    """Return (C, H, W) in [0, 1] as a picture that is neither tiny nor huge."""
    pixels = image.mul(255).add(0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3]).convert("RGB")
    factor = -(-LEAST // max(picture.size))
    if factor > 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((MOST, MOST))
    return picture


def sheet(tiles: Sequence[Image.Image], title: str, across: int = ACROSS) -> Image.Image:
    """Return the tiles in rows of ``across``, below the title."""
    width = max(one.width for one in tiles) + GAP
    height = max(one.height for one in tiles) + GAP
    down = -(-len(tiles) // across)
    paper = Image.new("RGB", (min(len(tiles), across) * width + GAP, down * height + LINE + 2 * GAP), PAPER)
    _write(paper, GAP // 2, title, INK, GAP)
    for place, one in enumerate(tiles):
        row, column = divmod(place, across)
        paper.paste(one, (GAP + column * width, LINE + 2 * GAP + row * height))
    return paper


def _write(picture: Image.Image, top: int, text: str, ink: tuple[int, int, int], left: int = 0) -> None:
    # Pillow's own font has Latin letters alone; without FreeType it refuses all others.
    shown = text.encode("latin-1", "replace").decode("latin-1")
    ImageDraw.Draw(picture).text((left, top), shown, fill=ink, font=ImageFont.load_default())
