"""Numbers and names as both the page and the terminal print them."""

from __future__ import annotations

from collections.abc import Mapping

from robench.contracts.threat_model import format_eps
from robench.evidence.card import Card, Scalar
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.attack_outcome import Score
from robench_leaderboard.ranking.board import Board
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.ranking.short_names import LONGEST
from robench_leaderboard.statistics.paired_difference import Difference
from robench_leaderboard.statistics.seed_spread import SeedMean, Spread

NONE = "-"
FEWER = (
    "† not attacked with every attack that other rows of this table met (the details say which); "
    "a worst case over fewer attacks flatters."
)

CERTIFIED = (
    "Certified is the lower end: images of which a certificate says that nothing in the ball fells them. The truth "
    "lies between certified and robust."
)

#: Letters of a name; a stranger's may be of any length.
NAME = 240


def title(row: Row) -> str:
    """Return the row's title, without what all rows share; a long label never hides the seed behind it."""
    return plain(row.short[0], NAME) + row.suffix


def whole_title(row: Row) -> str:
    """Return the row's title with every parameter that was changed."""
    return plain(row.defense, NAME) + row.suffix


def victim(row: Row) -> str:
    """Return the row's victim, without what all rows share."""
    return plain(row.short[1], NAME)


def named_on(row: Row) -> str:
    """Return the row's title and victim."""
    return f"{title(row)} on {victim(row)}"


def whole_victim(board: Board) -> str:
    """Return the label of the victim that all rows of a board have; in a long one a line may break after a comma."""
    return _breakable(board.victims[0])


def dataset(board: Board) -> str:
    """Return the label of a board's dataset; in a long one a line may break after a comma."""
    return _breakable(board.setting.dataset)


def heading(board: Board) -> str:
    """Return what a board is about in one line: dataset, norm and eps, size, n, and its protocol if it follows one."""
    return f"{dataset(board)}: {board.setting.contest}"


def _breakable(label: str) -> str:
    return plain(label.replace(",", ", ") if len(label) > LONGEST else label, NAME)


def shared(board: Board) -> str:
    """Return what the names of the rows leave out; empty if nothing."""
    return f"Alike in all rows: {'; '.join(plain(phrase, 600) for phrase in board.shared)}." if board.shared else ""


def percent(score: Score | None) -> str:
    """Return the accuracy and its interval in percent, such as ``37.4 [33.2, 41.7]``."""
    if score is None:
        return NONE
    low, high = score.interval
    return f"{100 * score.rate:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def rate(score: Score | None) -> str:
    """Return the accuracy in percent, without its interval."""
    return NONE if score is None else f"{100 * score.rate:.1f}"


def robust(row: Row) -> str:
    """Return the headline, marked where the row met fewer attacks than others."""
    return percent(row.headline) + (" †" if row.missing else "")


def gain(row: Row) -> str:
    """Return the signed gain in points, or that the row is what others are compared with."""
    if row.undefended:
        return "reference"
    return NONE if row.gain is None else signed(row.gain)


def gain_interval(row: Row) -> str:
    """Return the gain with its interval, such as ``+21.8 [+17.9, +25.7]``."""
    return "reference" if row.undefended else change(row.gained)


def tax_interval(row: Row) -> str:
    """Return the clean-accuracy tax with its interval."""
    return "reference" if row.undefended else change(row.taxed)


def change(difference: Difference | None) -> str:
    """Return a paired difference in points with its interval, such as ``-1.2 [-3.0, +0.6]``."""
    if difference is None:
        return NONE
    low, high = difference.interval
    return f"{signed(difference.points)} [{signed(low)}, {signed(high)}]"


def signed(points: float) -> str:
    """Return points with their sign, such as ``+21.8``; what rounds to nothing is ``0.0``."""
    return f"{points:+.1f}" if abs(points) >= 0.05 else "0.0"


def spread(found: Spread) -> str:
    """Return mean, standard deviation over seeds and interval, such as ``41.2 (sd 1.3) [38.0, 44.5]``."""
    return f"{100 * found.mean:.1f} (sd {100 * found.deviation:.1f}) [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def seed_mean(found: SeedMean | None) -> str:
    """Return mean and standard deviation over seeds, such as ``91.2 (sd 0.4)``."""
    return NONE if found is None else f"{100 * found.mean:.1f} (sd {100 * found.deviation:.1f})"


def front(row: Row) -> str:
    """Return the costs for which the row is on the Pareto front."""
    return ", ".join(row.front) or NONE


def trainable(row: Row) -> str:
    """Return the number of trainable parameters, of all where the cards say how many those are."""
    return f"{row.trainable:,}" if row.parameters is None else f"{row.trainable:,} of {row.parameters:,}"


def decimal(value: float | None) -> str:
    """Return the value with about three digits."""
    if value is None:
        return NONE
    if value >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def megabytes(octets: int) -> str:
    """Return the memory in units of 10^6 bytes."""
    return f"{octets / 1e6:,.0f}"


def parameters(values: Mapping[str, Scalar]) -> str:
    """Return all parameters, such as ``steps=10, step_size=2/255``."""
    return ", ".join(f"{key}={_value(key, value)}" for key, value in sorted(values.items()))


def _value(key: str, value: Scalar) -> str:
    if not isinstance(value, float):
        return str(value)
    return format_eps(value) if "eps" in key or "step" in key else f"{value:g}"


def software(row: Row) -> list[str]:
    """Return the versions and the machines that the row's cards were made with."""
    return sorted({_software(card) for card in row.cards})


def _software(card: Card) -> str:
    made = card.environment
    packages = ", ".join(f"{name} {version}" for name, version in sorted(made.packages.items()))
    state = ", with uncommitted changes" if made.dirty else ""
    revision = f" at {made.revision[:12]}{state}" if made.revision else ""
    return "; ".join(
        (
            f"robench {made.robench}{revision}",
            f"Python {made.python}",
            packages or "no packages",
            made.platform,
        )
    )
