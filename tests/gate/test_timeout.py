"""An attack that hangs fails its cell, wherever it hangs, and nothing else."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from robench.api import CellsFailed
from robench.errors import ContractError
from robench.runtime.timeout import time_limit

from ..grey import accused, attack, corner


def sleeping(when):
    """Return an attack that hangs when ``when(task)`` holds."""

    def craft(model, images, labels, task):
        if when(task):
            time.sleep(60)
        return corner(model, images, labels, task)

    return attack("sleepy", craft)


def test_an_attack_that_hangs_fails_its_cell_and_the_others_stand(grey):
    with pytest.raises(CellsFailed) as error:
        grey.run(sleeping(lambda task: True), attack=["steps", "sleepy"], eps="8/255", timeout=0.5, gate="quick")

    assert [card.cell.attack.name for card in error.value.cards] == ["steps"]
    assert (
        "sleepy took longer than 0.5 s for one batch and was given up; it never scores as robust. Give it a longer "
        "timeout, fewer steps, or a smaller batch_size." in str(error.value)
    )


def test_an_attack_that_hangs_at_eps_zero_is_given_up_by_the_gate_too(grey):
    with pytest.raises(
        ContractError, match=r"sleepy fails with eps = 0 \(ContractError: sleepy took longer than 0\.5 s"
    ):
        grey.run(sleeping(lambda task: task.threat.eps == 0), attack="sleepy", eps="8/255", timeout=0.5, gate="quick")


def test_an_attack_that_hangs_at_a_radius_nobody_asked_for_is_not_at_fault(grey):
    made = sleeping(lambda task: task.threat.eps > 0.9)
    (card,) = grey.run(made, attack="sleepy", eps="8/255", timeout=0.5)

    assert not accused(card)


def test_the_alarm_is_put_back_as_it_was():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(ContractError, match=r"work took longer than 0\.05 s"), time_limit(0.05, "work"):
        time.sleep(10)

    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_without_a_limit_or_outside_the_main_thread_it_waits():
    done = []

    def work():
        with time_limit(0.01, "work"):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    with time_limit(None, "work"):
        done.append(True)

    assert done == [True, True]
