"""One rule decodes every image: exact values for each mode and format, upright, on white; the rest refused by name."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from packaging.version import Version
from PIL import Image, ImageCms, features

from robench import DataError, decode_image, describe_image, image_suffixes
from robench.contracts import image_files

from ..odd_images import animated, pixels, png, stored, tiff, turned

RAMP = [0, 1, 128, 129, 256, 257, 385, 386, 32767, 32768, 65279, 65535]
SCALED = [round(value / 257) for value in RAMP]
SIXTEEN = pixels([RAMP], "uint16")
PALETTE = Image.new("P", (3, 1))
PALETTE.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
PALETTE.putdata([0, 1, 2])
NOISE = stored(pixels(np.random.default_rng(0).integers(0, 256, (9, 99, 3))))
DEEP = struct.pack(">6H", 65535, 256, 511, 1, 2, 300)

#: Content -> the grey values, or the RGB values of each pixel.
EXACT = {
    "16-bit PNG": (stored(SIXTEEN), SCALED),
    "16-bit TIFF": (stored(SIXTEEN, "TIFF"), SCALED),
    "16-bit TIFF, big-endian": (stored(pixels([RAMP], ">u2"), "TIFF"), SCALED),
    "16-bit TIFF, compressed": (stored(SIXTEEN, "TIFF", compression="tiff_lzw"), SCALED),
    "16-bit PGM": (stored(SIXTEEN, "PPM"), SCALED),
    "16-bit PNG with a transparent value": (stored(SIXTEEN, transparency=128), [0, 0, 255, *SCALED[3:]]),
    "16-bit TIFF, zero for white": (tiff(3, 1, 16, 0, struct.pack("<3H", 0, 257, 65535)), [255, 254, 0]),
    "8-bit TIFF, zero for white": (tiff(3, 1, 8, 0, bytes([0, 1, 255])), [255, 254, 0]),
    "12-bit TIFF": (tiff(2, 1, 12, 1, bytes([0xFF, 0xF8, 0x00])), [255, 128]),
    "16-bit RGB PNG": (png(2, 1, 16, 2, [DEEP]), [(255, 1, 1), (0, 0, 1)]),
    "16-bit RGB PNG with a transparent colour": (png(2, 1, 16, 2, [DEEP], DEEP[:6]), [(255, 255, 255), (0, 0, 1)]),
    "16-bit RGBA PNG": (png(1, 1, 16, 6, [struct.pack(">4H", 65535, 256, 511, 0)]), [(255, 255, 255)]),
    "16-bit LA PNG": (png(2, 1, 16, 4, [struct.pack(">4H", 1000, 0, 1000, 65535)]), [255, 3]),
    "32-bit integers in a byte's range": (stored(pixels([[0, 1, 255]], "int32"), "TIFF"), [0, 1, 255]),
    "unsigned 32-bit integers in a byte's range": (tiff(3, 1, 32, 1, struct.pack("<3I", 0, 5, 255)), [0, 5, 255]),
    "floats in [0, 1]": (stored(pixels([[0, 0.25, 0.5, 1]], "float32"), "TIFF"), [0, 64, 128, 255]),
    "floats in PFM": (stored(pixels([[0, 0.25, 0.5, 1]], "float32"), "PPM"), [0, 64, 128, 255]),
    "1 bit": (stored(pixels([[0, 255, 0]]).convert("1")), [0, 255, 0]),
    "1 bit with a transparent value": (stored(pixels([[0, 255]]).convert("1"), transparency=0), [255, 255]),
    "8-bit grey": (stored(pixels([[0, 7, 255]])), [0, 7, 255]),
    "8-bit grey with a transparent value": (stored(pixels([[10, 20]]), transparency=20), [10, 255]),
    "grey with alpha": (stored(pixels([[[10, 0], [10, 255], [10, 128]]])), [255, 10, 132]),
    "RGB": (stored(pixels([[[1, 2, 3], [4, 5, 6]]])), [(1, 2, 3), (4, 5, 6)]),
    "RGB with a transparent colour": (
        stored(pixels([[[10, 20, 30], [1, 2, 3]]]), transparency=(1, 2, 3)),
        [(10, 20, 30), (255, 255, 255)],
    ),
    "RGBA": (
        stored(pixels([[[10, 20, 30, 0], [10, 20, 30, 255], [10, 20, 30, 128]]])),
        [(255, 255, 255), (10, 20, 30), (132, 137, 142)],
    ),
    "a palette": (stored(PALETTE), [(10, 20, 30), (200, 100, 50), (0, 0, 0)]),
    "a palette with one transparent entry": (
        stored(PALETTE, transparency=1),
        [(10, 20, 30), (255, 255, 255), (0, 0, 0)],
    ),
    "a palette with alpha": (
        stored(PALETTE, transparency=bytes([0, 128, 255])),
        [(255, 255, 255), (227, 177, 152), (0, 0, 0)],
    ),
    "GIF with a transparent colour": (
        stored(PALETTE, "GIF", transparency=1),
        [(10, 20, 30), (255, 255, 255), (0, 0, 0)],
    ),
    "CMYK": (stored(Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "TIFF"), [(0, 255, 255)]),
    "CMYK as Adobe's JPEG": (stored(Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "JPEG", quality=100), [(0, 255, 255)]),
    # Before 13, Pillow writes files of this mode that it cannot read.
    **(
        {"YCbCr": (stored(Image.new("YCbCr", (1, 1), (90, 128, 128)), "TIFF"), [90])}
        if Version(PIL.__version__) >= Version("13")
        else {}
    ),
    "animated GIF": (animated("GIF"), [(255, 0, 0)] * 4),
    "animated PNG": (animated("PNG"), [(255, 0, 0)] * 4),
    "TIFF of several pages": (animated("TIFF"), [(255, 0, 0)] * 4),
    "animated WebP": (animated("WEBP", lossless=True), [(255, 0, 0)] * 4),
    "damaged EXIF": (stored(pixels([[[1, 2, 3]]]), exif=b"Exif\0\0MM\0*\0\0\xff\xff"), [(1, 2, 3)]),
}


def triples(values: list[int] | list[tuple[int, int, int]]) -> list[list[int]]:
    return [[value] * 3 if isinstance(value, int) else list(value) for value in values]


@pytest.mark.parametrize("case", EXACT)
def test_every_mode_and_format_gives_exactly_these_values(case: str) -> None:
    content, wanted = EXACT[case]
    assert decode_image(content).flatten(1).T.tolist() == triples(wanted)


def test_sixteen_bits_are_divided_by_257_and_rounded() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    served = decode_image(stored(Image.fromarray(every)), grey=True)[0].flatten()
    assert torch.equal(served.long(), torch.from_numpy(np.rint(np.arange(65536) / 257)).long())


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
def test_sixteen_bits_of_jpeg_2000() -> None:
    assert decode_image(stored(SIXTEEN, "JPEG2000"))[0, 0].tolist() == SCALED


REFUSED = {
    "32-bit integers beyond a byte": (stored(pixels([[0, 256]], "int32"), "TIFF"), "integers of 32 bits from 0 to 256"),
    "negative integers": (stored(pixels([[-1, 5]], "int32"), "TIFF"), "integers of 32 bits from -1 to 5"),
    "signed 16-bit integers": (tiff(2, 1, 16, 1, struct.pack("<2h", -5, 7), 2), "integers of 32 bits from -5 to 7"),
    "floats beyond 1": (stored(pixels([[0, 200]], "float32"), "TIFF"), "floating-point numbers from 0 to 200"),
    "negative floats": (stored(pixels([[-0.5, 1]], "float32"), "TIFF"), "floating-point numbers from -0.5 to 1"),
    "NaN": (stored(pixels([[0, np.nan]], "float32"), "TIFF"), "floating-point numbers from nan to nan"),
    "infinity": (stored(pixels([[0, np.inf]], "float32"), "TIFF"), "floating-point numbers from 0 to inf"),
    "LAB": (stored(Image.new("LAB", (1, 1)), "TIFF"), "pixels of mode LAB, which have no plain way to RGB"),
    "nothing": (b"", "it is empty"),
    "text": (b"<!DOCTYPE html>", "its content is no image of a format that is read here"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull fetches the image"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a format that is read here"),
    "FITS": (b"SIMPLE  =                    T" + b" " * 2850, "no image of a format that is read here"),
    "64-bit floats": (tiff(1, 1, 64, 1, struct.pack("<d", 1), 3), "no image of a format that is read here"),
    "a PNG cut short": (NOISE[:200], "cannot be decoded ("),
    "a PNG with a damaged chunk": (stored(pixels([[1]])).replace(b"IDAT", b"IDAX"), "cannot be decoded ("),
    "a PPM whose numbers are words": (b"P3\n2 1\n255\none two three", "cannot be decoded ("),
    "a PPM without an end": (b"P6\n5 5\n255\n", "cannot be decoded ("),
    "a JPEG cut short": (stored(Image.new("RGB", (64, 64)), "JPEG")[:300], "cannot be decoded ("),
    "a GIF cut short": (stored(PALETTE, "GIF")[:20], "cannot be decoded ("),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_certain_reading_is_refused_by_name(case: str, tmp_path: Path) -> None:
    content, wanted = REFUSED[case]
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for source, called in ((path, f"image {path} "), (content, "row 3 ")):
        with pytest.raises(DataError) as raised:
            decode_image(source, "" if source is path else "row 3")
        assert str(raised.value).startswith(called)
        assert wanted in str(raised.value)
        assert "0x" not in str(raised.value)  # no address of an object


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright(orientation: int, kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    # Four flat quarters, so that lossy formats say which way is up.
    picture = pixels(np.kron([[0, 90], [160, 250]], np.ones((16, 24), int)))
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind != "PNG" else {}
    options = {} if kind == "TIFF" else options
    content = turned(picture.convert("RGB"), orientation, kind, **options)
    served = decode_image(content)
    assert served.shape == (3, 32, 48)
    off = (served.int() - torch.from_numpy(np.array(picture)).int()).abs()[:, ::8, ::8].max()
    assert off <= (3 if kind in ("JPEG", "AVIF") else 0)
    said = describe_image(content)
    assert (said.width, said.height, said.orientation) == (48, 32, orientation)


def test_orientation_of_sixteen_bits_and_of_transparency() -> None:
    assert decode_image(turned(SIXTEEN, 6)).tolist() == [[SCALED]] * 3
    both = pixels([[[10, 0], [10, 255], [10, 128]]])
    assert decode_image(turned(both, 8))[0].tolist() == [[255, 10, 132]]


def test_grey_is_one_channel_and_refuses_colour() -> None:
    assert decode_image(stored(pixels([[1, 2]])), grey=True).tolist() == [[[1, 2]]]
    assert decode_image(stored(pixels([[[7, 7, 7], [9, 9, 9]]])), grey=True).tolist() == [[[7, 9]]]
    with pytest.raises(DataError, match=r"^row 5 is in colour, but was to be served in grey; serve the whole set as"):
        decode_image(stored(pixels([[[7, 7, 8]]])), "row 5", grey=True)


def test_a_profile_is_not_applied() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    assert decode_image(stored(pixels([[[1, 2, 3]]]), icc_profile=profile)).flatten().tolist() == [1, 2, 3]


def test_how_an_image_is_stored() -> None:
    assert describe_image(stored(SIXTEEN)) == ("PNG", "I;16", 12, 1, 1, 1)
    assert describe_image(png(2, 1, 16, 2, [DEEP])).mode == "RGB (16 bits)"
    assert describe_image(animated("GIF")).frames == 3
    assert describe_image(stored(SIXTEEN)).grey
    assert not describe_image(stored(PALETTE)).grey
    with pytest.raises(DataError, match=r"^the image cannot be decoded \(it is empty\); replace it or leave it out\.$"):
        describe_image(b"")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"^image \S+a\.png is no regular file; replace or remove it\.$"):
        decode_image(tmp_path / "a.png")


def test_what_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(stored(SIXTEEN))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"^image \S+a\.png cannot be read \(Permission denied\); remove it or mend"):
        decode_image(tmp_path / "a.png")


def test_nothing_that_starts_a_program_or_has_no_range_is_read() -> None:
    assert not {"EPS", "WMF", "FITS", "HDF5"} & set(image_files.image_formats())
    assert {".jpg", ".jfif", ".jp2", ".png", ".webp", ".tif", ".mpo", ".ppm", ".bmp", ".gif"} <= image_suffixes()
    assert not {".eps", ".ps", ".wmf", ".fits", ".h5", ".pdf", ".txt"} & image_suffixes()
