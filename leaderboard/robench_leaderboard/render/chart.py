"""What a chart shows, apart from how it is drawn: pages and figure files draw the same plots."""

from __future__ import annotations

from dataclasses import dataclass

from robench_leaderboard.ranking.attack_outcome import Score

Interval = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Name one direction of a plot; percentages run to 100 at most."""

    label: str
    percent: bool = False
    #: Start at zero even if no value is near it.
    zero: bool = False
    #: Values apart by orders of magnitude get a logarithmic axis, with a place of its own for 0.
    cost: bool = False
    #: What the values are called where they are not numbers, such as ``8/255``.
    names: tuple[tuple[float, str], ...] = ()
    #: The same at length, where a figure of its own has room for them and a page's does not.
    spelled: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Mark:
    """Be one point, with the interval in either direction where there is one."""

    x: float
    y: float
    across: Interval | None = None
    upright: Interval | None = None


@dataclass(frozen=True)
class Series:
    """Be the marks that share a name, a colour (``tone``) and a dash; ``joined`` by a line or not."""

    name: str
    tone: int
    marks: tuple[Mark, ...]
    dash: int = 0
    joined: bool = False


@dataclass(frozen=True)
class Plot:
    """Be one chart.

    Attributes:
        key: a file name without its ending; unique in a report.
        about: what kind of chart it is.
        title: what of it is shown, in a line.
        says: the reading of it, for who cannot see it.
        front: the corners of a staircase behind the marks.
        left_out: series that were dropped, so that the others can be read.
    """

    key: str
    about: str
    title: str
    says: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    front: tuple[tuple[float, float], ...] = ()
    left_out: int = 0


CLEAN = Axis("clean accuracy, %", percent=True)
ROBUST = Axis("robust accuracy, %", percent=True, zero=True)


def percentages(score: Score) -> tuple[float, Interval]:
    """Return an accuracy and its interval in percent."""
    low, high = score.interval
    return 100 * score.rate, (100 * low, 100 * high)
