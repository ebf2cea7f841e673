"""Image files as cameras, scanners and damaged disks leave them; byte by byte where Pillow would not write one."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def stored(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return a picture as a file of this format."""
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def pixels(values: object, kind: str = "uint8") -> Image.Image:
    """Return the picture of nested lists."""
    return Image.fromarray(np.array(values, dtype=kind))


def turned(picture: Image.Image, orientation: int, kind: str = "PNG", **options: object) -> bytes:
    """Return a file that must be turned by its EXIF orientation to be the picture."""
    back = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return stored(picture if back is None else picture.transpose(back), kind, exif=exif, **options)


def png(width: int, height: int, bits: int, colour: int, rows: list[bytes], key: bytes = b"") -> bytes:
    """Return a PNG file of these raw rows; ``key`` is its tRNS chunk."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(b"tRNS", key) if key else b"") + body + chunk(b"IEND", b"")


def tiff(width: int, height: int, bits: int, photometric: int, data: bytes, sample: int = 1) -> bytes:
    """Return a TIFF file of one channel; photometric 0 has zero for white; sample 1, 2, 3: unsigned, signed, float."""
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        (339, 3, 1, sample),
    ]
    padded = data + b"\0" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(padded)) + padded + struct.pack("<H", len(tags)) + entries + bytes(4)


def animated(kind: str, **options: object) -> bytes:
    """Return three frames: red, green, blue."""
    first, *others = [Image.new("RGB", (2, 2), colour) for colour in ("red", "lime", "blue")]
    return stored(first, kind, save_all=True, append_images=others, **options)
