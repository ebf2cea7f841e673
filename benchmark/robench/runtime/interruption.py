"""Tell the user's Ctrl-C from code that ends the program by itself, which no component may do.

``sys.exit()`` and ``raise KeyboardInterrupt`` in a component fail its cell. ``os._exit`` cannot be stopped: it is made
to say so, and to end with an exit code that is not 0. A process that a component forked ends where it leaves the
component's code, and does not go on with the run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from robench.errors import ContractError, RobenchError, unreadable

_leave = os._exit


class _State:
    """Hold what is known of interruptions: one run at a time installs the handlers of a process."""

    depth = 0
    pid = 0
    #: Whether the user's Ctrl-C would be known: else a KeyboardInterrupt of the main thread counts as the user's.
    told = False
    pressed = False


@contextmanager
def watching() -> Iterator[None]:
    """Notice, inside, who interrupts or ends the process."""
    if _State.depth:
        _State.depth += 1
        try:
            yield
        finally:
            _State.depth -= 1
        return
    main = threading.current_thread() is threading.main_thread()
    _State.depth, _State.pid, _State.pressed = 1, os.getpid(), False
    handler = signal.getsignal(signal.SIGINT)
    ours = main and handler is signal.default_int_handler
    # A process in the background (nohup, a shell's &) ignores Ctrl-C: none comes from the user there.
    _State.told = ours or (main and handler is signal.SIG_IGN)
    if ours:
        signal.signal(signal.SIGINT, _press)
    os._exit = _say_and_leave
    try:
        yield
    finally:
        os._exit = _leave
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _State.depth = 0


def by_user(error: BaseException) -> bool:
    """Tell whether an interruption is the user's own."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    return _State.pressed or (not _State.told and threading.current_thread() is threading.main_thread())


def reason_of(error: BaseException) -> RobenchError:
    """Return what a component raised as an error in a sentence; the user's own interruption is raised again."""
    if _State.depth and os.getpid() != _State.pid:
        code = error.code if isinstance(error, SystemExit) else 1
        _leave(code if isinstance(code, int) else int(code is not None))
    if isinstance(error, RobenchError):
        return error
    if by_user(error) or isinstance(error, GeneratorExit):
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        return unreadable(error)
    where = _place(error)
    if isinstance(error, Exception):
        return ContractError(f"{type(error).__name__}: {error} (raised in {where}).")
    return ContractError(
        f"{type(error).__name__}({', '.join(map(repr, error.args))}) was raised in {where}, which would end the whole "
        "program; a component may not do that: let it raise an error that says what is wrong."
    )


@contextmanager
def contained() -> Iterator[None]:
    """Turn what would end the program, inside, into an error; other errors pass."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        raise reason_of(error) from error


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "code without a place"


def _press(number: int, frame: FrameType | None) -> None:
    _State.pressed = True
    signal.default_int_handler(number, frame)


def _say_and_leave(status: int) -> NoReturn:
    if os.getpid() == _State.pid:
        caller = sys._getframe(1)
        where = f"{caller.f_code.co_filename}, line {caller.f_lineno}"
        sys.stderr.write(
            f"\nrobench: {where}, ended the process with os._exit({status}) in the midst of a run; what was finished "
            "is stored, and the cell at hand has no card. Let that code raise an error instead.\n"
        )
        sys.stderr.flush()
        status = status or 1
    _leave(status)
