"""No component ends the program: it fails its cell, or the process says so and does not exit with 0."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from robench.errors import ContractError, DataError
from robench.runtime.interruption import by_user, contained, reason_of, watching


def raised(error):
    """Return the error as it is after it was raised."""
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SystemExit(0), "SystemExit(0) was raised in "),
        (SystemExit(), "SystemExit() was raised in "),
        (KeyboardInterrupt("by code"), "KeyboardInterrupt('by code') was raised in "),
    ],
)
def test_what_would_end_the_program_is_an_error_that_says_where(error, words):
    with watching():
        found = reason_of(raised(error))
    assert isinstance(found, ContractError)
    assert str(found).startswith(words)
    assert "test_interruption.py, line " in str(found)
    assert str(found).endswith("; a component may not do that: let it raise an error that says what is wrong.")


def test_an_error_of_ours_stays_what_it_is_and_any_other_says_where():
    ours = DataError("no images")
    assert reason_of(ours) is ours
    assert str(reason_of(raised(ValueError("x")))).startswith("ValueError: x (raised in ")


def test_a_file_that_cannot_be_read_is_named():
    error = PermissionError(13, "Permission denied", "secret.pt")
    assert str(reason_of(raised(error))) == (
        "secret.pt cannot be read or written (Permission denied); mend its permissions or the disk, or name another "
        "file or folder."
    )


def test_the_users_own_interruption_is_raised_again():
    with watching():
        with pytest.raises(KeyboardInterrupt) as pressed:
            signal.raise_signal(signal.SIGINT)
        assert by_user(pressed.value)
        with pytest.raises(KeyboardInterrupt):
            reason_of(pressed.value)


def test_the_next_run_does_not_remember_it():
    with watching(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with watching():
        assert not by_user(KeyboardInterrupt())


def test_in_the_background_where_ctrl_c_is_ignored_no_interruption_is_the_users():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watching():
            assert not by_user(KeyboardInterrupt())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_a_program_handles_ctrl_c_itself_every_interruption_counts_as_the_users():
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with watching():
            assert by_user(KeyboardInterrupt())
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_put_back():
    before, leave = signal.getsignal(signal.SIGINT), os._exit
    with watching():
        with watching():
            assert signal.getsignal(signal.SIGINT) is not before
        assert os._exit is not leave
    assert signal.getsignal(signal.SIGINT) is before
    assert os._exit is leave


def test_errors_pass_and_exits_are_contained():
    with pytest.raises(ValueError, match="x"), contained():
        raise ValueError("x")
    with pytest.raises(ContractError, match=r"SystemExit\(3\) was raised in"), contained():
        sys.exit(3)


def started(code):
    program = "import os, sys\nfrom robench.runtime.interruption import reason_of, watching\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(("status", "code"), [(0, 1), (3, 3)])
def test_a_process_that_is_ended_says_so_and_is_no_success(status, code):
    done = started(f"with watching():\n    os._exit({status})")
    assert done.returncode == code
    assert f", line 4, ended the process with os._exit({status}) in the midst of a run;" in done.stderr


def test_a_thread_that_ends_the_process_is_no_success_either():
    done = started(
        """
        import threading
        with watching():
            other = threading.Thread(target=os._exit, args=(0,))
            other.start()
            other.join()
        """
    )
    assert done.returncode == 1
    assert "ended the process with os._exit(0)" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_was_forked_ends_where_it_leaves_the_component():
    done = started(
        """
        with watching():
            child = os.fork()
            if child == 0:
                try:
                    sys.exit(0)
                except BaseException as error:
                    reason_of(error)
                    print("still here")
            _, status = os.waitpid(child, 0)
            print("child", os.waitstatus_to_exitcode(status))
            child = os.fork()
            if child == 0:
                os._exit(0)
            _, status = os.waitpid(child, 0)
            print("child", os.waitstatus_to_exitcode(status))
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n")[:2] == ["child 0", "child 0"]
