"""Labels of a data set's table: class names, and each value's place among them; what is no class is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from robench import DataError

#: What may stand in a label column that declares no names.
Label = str | int | bool


def values_of(columns: Iterable[Iterable[Any]], column: str, path: str) -> list[Label]:
    """Return the values of a label column in all splits, sorted; missing ones do not count."""
    found = {plain(value, column, path) for values in columns for value in values if not missing(value)}
    try:
        return sorted(found)
    except TypeError:
        kinds = ", ".join(sorted({type(value).__name__ for value in found}))
        raise DataError(
            f"label column '{column}' of {path} mixes values of several kinds ({kinds}); make them one."
        ) from None


def plain(value: Any, column: str, path: str) -> Label:
    """Return a value as a class; a float counts where it is whole, as in a table that once had gaps."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str | int):
        return value
    what = f"the number {value:g}" if isinstance(value, float) else f"a {type(value).__name__} ({str(value)[:40]})"
    raise DataError(
        f"label column '{column}' of {path} holds {what}, which is no class: an image has one label, a name or a whole "
        "number; choose another column with -p dataset.label_column=NAME."
    )


def missing(value: Any) -> bool:
    """Tell whether a label is absent: nothing, or what tables put in its place."""
    return value is None or (isinstance(value, float) and value != value)


def numbered(values: Sequence[Any], declared: Sequence[str], known: Sequence[Label], where: str) -> list[int]:
    """Return each label's place among the classes; ``known`` are the values where no names are declared."""
    places = {value: place for place, value in enumerate(known)}
    absent = [row for row, value in enumerate(values) if missing(value) or (declared and value < 0)]
    if absent:
        raise DataError(
            f"{where} holds images without a label ({len(absent)} of {len(values)}, first row {absent[0]}); choose "
            "another split with -p dataset.test_split=NAME, or leave those rows out."
        )
    return [int(value) for value in values] if declared else [places[value] for value in values]


def class_names(names: Sequence[Any], column: str, path: str) -> tuple[str, ...]:
    """Return the classes as words; DataError where two read alike, one is blank, or there are fewer than two."""
    read = [" ".join(str(name).replace("_", " ").split()) for name in names]
    for place, name in enumerate(read):
        if not name:
            raise DataError(f"label column '{column}' of {path} has a class without a name (label {place}); name it.")
        if name in read[:place]:
            other = names[read.index(name)]
            raise DataError(
                f"label column '{column}' of {path} has classes '{other}' and '{names[place]}', which both read as "
                f"'{name}'; rename or merge them."
            )
    if len(read) < 2:
        raise DataError(f"label column '{column}' of {path} has {len(read)} classes; a classifier needs two or more.")
    return tuple(read)
