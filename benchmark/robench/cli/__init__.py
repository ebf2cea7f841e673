"""The command line: ``robench``. Help, list and show import no torch."""

from __future__ import annotations

import os
import sys

# Before torch is imported: spinning OpenMP threads cost small models more time than they save on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    """Run the command line; bad input ends with a sentence and exit code 2, never with a traceback."""
    import click

    from robench.cli.commands import robench
    from robench.errors import RobenchError

    try:
        # Not standalone, click returns the exit code that a command raised as click.exceptions.Exit.
        sys.exit(robench.main(standalone_mode=False, prog_name="robench"))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except RobenchError as error:
        click.echo(f"robench: {_printable(str(error))}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "\nrobench: interrupted. What was finished is stored; the same command goes on from there.",
            err=True,
        )
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _printable(text: str) -> str:
    """Return ``text`` without what a terminal would obey: a sentence may quote a file name or a card of anyone."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
