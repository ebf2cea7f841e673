"""Say an error in the words of its reader: options on the command line, arguments in Python.

Errors are written once, with options (``--gate-images 0``, ``-p attack.steps=20``). The command line shows them as they
are; :func:`robench.run` and :func:`robench.evaluate` turn them into arguments on the way out (``gate_images=0``,
``parameters={"attack.steps": 20}``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from robench.errors import RobenchError

#: Options that are arguments of robench.run -> the argument. Any other option exists on the command line alone.
ARGUMENTS = {
    "dataset": "dataset",
    "train-dataset": "train_dataset",
    "victim": "victim",
    "defense": "defense",
    "attack": "attack",
    "surrogate": "surrogate",
    "certificate": "certificate",
    "eps": "eps",
    "norm": "norm",
    "precision": "precision",
    "n": "n",
    "seed": "seed",
    "device": "device",
    "batch-size": "batch_size",
    "gate": "gate",
    "gate-images": "gate_images",
    "gate-cost": "gate_cost",
    "timeout": "timeout",
    "offline": "offline=True",
    "compile": "compiled=True",
    "no-prepare": "prepared=False",
    "store": "store",
    "keep-images": "keep_images",
    "shard": "shard",
    "no-compute": "compute=False",
    "label": "label",
    "name": "name",
}

#: Options that are only ever written with their value.
_VALUED = {"device", "gate", "precision"}
_VERBS = {"is", "takes"}

_NUMBER = r"[-+]?\d[\d_.]*(?:e[-+]?\d+)?(?:/\d+(?:\.\d+)?)?"
_VALUE = rf"'[^']*'|{_NUMBER}|nan|-?inf|self|none|[A-Z]{{2,}}\b"
_OPTION = re.compile(rf"--(?P<name>[a-z][a-z-]*)(?:[ =](?:(?P<value>{_VALUE})(?![\w/]))|[ =](?P<word>[^\s,;]+))?")
_PARAMETERS = re.compile(r"-p (?:[\w.-]+)(?:=(?:'[^']*'|[^\s;]*[^\s;.,)]))?(?: -p (?:[\w.-]+)=(?:[^\s;]*[^\s;.,)]))*")
_ONE = re.compile(r"-p (?P<key>[\w.-]+)(?:=(?P<value>.*?))?(?= -p |$)")

_at_command_line = False


@contextmanager
def for_command_line() -> Iterator[None]:
    """Leave errors as they are written, inside: the user typed options."""
    global _at_command_line
    before, _at_command_line = _at_command_line, True
    try:
        yield
    finally:
        _at_command_line = before


@contextmanager
def for_python() -> Iterator[None]:
    """Turn the options in an error that leaves here into arguments, unless the command line shows it."""
    try:
        yield
    except RobenchError as error:
        translate(error)
        raise


def translate(error: RobenchError) -> RobenchError:
    """Return the same error, which now speaks of arguments, unless the command line shows it."""
    if not _at_command_line and error.args and isinstance(error.args[0], str):
        error.args = (in_python(error.args[0]), *error.args[1:])
    return error


def in_python(text: str) -> str:
    """Return ``text`` with arguments of :func:`robench.run` in place of options."""
    return _OPTION.sub(_argument, _PARAMETERS.sub(_parameters, text))


def _parameters(found: re.Match[str]) -> str:
    pairs = [(one["key"], one["value"]) for one in _ONE.finditer(found[0])]
    if any(value is None for _, value in pairs):
        return " and ".join(f"'{key}'" for key, _ in pairs)
    return f"parameters={{{', '.join(f'{_quoted(key)}: {_literal(value)}' for key, value in pairs)}}}"


def _argument(found: re.Match[str]) -> str:
    name, value, word = found["name"], found["value"], found["word"]
    if name not in ARGUMENTS:
        return found[0]
    argument = ARGUMENTS[name]
    if value is not None:
        return f"{argument}={_literal(value)}"
    if word is not None and name in _VALUED and word not in _VERBS:
        stripped = word.rstrip(".:)")
        return f"{argument}={_literal(stripped)}{word[len(stripped) :]}"
    return argument + found[0][2 + len(name) :]


def _literal(value: str) -> str:
    plain = value.startswith("'") or re.fullmatch(r"[-+]?\d[\d_]*(\.\d+)?(e[-+]?\d+)?", value) or value.isupper()
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    return f'"{value}"'
