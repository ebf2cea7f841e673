"""Images as they are served: exact pixels, any order, decoded only when needed, and pinned by a fingerprint."""

from __future__ import annotations

import hashlib
import tracemalloc
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from robench.contracts import examples as module
from robench.contracts.examples import Examples
from robench.contracts.image_files import to_uint8
from robench.errors import ContractError, DataError


@pytest.fixture
def images():
    return torch.arange(10 * 3 * 2 * 2, dtype=torch.uint8).view(10, 3, 2, 2)


@pytest.fixture
def served(images):
    return Examples.from_tensors(images, torch.arange(10) % 3)


@pytest.fixture
def folder(tmp_path):
    """Return six lossless files of uneven size and mode, whose pixels say which they are."""
    generator = np.random.default_rng(0)
    sizes = [(12, 8), (8, 12), (8, 8), (30, 9), (5, 5), (16, 8)]
    paths = []
    for index, (width, height) in enumerate(sizes):
        path = tmp_path / f"{index}.png"
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels)
        (picture.convert("L") if index == 4 else picture).save(path)
        paths.append(path)
    return paths


@pytest.fixture
def files(folder):
    return Examples.from_files(folder, [0, 1, 2, 0, 1, 2], size=8)


@pytest.fixture
def decoded(monkeypatch):
    """Return the list of files decoded so far."""
    seen, real = [], module.decode_image

    def decode(path, *, size):
        seen.append(path)
        return real(path, size=size)

    monkeypatch.setattr(module, "decode_image", decode)
    return seen


def shuffled(seed):
    return torch.Generator().manual_seed(seed)


# From memory


def test_tensors_are_served_as_they_are(served, images):
    assert (len(served), served.shape) == (10, (3, 2, 2))
    assert torch.equal(served.images(), images)
    assert served.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert served.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("images_", "labels", "words"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.float64), [0, 1], "torch.float64 (2, 3, 4, 4) and 2 labels"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), [0, 1, 2], "torch.uint8 (3, 4, 4) and 3 labels"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [0], "torch.uint8 (2, 3, 4, 4) and 1 labels"),
    ],
)
def test_other_tensors_are_refused(images_, labels, words):
    with pytest.raises(ContractError) as raised:
        Examples.from_tensors(images_, torch.tensor(labels))
    assert (
        str(raised.value)
        == f"Examples.from_tensors takes uint8 or float32 images (N, C, H, W) and N labels, not {words}."
    )


def test_slices_and_lists_of_positions_share_the_data(served, images):
    part = served[2:8]
    assert torch.equal(part.images(), images[2:8])
    assert torch.equal(part[1:3].images(), images[3:5])
    assert torch.equal(part[[5, 0]].images(), images[[7, 2]])
    assert part[[5, 0]].labels.tolist() == [1, 2]
    assert len(served[[]]) == 0
    assert served[[]].images().shape == (0, 3, 2, 2)
    assert torch.equal(served[::-1].images(), images.flip(0))


# Batches


def test_batches_are_float32_in_the_unit_interval_and_in_order(served, images):
    batches = list(served.batches(4))
    assert [batch.indices for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    joined = torch.cat([batch.images for batch in batches])
    assert joined.dtype == torch.float32
    assert torch.equal(joined, images.float() / 255)
    assert torch.equal(torch.cat([batch.labels for batch in batches]), served.labels)


def test_white_and_black_are_exactly_one_and_zero():
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    (batch,) = Examples.from_tensors(ends, torch.zeros(2)).batches(2)
    assert batch.images.flatten().tolist() == [0.0, 1.0]


def test_shuffling_is_seeded_and_serves_each_image_once(served, images):
    first, again, other = (list(served.batches(3, shuffle=shuffled(seed))) for seed in (1, 1, 2))
    order = [index for batch in first for index in batch.indices]
    assert sorted(order) == list(range(10))
    assert order == [index for batch in again for index in batch.indices]
    assert order != [index for batch in other for index in batch.indices]
    assert torch.equal(torch.cat([batch.images for batch in first]), images[order].float() / 255)
    assert torch.cat([batch.labels for batch in first]).tolist() == served.labels[order].tolist()


def test_positions_are_those_of_the_slice(served, images):
    (batch,) = served[6:8].batches(5)
    assert batch.indices == [0, 1]
    assert torch.equal(batch.images, images[6:8].float() / 255)


def test_nothing_gives_no_batch(served):
    assert list(served[:0].batches(4)) == []


def test_writing_into_a_batch_does_not_change_the_data(served, images):
    before = images.clone()
    next(iter(served.batches(10))).images.zero_()
    assert torch.equal(served.images(), before)


# Samples


def test_a_sample_holds_every_smaller_sample(served):
    held = [{tuple(image.flatten().tolist()) for image in served.sample(count, 5).images()} for count in range(1, 11)]
    assert [len(each) for each in held] == list(range(1, 11))
    assert all(small < large for small, large in pairwise(held))


def test_a_sample_is_seeded_and_keeps_the_order(served):
    assert served.sample(5, 1).fingerprint == served.sample(5, 1).fingerprint
    assert served.sample(5, 1).fingerprint != served.sample(5, 2).fingerprint
    assert served.sample(10, 3).fingerprint == served.fingerprint


@pytest.mark.parametrize("count", [0, -1, 11])
def test_an_impossible_sample_is_refused(served, count):
    with pytest.raises(DataError) as raised:
        served.sample(count, 0)
    assert str(raised.value) == f"{count} images were asked for, but the split has 10; choose 1 to 10."


# From files


def test_files_are_served_as_pil_fits_them(files, folder):
    expected = []
    for path in folder:
        with Image.open(path) as file:
            expected.append(np.array(ImageOps.fit(file.convert("RGB"), (8, 8), Image.Resampling.BICUBIC)))
    assert torch.equal(files.images(), torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2))
    assert files.shape == (3, 8, 8)


