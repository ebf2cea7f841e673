"""``-v`` and ``-vv``: what a command loads, finds in the store, computes and waits for, said on the error stream."""

from __future__ import annotations

import logging
import sys

import click

from robench.evidence.plain_text import plain

#: The logger of all of robench; each module logs under its own name below it.
LOGGER = "robench"


class _Harmless(logging.Formatter):
    """Keep a line a line: what is logged may quote a file name, a plugin or a card of anyone."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without what a terminal would obey."""
        return plain(super().format(record), 1000)


def verbose_option() -> click.Option:
    """Return ``-v``, which may be given twice."""
    return click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        callback=_show,
        help="Log to the error stream what is loaded, stored, computed and waited for; -vv: in detail.",
    )


def _show(ctx: click.Context, _param: click.Parameter, times: int) -> None:
    """Show the log while the command runs."""
    if not times or ctx.resilient_parsing:
        return
    logger, handler = logging.getLogger(LOGGER), _handler()
    before = logger.level
    logger.setLevel(logging.INFO if times == 1 else logging.DEBUG)
    logger.addHandler(handler)

    def quiet() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    ctx.call_on_close(quiet)


def _handler() -> logging.Handler:
    """Return rich's handler in a terminal, above the bars; elsewhere one that writes a line a record, never wrapped."""
    if not sys.stderr.isatty():
        plainly = logging.StreamHandler()
        plainly.setFormatter(_Harmless("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        return plainly
    from rich.console import Console
    from rich.highlighter import NullHighlighter
    from rich.logging import RichHandler

    shown = RichHandler(console=Console(stderr=True), show_path=False, highlighter=NullHighlighter(), keywords=[])
    shown.setFormatter(_Harmless("%(message)s"))
    return shown
