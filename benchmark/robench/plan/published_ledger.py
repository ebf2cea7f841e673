"""The ledger of published figures: files that come along, one a source, and where one name has several numbers."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from robench.errors import SpecError, suggestion
from robench.evidence.files import read_bounded
from robench.plan.published_figures import FIGURES, KEYS, UNATTACKED, Published, read_published

#: Where the ledger lies: within the package where it was installed from a wheel, beside it in a clone.
FOLDERS = (Path(__file__).parents[1] / "published", Path(__file__).parents[3] / "published")

#: Largest file of the ledger that is read.
MOST_BYTES = 1_000_000

#: Figures, in percent points, that are rounded otherwise and no contradiction.
ROUNDING = 0.05


@dataclass(frozen=True)
class Contradiction:
    """Hold the numbers that one name has: (percent, entry), the lowest first.

    Attributes:
        name: what the sources call it.
        dataset: on which images, or the mean of which.
        figure: a name of :data:`robench.plan.published_figures.FIGURES`.
        eps: the radius; None for what was not attacked.
        norm: of the radius; empty for what was not attacked.
    """

    name: str
    dataset: str
    figure: str
    eps: float | None
    norm: str
    numbers: tuple[tuple[float, Published], ...]


def files() -> dict[str, Path]:
    """Return the ledger's files by name."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.toml"))} if folder is not None else {}


@cache
def ledger() -> tuple[Published, ...]:
    """Return every entry that comes along."""
    return tuple(entry for path in files().values() for entry in read_ledger(path))


def of_source(name: str, where: str = "the ledger") -> tuple[Published, ...]:
    """Return the entries of one file of the ledger; SpecError, with what was meant, if there is none of that name."""
    known = files()
    if name not in known:
        raise SpecError(f"{where}: the ledger has no '{name}'; {suggestion(name, known)}")
    return read_ledger(known[name])


def read_ledger(path: Path) -> tuple[Published, ...]:
    """Read one file: entries as ``[[published]]`` tables, defaults of all of them above, ``[parameters]`` shared.

    Raises:
        SpecError: it is no TOML, or an entry cannot be used; the message says which, and the way out.
    """
    content = _content(path)
    tables, shared = content.pop("published", None), content.pop("parameters", {})
    where = f"published figures {path.name}"
    if not isinstance(tables, list) or not tables:
        raise SpecError(f"{where}: write each published row as a [[published]] table.")
    if not isinstance(shared, dict) or not all(isinstance(values, dict) for values in shared.values()):
        raise SpecError(f"{where}: parameters is a table such as [parameters] with defense.epochs = 10.")
    for key in content:
        if key not in KEYS or key in FIGURES:
            raise SpecError(f"{where}: '{key}' is no default of its rows; {suggestion(key, set(KEYS) - set(FIGURES))}")
    return tuple(_entry(path, place, content, table, shared) for place, table in enumerate(tables, start=1))


def _content(path: Path) -> dict[str, Any]:
    try:
        text = read_bounded(path, "file of published figures", "a TOML file", MOST_BYTES, SpecError)
        return tomllib.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SpecError(f"published figures {path} are not TOML: {str(error)[:300]}; mend that place.") from None


def _entry(path: Path, place: int, defaults: dict[str, Any], table: Any, shared: dict[str, Any]) -> Published:
    where = f"published figures {path.name}, row {place}"
    whole = {"norm": "Linf", "surrogate": "", **defaults, **table} if isinstance(table, dict) else table
    entry = read_published(whole, where, shared, path.stem)
    needed = [key for key in ("name", "place") if not getattr(entry, key)]
    needed += [key for key in ("dataset",) if key not in entry.which]
    if "victim" in entry.which and "defense" not in entry.which:
        needed.append("defense")
    if any(figure.startswith("robust") for figure in entry.figures):
        needed += ["attack"] * ("attack" not in entry.which)
        needed += ["eps"] * ("victim" in entry.which and entry.eps is None)
    if needed:
        raise SpecError(f"{where}: it does not say its {' and '.join(needed)}; a figure is one of something.")
    return entry


def contradictions(entries: Iterable[Published]) -> list[Contradiction]:
    """Return where one name has several numbers, by (name, data set, figure, eps, norm).

    One source may state several numbers of one name, under several attacks or recipes; it contradicts itself only
    where it states two of one row.
    """
    grouped: dict[tuple[str, str, str, float | None, str], list[tuple[float, Published]]] = defaultdict(list)
    for entry in entries:
        for figure, percent in entry.figures.items():
            attacked = figure.startswith("robust")
            eps, norm = (entry.eps, entry.norm) if attacked else (None, "")
            grouped[entry.name, entry.dataset, figure, eps, norm].append((percent, entry))
    found = []
    for key, numbers in grouped.items():
        ordered = tuple(sorted(numbers, key=lambda number: number[0]))
        if key[0] and any(_contradict(one, other) for one in ordered for other in ordered):
            found.append(Contradiction(*key, ordered))
    return found


def _contradict(one: tuple[float, Published], other: tuple[float, Published]) -> bool:
    same_row = (one[1].which, one[1].split, one[1].average) == (other[1].which, other[1].split, other[1].average)
    return other[0] - one[0] > ROUNDING and (one[1].source != other[1].source or same_row)


def search(
    entries: Iterable[Published],
    words: Sequence[str] = (),
    figure: str = "",
    source: str = "",
    **components: str,
) -> list[Published]:
    """Return the entries that hold all of the words anywhere, and in each role a component of the name.

    Args:
        entries: those to look through.
        words: each must be a part of what an entry says, whatever its case.
        figure: a name of :data:`robench.plan.published_figures.FIGURES` that it must have.
        source: a part of its source, or the name of its file in the ledger.
        components: by role, a component's name.

    Raises:
        SpecError: no entry has such a figure, source or component; it says which there are.
    """
    found = list(entries)
    for role, name in components.items():
        found = _kept(found, role, name, {e.which[role].name for e in found if role in e.which and e.which[role].name})
    if source:
        found = _kept(found, "source", source, {entry.ledger for entry in found})
    if figure:
        found = [entry for entry in found if figure in entry.figures]
    return [entry for entry in found if all(word.lower() in _text(entry) for word in words)]


def _kept(entries: list[Published], key: str, name: str, known: set[str]) -> list[Published]:
    wanted = name.lower()
    if key == "source":
        kept = [entry for entry in entries if wanted in (entry.ledger.lower(), entry.source.lower())]
    else:
        kept = [entry for entry in entries if key in entry.which and entry.which[key].name.lower() == wanted]
    if not kept:
        raise SpecError(f"no published figure has {key} '{name}'; {suggestion(name, known)}")
    return kept


def _text(entry: Published) -> str:
    """Return all that an entry says, in small letters."""
    which = (entry.which[role].label for role in (*UNATTACKED, "attack", "surrogate") if role in entry.which)
    words = (entry.name, entry.source, entry.place, entry.weights, entry.images, entry.protocol, entry.note)
    return " ".join([*words, *which, entry.ledger, entry.norm, entry.split]).lower()
