"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from robench.cli import completers
from robench.cli.values import joined, split_names
from robench.plan.request_values import UNSET
from robench.plugin import WITHOUT

Command = TypeVar("Command", bound=Callable[..., Any])


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


def warn(sentence: str) -> None:
    """Say on the error stream what went otherwise than asked, and go on."""
    from robench.evidence.plain_text import plain

    click.echo(f"warning: {plain(sentence, 600)}", err=True)


def store_option(text: str) -> Callable[[Command], Command]:
    """Return the option that names the store; ``text`` says what this command does with it."""
    return click.option(
        "--store", type=click.Path(path_type=Path), default=None, envvar="ROBENCH_STORE", show_envvar=True, help=text
    )


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
