"""Walk folders of class folders: each folder once, regular files only, nothing hidden, and what is left out is counted.

Links are followed to what was not visited yet: a class folder may link to photos elsewhere, but not to itself.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from robench import DataError

#: What systems and archives leave in folders; names that begin with a dot are hidden too.
LITTER = frozenset({"__macosx", "@eadir", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})

#: Folders of the system's own, whose files are no files.
SYSTEM = ("/proc", "/sys")

HIDDEN = "hidden"
IRREGULAR = "no regular file"
VISITED = "links back"
LOOSE = "beside the class folders"

#: A suffix longer than this is part of a name.
LONGEST = 8

#: Device and inode: the same for every path that leads to a folder or file.
Identity = tuple[int, int]


@dataclass
class ClassFolders:
    """Hold class folder -> its image files, both in byte order, and how many files were left out for which reason.

    What lies beside the class folders is left out under the empty name.
    """

    root: Path
    images: dict[str, list[Path]] = field(default_factory=dict)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)


def is_folder(given: str) -> bool:
    """Tell whether this is a folder here, as far as that may be known."""
    try:
        return Path(given).expanduser().is_dir()
    except OSError:
        return False


def existing_folder(name: str, given: str) -> Path:
    """Return the folder that a dataset was given; DataError if it is none, or the whole file system."""
    root = Path(given).expanduser()
    with told_by_path(root):
        if not root.is_dir():
            raise DataError(f"{name} found no folder at {root}; pass -p dataset.path=DIR with one that exists.")
        real = root.resolve()
    if os.name == "posix" and (real == Path(real.anchor) or any(real.is_relative_to(place) for place in SYSTEM)):
        raise DataError(f"{name} takes no images from {root}, the system's own; pass -p dataset.path=DIR with yours.")
    return root


def walk_classes(root: Path, keeps: Callable[[str], bool]) -> ClassFolders:
    """Return the class folders in ``root`` that ``keeps`` takes, and their images at any depth."""
    found = ClassFolders(root)
    beside = found.left_out[""] = Counter[str]()
    folders: dict[Identity, Path] = {}
    with told_by_path(root):
        above = {_identity(place) for place in (root, *root.resolve().parents)}
        for entry in _entries(root):
            if hidden(entry.name):
                beside[HIDDEN] += _count(entry)
            elif not _is_folder(entry):
                beside[LOOSE] += Path(entry.name).suffix.lower() in _suffixes()
            elif (own := _identity(entry.path)) in above:
                beside[VISITED] += 1
            elif keeps(entry.name):
                other = folders.setdefault(own, Path(entry.path))
                if other.name != entry.name:
                    raise DataError(f"class folders {other} and {entry.path} are one by a link; remove one of them.")
    for folder in folders.values():
        counts = found.left_out[folder.name] = Counter[str]()
        found.images[folder.name] = _images(folder, {*above, *folders}, counts)
    return found


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, in byte order."""
    with told_by_path(folder):
        return [Path(entry.path) for entry in _entries(folder) if _is_folder(entry) and not hidden(entry.name)]


def files_in(folder: Path) -> list[Path]:
    """Return the regular files in a folder that are not hidden, in byte order."""
    with told_by_path(folder):
        return [Path(entry.path) for entry in _entries(folder) if not hidden(entry.name) and _is_file(entry)]


def hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is nobody's image or class."""
    return name.startswith(".") or name.lower() in LITTER


def class_name(folder: str, root: Path) -> str:
    """Return a folder's name as text, whatever the locale says of its bytes."""
    try:
        return os.fsencode(folder).decode("utf-8")
    except UnicodeDecodeError:
        shown = os.fsencode(folder).decode("utf-8", "backslashreplace")
        raise DataError(
            f"class folder '{shown}' in {root} has a name that is not UTF-8, which no prompt can hold; rename it."
        ) from None


def in_words(counts: Iterable[Counter[str]]) -> str:
    """Return what was left out, the most first, such as ``12 .txt, 3 hidden``; empty if nothing was."""
    total = sum(counts, Counter[str]())
    ordered = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered)


@contextmanager
def told_by_path(place: Path) -> Iterator[None]:
    """Turn the system's refusals inside into a sentence that names the path."""
    try:
        yield
    except OSError as error:
        at = os.fsdecode(error.filename) if error.filename is not None else place
        raise DataError(f"{at} cannot be read ({error.strerror}); mend its permissions, or leave it out.") from None


def _images(folder: Path, visited: set[Identity], left_out: Counter[str]) -> list[Path]:
    images: list[Path] = []
    linked: list[Path] = []
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        with told_by_path(place):
            for entry in _entries(place):
                if hidden(entry.name):
                    left_out[HIDDEN] += _count(entry)
                elif _is_folder(entry):
                    own = _identity(entry.path)
                    if own in visited:
                        left_out[VISITED] += 1
                    else:
                        visited.add(own)
                        waiting.append(Path(entry.path))
                elif (suffix := Path(entry.name).suffix.lower()) not in _suffixes():
                    left_out[_kind(suffix)] += 1
                elif entry.is_symlink():
                    linked.append(Path(entry.path))
                elif entry.is_file():
                    images.append(Path(entry.path))
                else:
                    left_out[IRREGULAR] += 1
    return sorted([*images, *_own(linked, images, left_out)], key=os.fsencode)


def _own(linked: list[Path], images: list[Path], left_out: Counter[str]) -> list[Path]:
    """Return the links to images that the class does not hold already."""
    held = {_identity(image) for image in images} if linked else set()
    kept = []
    for link in sorted(linked, key=os.fsencode):
        if not link.exists():
            raise DataError(f"image {link} is a link to what is not there; bring that back, or remove the link.")
        if not link.is_file():
            left_out[IRREGULAR] += 1
        elif _identity(link) in held:
            left_out[VISITED] += 1
        else:
            held.add(_identity(link))
            kept.append(link)
    return kept


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _count(entry: os.DirEntry[str]) -> int:
    """Return how many files a hidden entry is; a folder of them is not entered through a link."""
    if not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(len(names) for _, _, names in os.walk(entry.path))


def _kind(suffix: str) -> str:
    return suffix if 1 < len(suffix) <= LONGEST and suffix.isascii() and suffix.isprintable() else "of no known suffix"


def _identity(path: str | Path) -> Identity:
    state = os.stat(path)
    return state.st_dev, state.st_ino


def _suffixes() -> frozenset[str]:
    """Return the suffixes of images; asked late, since knowing them costs the import of an imaging library."""
    from robench import image_suffixes

    return image_suffixes()