def test_an_image_of_the_right_size_keeps_its_pixels(files, folder):
    with Image.open(folder[2]) as file:
        assert torch.equal(files[[2]].images()[0], torch.from_numpy(np.array(file)).permute(2, 0, 1))


def test_a_wide_image_keeps_its_centre(tmp_path):
    pixels = np.zeros((4, 12, 3), dtype=np.uint8)
    pixels[:, :4, 0] = pixels[:, 4:8, 1] = pixels[:, 8:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "flag.png")
    image = Examples.from_files([tmp_path / "flag.png"], [0], size=4).images()[0]
    assert image[1].eq(255).all()
    assert image[[0, 2]].eq(0).all()


def test_grey_images_have_three_equal_channels(files):
    red, green, blue = files[[4]].images()[0]
    assert torch.equal(red, green)
    assert torch.equal(green, blue)


def test_to_uint8_takes_grey_and_colour():
    grey, colour = Image.new("L", (5, 3), 7), Image.new("RGB", (5, 3), (1, 2, 3))
    assert torch.equal(to_uint8(grey), torch.full((1, 3, 5), 7, dtype=torch.uint8))
    assert to_uint8(colour).shape == (3, 3, 5)
    assert to_uint8(colour)[:, 0, 0].tolist() == [1, 2, 3]
    assert to_uint8(colour).is_contiguous()


def test_nothing_is_decoded_before_it_is_asked_for(files, decoded, folder):
    _ = len(files), files.labels, files[2:], files.sample(3, 0), files.shape, files.fingerprint
    assert decoded == []
    files[[1]].images()
    assert decoded == [folder[1]]


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_only_the_batches_ahead_are_decoded(files, decoded, ahead):
    batches = files.batches(1, ahead=ahead)
    for place in range(len(files)):
        next(batches)
        assert len(decoded) <= min(place + 2 + ahead, len(files))
    assert list(batches) == []
    assert sorted(decoded) == sorted(set(decoded))
    assert len(decoded) == len(files)


def test_stopping_early_leaves_the_rest_undecoded(files, decoded):
    batches = files.batches(1, ahead=1)
    next(batches)
    batches.close()
    assert len(decoded) <= 3


def test_a_missing_file_is_named(files, folder):
    folder[3].unlink()
    for wanted in (files.images, lambda: files.fingerprint):
        with pytest.raises(DataError) as raised:
            wanted()
        assert str(raised.value) == (
            f"image {folder[3]} cannot be read (No such file or directory); remove it or mend its permissions."
        )


def test_a_file_that_is_no_image_is_named_while_batching(files, folder):
    folder[3].write_bytes(b"no image")
    with pytest.raises(DataError) as raised:
        list(files.batches(2))
    assert str(raised.value) == (
        f"image {folder[3]} cannot be decoded (its content is no image of a format that is read here); replace or "
        "remove the file."
    )


def test_a_damaged_file_is_decoded_or_named_but_never_a_traceback(folder):
    whole = folder[0].read_bytes()
    damaged = [whole[:cut] for cut in range(0, len(whole), 7)]
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        damaged.append(bytes(flipped))
    failures = []
    for content in damaged:
        folder[0].write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                Examples.from_files(folder[:1], [0], size=8).images()
            except DataError as error:
                failures.append(str(error))
    assert len(failures) > len(damaged) / 2
    assert all(text.startswith(f"image {folder[0]} cannot be decoded (") for text in failures)


def test_an_image_that_would_fill_the_memory_is_named(files, folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match=r"cannot be decoded \(Image size \(96 pixels\) exceeds limit of 20 pixels"):
        files[[0]].images()


# Fingerprints


