"""Where a command writes: ``-o FILE``, ``-o FOLDER``, and ``-o -``, which is the standard output."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

STDOUT = Path("-")

#: Version of the shapes that ``--json`` prints: raised where a field goes or means something else, not where one comes.
FORMAT = 1


class Folder(click.Path):
    """Take the name of a folder; ``instead`` says what prints, since a folder does not go to the standard output."""

    def __init__(self, instead: str, *, file_okay: bool = True) -> None:
        super().__init__(path_type=Path, file_okay=file_okay)
        self._instead = instead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if str(value) == "-":
            self.fail(
                f"- is the standard output, and this command writes files into a folder; name one (./- is a folder of "
                f"that name), {self._instead}.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def printed_option(command: Command) -> Command:
    """Add ``-o FILE`` to a command that prints: what it would print is written there, whole or not at all."""
    return click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path),
        default=None,
        expose_value=False,
        callback=_instead_of_printing,
        metavar="FILE",
        help="Write what is printed into this file [default: -, the standard output].",
    )(command)


def file_option(text: str, *names: str) -> Callable[[Command], Command]:
    """Return ``-o FILE`` for a command that makes a file beside what it prints; ``text`` says which."""
    return click.option(
        "-o", *names, "--out", "out", type=click.Path(path_type=Path), default=None, metavar="FILE",
        help=f"{text}; - is the standard output.",
    )  # fmt: skip


def json_option(command: Command) -> Command:
    """Add ``--json``; docs/command-line.md has the shape of each command's answer."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else (docs/command-line.md).")(
        command
    )


@contextmanager
def answering(as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that prints the answer as JSON, if it is wanted.

    Then everything else that is printed inside, by plugins and libraries too, goes to the error stream.
    """
    stdout = sys.stdout

    def answer(values: dict[str, Any]) -> None:
        if as_json:
            stdout.write(json.dumps({"format": FORMAT, **values}, indent=1, ensure_ascii=True, allow_nan=False) + "\n")
            stdout.flush()

    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        yield answer


def ready(out: Path | None, *, as_json: bool = False, binary: str = "") -> None:
    """See, before any work, that ``-o`` can be written.

    Args:
        out: the file, ``-``, or None.
        as_json: whether JSON goes to the standard output already.
        binary: what the file is, if its bytes do not belong on a terminal.

    Raises:
        SpecError: the standard output is taken, or a terminal that the bytes would garble.
        StoreError: the file cannot be written.
    """
    from robench.errors import SpecError
    from robench.evidence.files import ready_file

    if out is None:
        return
    if out != STDOUT:
        ready_file(out)
    elif as_json:
        raise SpecError("Both --json and -o - write to the standard output; name a file with -o.")
    elif binary and sys.stdout.isatty():
        raise SpecError(f"-o - would write the bytes of a {binary} to the terminal; name a file, or add > FILE.")


def deliver(out: Path, content: bytes, what: str = "", *, quiet: bool = False) -> None:
    """Write a finished file, or the standard output; say what is where, ``quiet`` on the error stream."""
    from robench.evidence.files import write_whole

    if out == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    write_whole(out, content)
    if what:
        click.echo(f"{what}: {out}", err=quiet)


def _instead_of_printing(ctx: click.Context, _param: click.Parameter, out: Path | None) -> None:
    if out is None or out == STDOUT or ctx.resilient_parsing:
        return
    from robench.evidence.files import ready_file

    ready_file(out)
    ctx.with_resource(_into(out))


@contextmanager
def _into(out: Path) -> Iterator[None]:
    """Keep what is printed inside and write it to ``out``, whatever the exit code says; nothing after an error."""
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            yield
    except click.exceptions.Exit:
        _write(out, text.getvalue())
        raise
    _write(out, text.getvalue())


def _write(out: Path, text: str) -> None:
    from robench.evidence.files import write_whole

    write_whole(out, text.encode())
    click.echo(f"written: {out}", err=True)
