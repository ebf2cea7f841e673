"""Option types that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from robench.cli import completers
from robench.errors import SpecError
from robench.plan.request_values import EMPTY, UNSET
from robench.plugin import WITHOUT

Command = TypeVar("Command", bound=Callable[..., Any])


def split_names(text: str) -> list[str]:
    """Split at commas outside brackets: ``none,tecoa[epochs=5,rank=4]`` is two names; ValueError for an empty one."""
    names, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            names.append(text[start:place])
            start = place + 1
    names.append(text[start:])
    stripped = [name.strip() for name in names]
    if not all(stripped):
        raise ValueError("empty")
    return stripped


class Names(click.ParamType[list[str]]):
    """Read a comma-separated list; the option may be repeated."""

    name = "name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the list."""
        if isinstance(value, list):
            return value
        try:
            return split_names(value)
        except ValueError:
            self.fail(f"{value!r} has an empty place between its commas ({UNSET}); write name,name.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete component names and their parameters."""
        return completers.names(ctx, param, incomplete)


def joined(values: tuple[list[str], ...]) -> tuple[str, ...]:
    """Return the names of a repeated option as one tuple."""
    return tuple(name for names in values for name in names)


def read_parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read ``role.name=value`` pairs, each named once; an empty text is written ``""``."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        owner, dot, name = key.partition(".")
        if not equals or not owner or not dot or not name:
            raise SpecError(f"-p {pair} is no parameter; write role.name=value, such as -p attack.steps=20.")
        if not value:
            raise SpecError(f"-p {key}= has no value ({UNSET}); give one, or leave -p {key} out for the default.")
        if key in found:
            raise SpecError(f"-p {key} is given twice, {found[key]} and {value}; give it once.")
        found[key] = "" if value in EMPTY else value
    return found


def read_seeds(names: tuple[str, ...]) -> tuple[int, ...]:
    """Read whole numbers from 0, as many digits as a card holds."""
    for name in names:
        if not re.fullmatch(r"[0-9]{1,18}", name):
            shown = ",".join(names) if len(names) < 9 else name
            raise SpecError(
                f"--seed takes whole numbers, not '{shown[:80]}'; write numbers from 0, of at most 18 digits, such as "
                "--seed 0,1."
            )
    return tuple(int(name) for name in names)


def store_option(text: str) -> Callable[[Command], Command]:
    """Return the option that names the store; ``text`` says what this command does with it."""
    return click.option("--store", type=click.Path(path_type=Path), default=None, envvar="ROBENCH_STORE", help=text)


def parameter_option(text: str) -> Callable[[Command], Command]:
    """Return the option that gives components their parameters; ``text`` says whose this command knows."""
    return click.option(
        "-p",
        "--parameter",
        "parameters",
        multiple=True,
        metavar="ROLE.NAME=VALUE",
        shell_complete=completers.parameters,
        help=text,
    )


def _leave_out(_ctx: click.Context, _param: click.Parameter, values: tuple[list[str], ...]) -> None:
    """Tell the catalog through the environment, so that processes a run starts leave the same plugins out."""
    if values:
        os.environ[WITHOUT] = ",".join([*filter(None, [os.environ.get(WITHOUT)]), *joined(values)])


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help="cpu, cuda, cuda:1, mps, xpu, or auto, which is cuda or cpu.",
)

without_option = click.option(
    "--without",
    type=Names(),
    multiple=True,
    expose_value=False,
    is_eager=True,
    callback=_leave_out,
    metavar="PLUGIN,...",
    help=f"Run without these plugins or distributions [also: ${WITHOUT}].",
)
