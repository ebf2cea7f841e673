"""What ``robench doctor`` looks at in the store: its records, its tensors, and whether its locks hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robench.cli.doctor_checks import PATIENCE, Check
from robench.errors import RobenchError

#: Hold the lock that is named until the standard input ends.
HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def stored(root: Path, deep: bool) -> Iterator[Check]:
    """Count what the store holds and check it as a run would: its records, and with ``deep`` its tensors."""
    from robench.evidence.artifact_folder import read_checked
    from robench.evidence.store import Store

    if not root.is_dir():
        yield Check("store", "ok", f"{root} is not there yet; the first run makes it")
        return
    try:
        Store(root)
    except RobenchError as error:
        yield Check("store", "fail", str(error), "Mend the permissions, or choose another folder with --store.")
        return
    counts, damaged = Counter[str](), []
    for path in sorted(root.glob("*/??/*")):
        counts[path.parts[-3]] += 1
        try:
            read_checked(path, tensors=deep)
        except (OSError, ValueError) as error:
            damaged.append((path, str(error)))
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "empty"
    yield Check("store", "ok", f"{root}: {held}; {'all' if deep else 'records'} read (--deep reads tensors too)")
    for path, reason in damaged:
        yield Check("store", "warn", f"{path} is damaged ({reason})", "Delete that folder; a run computes it again.")
    aside = list((root / "tmp").glob("damaged-*"))
    if aside:
        detail = f"{len(aside)} damaged artifacts were set aside in {root / 'tmp'}"
        yield Check("store", "warn", detail, "They were computed again: delete them, and check the disk if they recur.")


def locks(root: Path) -> Iterator[Check]:
    """See that a lock which another process holds in the store's own folder cannot be had here, and then can."""
    from filelock import FileLock, Timeout

    if not (root / "locks").is_dir() or not os.access(root / "locks", os.W_OK):
        return
    file = root / "locks" / f"doctor-{os.getpid()}.lock"
    try:
        with _held_elsewhere(file):
            try:
                FileLock(file, timeout=0).acquire().lock.release()
                held = False
            except Timeout:
                held = True
        FileLock(file, timeout=PATIENCE).acquire().lock.release()
    except (OSError, NotImplementedError, Timeout) as error:
        held, reason = False, f" ({type(error).__name__}: {error})"
    else:
        reason = ""
    finally:
        file.unlink(missing_ok=True)
    if held:
        yield Check("locks", "ok", f"two processes exclude each other in {root / 'locks'}")
        return
    detail = f"two processes do not exclude each other in {root / 'locks'}{reason}"
    yield Check(
        "locks",
        "warn",
        detail,
        "Runs may do one work twice, and no number is harmed; a store on a local disk has locks.",
    )


@contextmanager
def _held_elsewhere(file: Path) -> Iterator[None]:
    """Let another process hold the lock, inside."""
    words = [sys.executable, "-c", HOLD, str(file)]
    other = subprocess.Popen(  # noqa: S603 - this interpreter, fixed words
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        if other.stdout is None or other.stdout.readline() != b"held\n":
            raise OSError("no lock could be taken at all")
        yield
    finally:
        other.communicate(timeout=10)
