"""Some classes of a dataset, as a dataset: the parameter ``classes`` that every dataset has."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from robench.contracts.components import Dataset, Split
from robench.contracts.parameters import Value
from robench.errors import SpecError, suggestion

if TYPE_CHECKING:
    from robench.contracts.examples import Examples

#: No dataset has more classes; a range such as 0-999999999 would otherwise fill the memory.
MOST = 1_000_000

_NUMBERS = re.compile(r"(\d{1,7})(?:-(\d{1,7}))?")


def with_classes(dataset: Dataset, text: str) -> Dataset:
    """Return ``dataset`` with the classes that ``text`` names alone, such as ``0,1,2``, ``0-4`` or ``cat,dog``.

    Numbers are labels and ranges include both ends. The classes keep their order and are numbered anew from 0; images
    of others are served in no split.
    """
    kind: type[Dataset] = type(dataset)
    wanted = _read(dataset.name, text)

    class Subset(kind):  # type: ignore[misc, valid-type]  # a class of the dataset's own kind, made on the spot
        @property
        def parameters(self) -> dict[str, Value]:
            own: dict[str, Value] = super().parameters
            return {**own, "classes": _written(wanted)}

        def classes(self) -> tuple[str, ...]:
            names = super().classes()
            return tuple(names[label] for label in _labels(self.name, names, wanted))

        def origin(self) -> str:
            return f"{super().origin()}[classes={_written(wanted)}]"

        def load(self, split: Split) -> Examples:
            kept = _labels(self.name, super().classes(), wanted)
            examples: Examples = super().load(split)
            return examples.of_classes(kept)

    Subset.__doc__, Subset.__module__, Subset.__qualname__ = kind.__doc__, kind.__module__, kind.__qualname__
    made: Any = Subset(**{name: value for name, value in dataset.parameters.items() if name != "classes"})
    return made  # type: ignore[no-any-return]  # a Dataset, as just made


def within(inner: str, outer: str) -> bool:
    """Tell whether all classes of one choice are in another, as far as the two texts tell; an empty one is all."""
    return not outer or (bool(inner) and {*_read("", inner)} <= {*_read("", outer)})


def _read(name: str, text: str) -> tuple[int | str, ...]:
    """Return the labels, sorted, and the names that are asked for, each once."""
    found: dict[int | str, None] = {}
    for part in (part.strip() for part in text.split(",")):
        numbers = _NUMBERS.fullmatch(part)
        low, high = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, 0)
        if not part or high < low or high > MOST:
            raise SpecError(
                f"{name}.classes is '{text[:80]}'; write labels or names separated by commas, such as 0,1,2, 0-4 or "
                "cat,dog."
            )
        found.update(dict.fromkeys(range(low, high + 1) if numbers else [part]))
    labels, names = [one for one in found if isinstance(one, int)], [one for one in found if isinstance(one, str)]
    if len(found) < 2:
        raise SpecError(f"{name}.classes keeps the one class '{text[:80]}'; keep at least two, such as 0,1.")
    return (*sorted(labels), *names)


def _written(wanted: tuple[int | str, ...]) -> str:
    """Return what is asked for, neighbouring labels as a range, so that one choice is written in one way."""
    labels = [one for one in wanted if isinstance(one, int)]
    runs = [[label for _, label in run] for _, run in groupby(enumerate(labels), lambda pair: pair[1] - pair[0])]
    numbers = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ",".join([*numbers, *(one for one in wanted if isinstance(one, str))])


def _labels(dataset: str, names: tuple[str, ...], wanted: tuple[int | str, ...]) -> list[int]:
    """Return the labels in order; SpecError for one that the dataset has not."""
    found = set()
    for one in wanted:
        if isinstance(one, str) and one not in names:
            raise SpecError(f"{dataset} has no class '{one[:80]}'; {suggestion(one, names)}")
        label = names.index(one) if isinstance(one, str) else one
        if label >= len(names):
            raise SpecError(f"{dataset} has the classes 0 to {len(names) - 1}, and {dataset}.classes asks for {label}.")
        found.add(label)
    return sorted(found)
