"""The published figures that suites stated in a folder of results, so that one suite does not take away another's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from robench.errors import StoreError
from robench.evidence.files import parse, read_bounded, write_whole
from robench.plan.published_figures import Published

FILE = "published.json"


@dataclass(frozen=True)
class SuiteFigures:
    """Hold what one suite stated.

    Attributes:
        title: the suite's.
        suite: its file, or ``suite:NAME``.
        published: its entries.
    """

    title: str
    suite: str
    published: tuple[Published, ...]


def suites_there(folder: Path) -> list[SuiteFigures]:
    """Return what the suites that were run into a folder stated, by title; StoreError if their file is damaged."""
    path = folder / FILE
    if not path.exists():
        return []
    text = read_bounded(path, "file", "another folder with -o", kind=StoreError)
    try:
        found = msgspec.convert(parse(text), list[SuiteFigures])
    except (ValueError, RecursionError) as error:  # msgspec's ValidationError is a ValueError
        raise StoreError(
            f"{path} is not what robench run writes ({str(error)[:200]}), and holds what suites stated that were run "
            f"into {folder}; remove it and run them again, which computes nothing anew, or name another folder with -o."
        ) from None
    return sorted(found, key=_place)


def keep(folder: Path, stated: SuiteFigures) -> list[SuiteFigures]:
    """Write what a suite stated beside what others did, in the place of what itself did before; return all by title."""
    there = {_place(one): one for one in suites_there(folder)}
    if stated.published:
        there[_place(stated)] = stated
    found = [there[place] for place in sorted(there)]
    if found:
        write_whole(folder / FILE, msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return found


def by_title(suites: Iterable[SuiteFigures]) -> dict[str, list[Published]]:
    """Return the entries under each title, in order; what two suites of one title state alike is there once."""
    found: dict[str, list[Published]] = {}
    for one in suites:
        entries = found.setdefault(one.title, [])
        entries += [entry for entry in one.published if entry not in entries]
    return found


def _place(one: SuiteFigures) -> tuple[str, str]:
    return one.title, one.suite
