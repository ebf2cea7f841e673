"""The command line: ``robench``. Help, list and show import no torch."""

from __future__ import annotations

import os
import sys

# Before torch is imported: spinning OpenMP threads cost small models more time than they save on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main() -> None:
    """Run the command line; bad input ends with a sentence and exit code 2, never with a traceback."""
    from robench.cli.console import any_text

    any_text()
    sys.exit(_run())


def _run() -> int:
    """Run the command line and return its exit code."""
    import click

    from robench.cli.commands import robench
    from robench.errors import RobenchError, unreadable
    from robench.plan import flags_and_arguments as wording
    from robench.runtime.interruption import by_user, reason_of, watching
    from robench.runtime.large_pages import prefer_large_pages

    prefer_large_pages()  # before torch allocates anything
    out = sys.stdout
    with wording.for_command_line(), watching():
        try:
            # Not standalone, click returns the exit code that a command raised as click.exceptions.Exit.
            code: int | None = robench.main(standalone_mode=False, prog_name="robench")
            return code or 0
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except RobenchError as error:
            return _say(error)
        except (KeyboardInterrupt, click.Abort) as error:
            cause = error.__cause__ or error
            if not by_user(cause) and isinstance(cause, KeyboardInterrupt):
                return _say(reason_of(cause))
            click.echo(
                "\nrobench: interrupted. What was finished is stored; the same command goes on from there.",
                err=True,
            )
            return 130
        except SystemExit as error:
            if any(name.endswith("_COMPLETE") and name.startswith("_ROBENCH") for name in os.environ):
                raise  # click's own way out of a completion
            # What click, which then puts another stdout in its place, and rich make of a closed pipe.
            closed = sys.stdout is not out or isinstance(error.__context__, BrokenPipeError)
            return _unread() if closed else _say(reason_of(error))
        except BrokenPipeError:
            return _unread()
        except OSError as error:
            return _say(unreadable(error))


def _unread() -> int:
    """End quietly: the reader of our output (head, less) has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _say(what: object) -> int:
    import click

    click.echo(f"robench: {_printable(str(what))}", err=True)
    return 2


def _printable(text: str) -> str:
    """Return ``text`` without what a terminal would obey: a sentence may quote a file name or a card of anyone."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