def test_the_fingerprint_pins_pixels_labels_order_and_shape(images):
    labels = torch.zeros(10)
    base = Examples.from_tensors(images, labels)
    pixel, label = images.clone(), labels.clone()
    pixel[9, 2, 1, 1] += 1
    label[9] = 1
    others = [
        Examples.from_tensors(pixel, labels),
        Examples.from_tensors(images, label),
        base[::-1],
        base[:9],
        Examples.from_tensors(images.view(10, 3, 4, 1), labels),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 6
    assert Examples.from_tensors(images.clone(), labels).fingerprint == base.fingerprint


def test_the_fingerprint_is_of_what_is_served(images, served):
    apart = Examples.from_tensors(images[3:6], served.labels[3:6])
    assert served[3:6].fingerprint == apart.fingerprint
    strided = images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)
    assert Examples.from_tensors(strided, served.labels).fingerprint == served.fingerprint


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_served_as_they_are_laid_out_in_copies_of_their_own(channels):
    plain = torch.randint(0, 256, (6, channels, 4, 4), dtype=torch.uint8, generator=shuffled(0))
    for images in (plain, plain.contiguous(memory_format=torch.channels_last), plain.permute(0, 1, 3, 2)):
        for chosen in ([4, 1, 1], [2, 3, 4], []):
            served = Examples.from_tensors(images, torch.zeros(6))[chosen].images()
            assert torch.equal(served, images[chosen])
            assert not chosen or served.stride() == images[chosen].stride(), (
                "another layout rounds otherwise in a model"
            )
        before, served = images.clone(), Examples.from_tensors(images, torch.zeros(6))
        served[1:5].images().zero_()
        assert torch.equal(served.images(), before)


def test_the_fingerprint_does_not_depend_on_how_it_is_chunked():
    many = torch.randint(0, 256, (2500, 1, 2, 2), dtype=torch.uint8, generator=shuffled(0))
    served = Examples.from_tensors(many, torch.zeros(2500))
    digest = hashlib.sha256(many.numpy().tobytes()).digest()
    header = f"{(1, 2, 2)} {[0] * 2500}".encode()
    assert served.fingerprint == hashlib.sha256(header + digest).hexdigest()


def test_the_fingerprint_of_files_pins_content_label_order_and_size(files, folder):
    labels = [0, 1, 2, 0, 1, 2]
    prints = {
        files.fingerprint,
        files[::-1].fingerprint,
        Examples.from_files(folder, labels, size=4).fingerprint,
        Examples.from_files(folder, [1, *labels[1:]], size=8).fingerprint,
    }
    Image.new("RGB", (8, 8)).save(folder[0])
    prints.add(Examples.from_files(folder, labels, size=8).fingerprint)
    assert len(prints) == 5


def test_moving_a_folder_keeps_the_fingerprint(files, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = [path.rename(tmp_path / "elsewhere" / path.name) for path in folder]
    before = Examples.from_files(moved, [0, 1, 2, 0, 1, 2], size=8).fingerprint
    for path in moved:
        path.rename(tmp_path / path.name)
    assert files.fingerprint == before


def allocated(make):
    """Return what making something leaves and takes of Python's memory, in bytes, and it."""
    tracemalloc.start()
    try:
        made = make()
        return *tracemalloc.get_traced_memory(), made
    finally:
        tracemalloc.stop()


def test_which_images_are_served_takes_eight_bytes_an_image():
    n, labels = 100_000, torch.zeros(100_000, dtype=torch.long)

    def build():
        return Examples(labels, (1, 1, 1), lambda rows: torch.zeros(len(rows), 1, 1, 1), lambda rows: b"")

    left, _, served = allocated(build)
    assert left < 8.5 * n
    left, _, half = allocated(lambda: served[: n // 2])
    assert left < 8.5 * n / 2
    assert (len(half), half._rows[-1]) == (n // 2, n // 2 - 1)
    left, _, _ = allocated(lambda: served.watched(lambda places, images: None))
    assert left < 0.5 * n  # its places are a tensor, beside Python's memory
    _, most, count = allocated(lambda: sum(len(batch.labels) for batch in half.batches(1000)))
    assert count == n // 2
    assert most < 8 * n / 2  # nothing of all images, while they are served batch by batch


def test_places_of_a_row_that_is_there_twice_and_of_rows_that_are_not_served(images):
    served = Examples.from_tensors(images, torch.arange(10))[[7, 2, 2, 9]]
    seen = []
    watched = served.watched(lambda places, shown: seen.append((places, shown[:, 0, 0, 0].tolist())))
    list(watched.batches(3))
    twelve = images[:, 0, 0, 0].tolist()
    assert seen == [([0, 2, 2], [twelve[7], twelve[2], twelve[2]]), ([3], [twelve[9]])]
    seen.clear()
    assert next(iter(watched[[3]].batches(1))).indices == [0]
    assert seen == [([3], [twelve[9]])]
    seen.clear()
    watched._fetch([1, 9, 0, 2])
    assert seen == [([3, 2], [twelve[9], twelve[2]])]


def test_no_images_at_all_are_served_too(served):
    nothing = served[[]]
    assert len(nothing.labels) == len(nothing) == 0
    assert list(nothing.batches(4)) == []
    assert list(nothing.watched(lambda places, images: None).batches(4)) == []
