"""Component parameters: declared once as dataclass fields, read everywhere else from that declaration.

The CLI's ``-p``, the suite file, ``robench show``, the fingerprint and the card use this module and nothing else.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from robench.contracts.threat_model import format_eps, parse_number
from robench.errors import PluginError, SpecError, suggestion

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}

Value = bool | int | float | str | None


def parameter(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    path: bool | Literal["checked"] = False,
    later: bool = False,
) -> Any:
    """Declare one component parameter: its default, a sentence on what it means, and its range (inclusive).

    With ``path=True`` a value that is a file or folder among ``Component.files`` is known by its content, and where it
    lies enters no fingerprint; with ``path="checked"`` the component itself compares what it finds there with
    checksums, and the value never enters.

    With ``later=True`` it was declared after a release of the component, and its default computes what was computed
    before: at the default it enters no fingerprint, so that ids stay.

    Name the arguments, ``parameter(default=8, help="...")``: type checkers see a default only by its name (PEP 681).
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "path": path, "later": later}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """Describe one declared parameter of a component."""

    name: str
    type: Any
    default: Value
    help: str
    minimum: float | None = None
    maximum: float | None = None
    path: bool | Literal["checked"] = False
    later: bool = False

    @property
    def type_name(self) -> str:
        """Return the type as shown to users, such as ``int``, ``float or none`` or ``a | b``."""
        return _type_name(self.type)


def parameters_of(component: type) -> dict[str, Parameter]:
    """Return the declared parameters of a component class in order; raise PluginError for an unusable one."""
    try:
        hints = _field_types(component)
    except NameError as error:
        raise PluginError(
            f"The parameters of {component.__qualname__} cannot be read: {error}. Annotate fields with bool, int, "
            "float, str, Literal[...] or one of these with '| None'."
        ) from None
    found = {}
    for field in dataclasses.fields(component):
        if field.default is dataclasses.MISSING or "help" not in field.metadata:
            raise PluginError(
                f"Parameter '{field.name}' of {component.__qualname__} must be declared with "
                "robench.parameter(default=..., help='what it means')."
            )
        meta = field.metadata
        found[field.name] = Parameter(
            field.name,
            hints[field.name],
            field.default,
            meta["help"],
            meta["minimum"],
            meta["maximum"],
            meta.get("path", False),
            meta.get("later", False),
        )
        _check_default(component, found[field.name])
    return {**found, **getattr(component, "common", {})}


def _check_default(component: type, declared: Parameter) -> None:
    """Refuse a default that could not be given as a value: it would reach the component unconverted."""
    try:
        usable = convert(component.__qualname__, declared, declared.default) == declared.default
    except SpecError:
        usable = False
    if not usable:
        raise PluginError(
            f"Parameter '{declared.name}' of {component.__qualname__} has the default {declared.default!r}, which is "
            f"no {declared.type_name} in its range; parameters are bool, int, float, str, Literal[...] or one of these "
            "with '| None'."
        )


@cache
def _field_types(component: type) -> dict[str, Any]:
    """Resolve the annotations of the fields alone: class variables may name types imported for type checkers only.

    Once a class, since it takes longer than all else that is asked of a component before it works.
    """
    found: dict[str, Any] = {}
    names = {field.name for field in dataclasses.fields(component)}
    for base in reversed(component.__mro__):
        own = {name: kind for name, kind in inspect.get_annotations(base).items() if name in names}
        if not own:
            continue
        holder = type(base.__name__, (), {"__annotations__": own, "__module__": base.__module__})
        found.update(typing.get_type_hints(holder))
    return found


def convert(owner: str, declared: Parameter, value: Any) -> Value:
    """Return ``value`` as the parameter's type; raise SpecError, in the user's words, if it is not one.

    Text is read as the type asks: ``8/255`` and ``1e-3`` for float, ``true``/``false`` for bool, ``none``
    where None is allowed.
    """
    for kind in _alternatives(declared.type):
        try:
            converted = _as(kind, value)
        except (TypeError, ValueError, KeyError):
            continue
        _check_range(owner, declared, converted)
        _check_text(owner, declared, converted)
        return converted
    shown = str(value) if len(str(value)) <= 200 else f"{str(value)[:197]}..."
    raise SpecError(f"{owner}.{declared.name} takes {declared.type_name}, not '{shown}' ({declared.help}).")


def format_value(name: str, value: Value) -> str:
    """Write a parameter as a user would: radii and step sizes in grey levels, such as ``8/255``."""
    if isinstance(value, float) and ("eps" in name or "step" in name):
        return format_eps(value)
    return "none" if value is None else '""' if value == "" else str(value)


def resolve(owner: str, component: type, values: Mapping[str, Any]) -> dict[str, Value]:
    """Return all parameters of ``component``, ``values`` converted and the rest at their defaults.

    What a component that takes undeclared parameters does not declare is joined, by name, in the one that takes them.
    """
    declared = parameters_of(component)
    if rest := getattr(component, "undeclared", ""):
        others = ",".join(f"{name}={values[name]}" for name in sorted(set(values) - set(declared)))
        values = {name: value for name, value in values.items() if name in declared}
        values[rest] = ",".join(filter(None, (str(values.get(rest, "")), others)))
    for name in values:
        if name not in declared:
            raise SpecError(f"{owner} has no parameter '{name}'; {suggestion(name, declared)}")
    return {
        name: convert(owner, entry, values[name]) if name in values else entry.default
        for name, entry in declared.items()
    }


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        # None first, so that "none" is not read as a str.
        return tuple(sorted(get_args(annotation), key=lambda kind: kind is not type(None)))
    return (annotation,)


def _as(kind: Any, value: Any) -> Value:
    if get_origin(kind) is Literal:
        for choice in get_args(kind):
            if value == choice or str(value) == str(choice):
                return typing.cast(Value, choice)
        raise ValueError
    if kind is type(None):
        if value is None or str(value).lower() == "none":
            return None
        raise ValueError
    if kind is bool:
        if isinstance(value, bool):
            return value
        return _BOOLEANS[_text(value).lower()]
    if isinstance(value, bool):
        raise TypeError
    if kind is int:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError
        return int(value)
    if kind is float:
        return parse_number(value)
    if kind is str:
        return _text(value)
    raise TypeError


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _check_range(owner: str, declared: Parameter, value: Value) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = declared.minimum, declared.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = " and ".join(
            words
            for words in (
                f"at least {low:g}" if low is not None else "",
                f"at most {high:g}" if high is not None else "",
            )
            if words
        )
        raise SpecError(f"{owner}.{declared.name} must be {bounds}, not {value} ({declared.help}).")


def _check_text(owner: str, declared: Parameter, value: Value) -> None:
    """Refuse text that came from bytes which are not text here: no card could hold it."""
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        shown = value.encode("utf-8", "backslashreplace").decode()
        raise SpecError(
            f"{owner}.{declared.name} is '{shown}', which is not UTF-8 as this process reads it; rename the file or "
            "folder, or set PYTHONUTF8=1 if only the locale is at fault."
        )


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_type_name(kind) for kind in get_args(annotation))
    return "none" if annotation is type(None) else str(getattr(annotation, "__name__", annotation))
