"""Option types that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from robench.cli import completers
from robench.errors import SpecError
from robench.plugin import WITHOUT

Command = TypeVar("Command", bound=Callable[..., Any])


def split_names(text: str) -> list[str]:
    """Split at commas outside brackets: ``none,tecoa[epochs=5,rank=4]`` is two names."""
    names, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            names.append(text[start:place])
            start = place + 1
    names.append(text[start:])
    return [name.strip() for name in names if name.strip()]


class Names(click.ParamType[list[str]]):
    """Read a comma-separated list; the option may be repeated."""

    name = "name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the list."""
        return value if isinstance(value, list) else split_names(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete component names and their parameters."""
        return completers.names(ctx, param, incomplete)


def joined(values: tuple[list[str], ...]) -> tuple[str, ...]:
    """Return the names of a repeated option as one tuple."""
    return tuple(name for names in values for name in names)


def read_parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    """Read ``role.name=value`` pairs."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or "." not in key:
            raise SpecError(f"-p {pair} is no parameter; write role.name=value, such as -p attack.steps=20.")
        found[key.strip()] = value.strip()
    return found


def read_seeds(names: tuple[str, ...]) -> tuple[int, ...]:
    """Read whole numbers."""
    try:
        return tuple(int(name) for name in names)
    except ValueError:
        raise SpecError(f"--seed takes whole numbers, not '{','.join(names)}'.") from None


def warn(sentence: str) -> None:
    """Say on the error stream what went otherwise than asked, and go on."""
    from robench.evidence.plain_text import plain

    click.echo(f"warning: {plain(sentence, 600)}", err=True)


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
