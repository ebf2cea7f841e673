"""Give up work that hangs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from robench.errors import ContractError


@contextmanager
def time_limit(seconds: float | None, what: str) -> Iterator[None]:
    """Raise ContractError inside when ``seconds`` have passed; None, or a thread or system without alarms, waits."""
    able = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not able:
        yield
        return

    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise ContractError(
            f"{what} took longer than {seconds:g} s for one batch and was given up; it never scores as robust. Give it "
            "a longer --timeout, fewer steps, or a smaller --batch-size."
        )

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
