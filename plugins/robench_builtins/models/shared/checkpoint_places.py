"""Where the files of a checkpoint lie: in local folders, or under the id of a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robench import parameter


def local_folders(*places: str) -> tuple[Path, ...]:
    """Return those of the places that are local folders, ``~`` expanded."""
    given = (Path(place).expanduser() for place in places if place)
    return tuple(folder for folder in given if folder.is_dir())


def local_or_id(place: str) -> str:
    """Return the path of a local folder, ``~`` expanded, and any other text, such as a hub id, as it is."""
    return next((str(folder) for folder in local_folders(place)), place)


def processor_elsewhere(whose: str) -> Any:
    """Return the parameter that names image processor and tokenizer which do not lie with ``whose`` weights."""
    return parameter(
        default="",
        help=f"hub id or folder of image processor and tokenizer, where they lie elsewhere; empty: the {whose}'s",
        path=True,
        later=True,
    )
