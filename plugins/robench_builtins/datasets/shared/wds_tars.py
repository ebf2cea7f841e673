"""Read tar shards as untrusted input: an index of regular members, whose bytes are read by offset when asked for."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robench import DataError

#: Suffixes of images in CLIP_benchmark's shards; what else a sample holds is not read.
IMAGES = ("webp", "png", "jpg", "jpeg")
#: Suffix of a sample's label, a number in text.
LABEL = "cls"
#: The largest image that is read, in bytes, and the largest label.
MOST_IMAGE_BYTES = 2**28
MOST_LABEL_BYTES = 32
#: Most members of one shard.
MOST_MEMBERS = 10_000_000


@dataclass(frozen=True)
class Sample:
    """Say where in which shard one image lies, and its label."""

    shard: Path
    key: str
    offset: int
    size: int
    label: int

    def content(self) -> bytes:
        """Return the image as stored."""
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise DataError(f"wds cannot read {self.shard} ({error.strerror}); mend its permissions.") from None
        if len(content) < self.size:
            raise DataError(f"wds: {self.shard} ends within '{self.key}'; fetch that shard again.")
        return content


def samples_of(shard: Path, classes: int) -> list[Sample]:
    """Return the samples of one shard in its order; nothing is unpacked.

    Raises:
        DataError: the shard is missing or cut short, or has a member that is a link or device, leads outside or is too
            large; a sample has no image, no label, several of them, or a label that is no class.
    """
    if not shard.is_file():
        raise DataError(f"wds needs {shard}, which is not there; fetch that shard, or correct nshards.txt beside it.")
    size = shard.stat().st_size
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for count, member in enumerate(tar):
                if count >= MOST_MEMBERS:
                    raise DataError(f"wds: {shard} has more than {MOST_MEMBERS:,} members; split it.")
                _take(tar, member, shard, size, images, labels)
            _refuse_cut(tar, shard, size)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise DataError(
            f"wds cannot read {shard} ({str(error) or type(error).__name__}): it is damaged or cut short, or no plain "
            "tar; fetch that shard again."
        ) from None
    return _paired(shard, images, labels, classes)


def _take(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    shard: Path,
    size: int,
    images: dict[str, tarfile.TarInfo],
    labels: dict[str, int],
) -> None:
    """Sort one member into the images or labels of its shard."""
    if member.isdir():
        return
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise DataError(f"wds: {shard} has a member '{member.name[:100]}' that leads outside; take another copy.")
    if not member.isfile() or member.issparse():
        raise DataError(f"wds: {shard} has a member '{member.name[:100]}' that is no regular file; take another copy.")
    stem, _, suffix = path.name.partition(".")
    key, suffix = str(path.with_name(stem)) if stem else member.name, suffix.lower()
    if suffix not in (*IMAGES, LABEL):
        return
    limit = MOST_LABEL_BYTES if suffix == LABEL else MOST_IMAGE_BYTES
    if member.size > limit:
        raise DataError(f"wds: '{member.name[:100]}' in {shard} has {member.size:,} bytes; at most {limit:,} are read.")
    if member.offset_data + member.size > size:
        raise DataError(f"wds: {shard} ends within '{member.name[:100]}'; fetch that shard again.")
    if key in (labels if suffix == LABEL else images):
        raise DataError(f"wds: sample '{key[:100]}' of {shard} has two of one kind; take another copy.")
    if suffix == LABEL:
        labels[key] = _label(tar, member, shard)
    else:
        images[key] = member


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Path) -> int:
    file = tar.extractfile(member)
    text = (file.read() if file is not None else b"").decode("ascii", "replace").strip()
    if not text.isdecimal():
        raise DataError(f"wds: '{member.name[:100]}' in {shard} holds '{text[:20]}', which is no number of a class.")
    return int(text)


def _refuse_cut(tar: tarfile.TarFile, shard: Path, size: int) -> None:
    """Raise DataError where the archive lacks the block of zeros that ends one: a shard cut between two members."""
    with shard.open("rb") as file:
        file.seek(min(tar.offset, size))
        block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise DataError(f"wds: {shard} is cut short, since it does not end as an archive does; fetch that shard again.")


def _paired(shard: Path, images: dict[str, tarfile.TarInfo], labels: dict[str, int], classes: int) -> list[Sample]:
    lone = sorted(images.keys() ^ labels.keys())
    if lone:
        lacks = "label (.cls)" if lone[0] in images else f"image (.{', .'.join(IMAGES)})"
        raise DataError(f"wds: sample '{lone[0][:100]}' of {shard} has no {lacks}; take another copy.")
    for key, label in labels.items():
        if label >= classes:
            raise DataError(
                f"wds: sample '{key[:100]}' of {shard} has the class {label}, but classnames.txt names {classes} "
                "(0 is the first); take the names that belong to the set."
            )
    return [Sample(shard, key, member.offset_data, member.size, labels[key]) for key, member in images.items()]
