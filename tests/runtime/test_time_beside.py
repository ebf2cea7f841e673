"""The time beside the stages, on a clock that is set by hand."""

from __future__ import annotations

import pytest

from robench.runtime.time_beside import TimeBeside


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def beside(clock):
    return TimeBeside(lambda: clock[0])


def test_what_is_inside_counts_once_and_a_stages_own_time_not_at_all(beside, clock):
    with beside.of("weights"):
        clock[0] += 10
        with beside.of("loading"):
            clock[0] += 100
        clock[0] += 30
        beside.less(25)
    assert beside.seconds == {"weights": 15.0, "loading": 100.0}
    assert beside.said() == "Beside the stages, whose time the cards state: loading 2 min, weights 15 s."


def test_an_error_inside_counts_too(beside, clock):
    def fails():
        with beside.of("loading"):
            clock[0] += 61
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert beside.said() == "Beside the stages, whose time the cards state: loading 61 s."


def test_less_than_a_minute_is_not_worth_a_sentence(beside, clock):
    with beside.of("loading"):
        clock[0] += 59.9
    assert beside.said() == ""
