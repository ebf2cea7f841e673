"""Give up work that hangs."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from robench.errors import ContractError


@contextmanager
def time_limit(seconds: float | None, what: str, batches: int = 1) -> Iterator[None]:
    """Raise ContractError inside when ``seconds`` have passed for each of so many batches.

    None, or a thread other than the main one, waits.

    Where the system has no alarms (Windows), a second thread interrupts the first between two lines of Python: a call
    into a library that hangs is given up when it returns.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
    elif hasattr(signal, "setitimer"):
        with _alarm(seconds, what, batches):
            yield
    else:
        with _watched(seconds, what, batches):
            yield


@contextmanager
def _alarm(seconds: float, what: str, batches: int) -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise _too_long(seconds, what, batches)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds * batches)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _TimeUp(BaseException):
    """Interrupt work from another thread; no Exception, so that the work does not swallow it."""


@contextmanager
def _watched(seconds: float, what: str, batches: int) -> Iterator[None]:
    worker, over, rung, turn = threading.get_ident(), threading.Event(), threading.Event(), threading.Lock()

    def watch() -> None:
        if over.wait(seconds * batches):
            return
        with turn:
            if not over.is_set():
                rung.set()
                _raise_in(worker, _TimeUp)

    threading.Thread(target=watch, daemon=True).start()
    try:
        try:
            yield
        finally:
            with turn:
                over.set()
            if rung.is_set():
                _raise_in(worker, None)  # what has rung and was not heard must not be heard later
    except _TimeUp:
        raise _too_long(seconds, what, batches) from None
    if rung.is_set():
        raise _too_long(seconds, what, batches)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    given = ctypes.py_object(error) if error is not None else ctypes.py_object()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)


def _too_long(seconds: float, what: str, batches: int) -> ContractError:
    of = "one batch" if batches == 1 else f"each of {batches} batches"
    return ContractError(
        f"{what} took longer than {seconds:g} s for {of} and was given up; it never scores as robust. Give it a "
        "longer --timeout, fewer steps, or a smaller --batch-size."
    )
