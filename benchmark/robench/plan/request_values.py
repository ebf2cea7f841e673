"""What a request may hold: each value is taken as the type it means, or refused; nothing is guessed or dropped.

Numbers of numpy, ``Fraction`` and ``Decimal`` are numbers; a truth value is none. Messages name options, which
:mod:`robench.plan.flags_and_arguments` turns into arguments for users of Python.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

from robench.contracts.search_precision import Precision
from robench.contracts.threat_model import Norm
from robench.errors import DataError, SpecError, suggestion

if TYPE_CHECKING:
    from robench.plan.spec import Spec

#: Cards hold whole numbers of up to 18 digits: they fit into 64 bits in every reader.
MOST = 10**18 - 1

UNSET = "an unset shell variable?"

#: How an empty text is written, since nothing at all is more likely a mistake.
EMPTY = ('""', "''")

#: Fields of a request of which several can be named.
LISTS = ("victim", "defense", "attack", "surrogate", "certificate", "eps", "seed", "label")

#: Of adversarial images all, those that fell (which prove it), or none but their digests.
Keep = Literal["all", "flipped", "digests"]

_NORMS = {
    "inf": "Linf",
    "infinity": "Linf",
    "max": "Linf",
    "2": "L2",
    "2.0": "L2",
    "euclidean": "L2",
    "0": "L0",
    "1": "L1",
    "1.0": "L1",
}


_PRECISIONS = {
    "fp32": "float32",
    "tf32": "tf32",
    "bf16": "bf16",
    "float": "float32",
    "full": "float32",
    "highest": "float32",
    "high": "tf32",
    "bfloat16": "bf16",
    "bf16-mixed": "bf16",
    "amp": "bf16",
}


def checked(spec: Spec) -> Spec:
    """Return the request with plain values that a card can hold; SpecError for what is no such value."""
    lists: dict[str, Any] = {
        name: tuple(text(name, one) for one in several(name, getattr(spec, name))) for name in LISTS[:5]
    }
    return replace(
        spec,
        dataset=_dataset(spec.dataset),
        train_dataset=spec.train_dataset if spec.train_dataset == "" else text("train_dataset", spec.train_dataset),
        **lists,
        eps=tuple(_radius(one) for one in several("eps", spec.eps)),
        norm=_norm(spec.norm),
        precision=precision(spec.precision),
        seed=tuple(_seed(one) for one in several("seed", spec.seed)),
        n=_count(spec.n),
        parameters=_parameters(spec.parameters),
        baseline=truth("baseline", spec.baseline),
        label=tuple(text("label", one) for one in several("label", spec.label)),
    )


def check_count(dataset: str, n: int | None, there: int) -> None:
    """Refuse a request for more test images than a dataset has."""
    if n is not None and n > there:
        raise DataError(
            f"--n {n} asks for more images than the test split of {dataset} has ({there}); choose at most {there}, or "
            "leave --n out for all."
        )


def text(name: str, value: Any) -> str:
    """Return a text that is not empty and that can be written into a card."""
    if not isinstance(value, str):
        raise SpecError(f"{option(name)} takes text, not {shown(value)}; leave it out for the default.")
    if not value.strip():
        raise SpecError(f"{option(name)} is empty ({UNSET}); give a name, or leave it out for the default.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SpecError(
            f"{option(name)} {shown(value)} is not UTF-8, and a card could not hold it; rename the file or folder, or "
            "give a link with another name."
        ) from None
    return str(value)


def whole(name: str, value: Any, least: int, out: str) -> int:
    """Return a whole number from ``least`` to the largest that a card holds; ``out`` says what else can be done."""
    try:
        if isinstance(value, bool) or type(value).__name__ == "bool_" or not isinstance(value, numbers.Integral):
            raise TypeError
        found = operator.index(value)
    except TypeError:
        raise SpecError(f"{option(name)} {shown(value)} is no whole number; {out}.") from None
    if not least <= found <= MOST:
        size = "has more than the 18 digits that a card holds" if abs(found) > MOST else f"is below {least}"
        raise SpecError(f"{option(name)} {shown(value)} {size}; {out}.")
    return found


def number(name: str, value: Any, out: str) -> float:
    """Return a finite number; ``out`` says what else can be done."""
    real = isinstance(value, numbers.Real | Decimal) and not isinstance(value, bool)
    try:
        found = float(value) if real else math.nan
    except (OverflowError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise SpecError(f"{option(name)} {shown(value)} is no finite number; {out}.")
    return found


def truth(name: str, value: Any) -> bool:
    """Return a truth value; the words for one, and 0 and 1, are none."""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise SpecError(f"{name} is True or False, not {shown(value)}.")


def keep(value: Any) -> Keep:
    """Return which adversarial images are kept."""
    for word in get_args(Keep):
        if value == word:
            return word  # type: ignore[no-any-return]  # one of the literals
    raise SpecError(f"--keep-images {shown(value)} is unknown; {suggestion(str(value)[:40], get_args(Keep))}")


def precision(value: Any) -> Precision:
    """Return what the search for adversarial images is computed in."""
    for word in get_args(Precision):
        if isinstance(value, str) and value == word:
            return word  # type: ignore[no-any-return]  # one of the literals
    words = str(value).removeprefix("torch.")
    meant = _PRECISIONS.get(words.lower(), "")
    hint = f"did you mean '{meant}'? " if meant else ""
    raise SpecError(
        f"--precision {shown(value)} is unknown; {hint}choose {', '.join(get_args(Precision)[:-1])} or "
        f"{get_args(Precision)[-1]}."
    )


def place(name: str, value: Any) -> str:
    """Return a path that is not empty, for an option that names a file or a folder."""
    if isinstance(value, bytes) or not isinstance(value, str | os.PathLike):
        raise SpecError(f"{option(name)} takes a path, not {shown(value)}; leave it out for the default.")
    found = os.fspath(value)
    if not isinstance(found, str) or not found.strip() or "\0" in found:
        raise SpecError(
            f"{option(name)} {shown(found)} is no path ({UNSET}); name one, or leave it out for the default."
        )
    return found


def option(name: str) -> str:
    """Return how the command line calls an argument."""
    return f"--{name.replace('_', '-')}"


def shown(value: Any) -> str:
    """Return a value as an error shows it: short, and text in quotes."""
    try:
        if isinstance(value, numbers.Integral | float | Decimal) and not isinstance(value, bool):
            words = str(value)
        else:
            words = repr(value)
    except Exception:  # a repr of anyone's, or a number of more digits than Python writes
        words = f"a {type(value).__name__}"
    return words if len(words) <= 80 else f"{words[:77]}..."


def several(name: str, value: Any) -> tuple[Any, ...]:
    """Return the values of a field that takes several; one alone stands for a list of one."""
    if isinstance(value, str | bytes | numbers.Number) or getattr(value, "ndim", None) == 0:
        return (value,)
    if value is None or isinstance(value, Mapping | set | frozenset) or not isinstance(value, Iterable):
        raise SpecError(f"{option(name)} takes one value or a list, not {shown(value)}; leave it out for the default.")
    return tuple(value)


def _dataset(given: Any) -> str | tuple[str, ...]:
    """Return one name as text, and several as a tuple."""
    if isinstance(given, list | tuple) and given:
        names = tuple(text("dataset", one) for one in given)
        return names[0] if len(names) == 1 else names
    return "" if isinstance(given, str) and not given else text("dataset", given)


def _radius(value: Any) -> str | float:
    if isinstance(value, str):
        return text("eps", value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return number("eps", _scalar(value), "write a fraction such as '8/255' or a decimal such as 0.03")


def _norm(value: Any) -> Norm:
    if isinstance(value, str) and value in get_args(Norm):
        return value  # type: ignore[return-value]  # one of the literals, as just seen
    words = str(value).lower()
    meant = next((norm for norm in get_args(Norm) if norm.lower() == words), _NORMS.get(words, ""))
    hint = f"did you mean '{meant}'? " if meant else ""
    known = " or ".join(", ".join(get_args(Norm)).rsplit(", ", 1))
    raise SpecError(f"norm {shown(value)} is unknown; {hint}choose {known}.")


def _seed(value: Any) -> int:
    return whole("seed", _scalar(value), 0, "give a whole number from 0, of at most 18 digits, such as 0")


def _count(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value < 1:
        raise SpecError(
            f"--n {value} leaves no image to test on; give at least 1, or leave --n out for the whole split."
        )
    return whole("n", _scalar(value), 1, "give a whole number from 1, or leave --n out for the whole split")


def _parameters(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SpecError(f"parameters is a mapping such as {{'attack.steps': 20}}, not {shown(given)}.")
    for key in given:
        if not isinstance(key, str):
            raise SpecError(f"parameters names each by text such as 'attack.steps', not by {shown(key)}.")
    found = {}
    for key, value in given.items():
        plain = _scalar(value)
        if isinstance(plain, numbers.Rational | Decimal) and not isinstance(plain, int):
            plain = number(key, plain, "give another")
        if isinstance(plain, str):
            _check_utf8(key, plain)
        if not isinstance(plain, str | int | float | None):
            raise SpecError(f"-p {key} takes text, a number, a truth value or none, not {shown(value)}.")
        found[key] = plain
    return found


def _check_utf8(key: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SpecError(
            f"-p {key}: {shown(value)} is not UTF-8, and a card could not hold it; rename the file or folder, or give "
            "a link with another name."
        ) from None


def _scalar(value: Any) -> Any:
    """Return a numpy scalar or an array of one as Python's own number; anything else as it is."""
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value
