"""Show a comparison in a terminal, as JSON, and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from markupsafe import Markup

from robench.evidence.gallery import Gallery
from robench_leaderboard.compare.comparison import Comparison, Flips, Pair, Top5
from robench_leaderboard.compare.flipped_pictures import flipped_images
from robench_leaderboard.render import formatting
from robench_leaderboard.render.html import environment
from robench_leaderboard.render.to_json import accuracy, change

if TYPE_CHECKING:
    from rich.console import Console

#: So many flipped images are named in the terminal and on the page; the JSON names all.
MOST_NAMED = 60


def print_comparison(found: Comparison, console: Console) -> None:
    """Print each pair with its differences, and for few pairs the images that flipped."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for pair in found.pairs:
        console.print(Text(pair.title, "bold"))
        for line in pair.differs:
            console.print(Text(f"  not the same: {line}"))
        table = Table("", "first %", "second %", "difference", "p", "lost", "won", box=box.SIMPLE_HEAD)
        for cells in _table(pair):
            table.add_row(*map(Text, cells))
        console.print(table)
        console.print(Text(verdict(pair)))
        if len(found.pairs) == 1:
            for line in flipped(pair):
                console.print(Text(line), soft_wrap=True)
    for side, titles in (("first", found.only_first), ("second", found.only_second)):
        for title in titles:
            console.print(Text(f"only in the {side}: {title}"))
    console.print(
        "Differences are second minus first, in points, with Tango's 95 % interval; p is McNemar's, exact.", style="dim"
    )


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON values, all flipped images named by their place in the test set."""
    raw = {
        "pairs": [_as_json(pair) for pair in found.pairs],
        "only_first": found.only_first,
        "only_second": found.only_second,
    }
    values: dict[str, Any] = msgspec.to_builtins(raw)
    return values


def comparison_html(found: Comparison, galleries: Mapping[str, Gallery] | None = None) -> str:
    """Return the comparison as one self-contained page, with the flipped images that the cards' galleries kept."""
    pairs = [
        (pair, [(cells[0], cells) for cells in _table(pair)], flipped_images(pair, galleries or {}))
        for pair in found.pairs
    ]
    template = environment().get_template("compare.html.j2")
    return template.render(pairs=pairs, found=found, verdict=verdict, flipped=flipped, address=Markup)


def verdict(pair: Pair) -> str:
    """Say in a sentence whether the two are told apart."""
    if pair.robust is None:
        return "One of the two has no white-box attack, so there is no robust accuracy to compare."
    answer = "are told apart" if pair.significant else "are not told apart"
    return f"The two {answer} in {pair.measure} (exact McNemar, Holm over the pairs, 5 %)."


def flipped(pair: Pair) -> list[str]:
    """Return a line for each kind of flip that happened."""
    found = []
    for name, flips in _lines(pair):
        for what, places in (("lost", flips.lost), ("won", flips.won)):
            if places:
                found.append(f"{name}, {what}: images {_places(places)}")
    return found


def _places(places: Sequence[int]) -> str:
    shown = ", ".join(map(str, places[:MOST_NAMED]))
    return shown + (f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else "")


def _lines(pair: Pair) -> list[tuple[str, Flips]]:
    return [("clean accuracy", pair.clean)] + ([(pair.measure, pair.robust)] if pair.robust else [])


def _table(pair: Pair) -> list[tuple[str, ...]]:
    """Return a line for each accuracy, top-5 below top-1."""
    top5 = [("clean top-5", pair.clean_top5), (f"{pair.measure}, top-5", pair.robust_top5)]
    five = [_top5_cells(name, found) for name, found in top5 if found is not None]
    return [*(_cells(name, flips) for name, flips in _lines(pair)), *five]


def _top5_cells(name: str, found: Top5) -> tuple[str, ...]:
    # Cards count the images whose label is among the five highest, and do not name them: none is known to have flipped.
    shown = (formatting.percent(found.first), formatting.percent(found.second), formatting.signed(found.points))
    return (name, *shown, formatting.NONE, formatting.NONE, formatting.NONE)


def _cells(name: str, flips: Flips) -> tuple[str, ...]:
    return (
        name,
        formatting.percent(flips.first),
        formatting.percent(flips.second),
        formatting.change(flips.difference),
        f"{flips.difference.p_value:.2g}",
        f"{len(flips.lost):,}",
        f"{len(flips.won):,}",
    )


def _as_json(pair: Pair) -> dict[str, Any]:
    return {
        "paths": pair.paths,
        "title": pair.title,
        "differs": pair.differs,
        "measure": pair.measure,
        "significant": pair.significant,
        "clean": _flips_json(pair.clean),
        "robust": None if pair.robust is None else _flips_json(pair.robust),
        "clean_top5": _top5_json(pair.clean_top5),
        "robust_top5": _top5_json(pair.robust_top5),
    }


def _top5_json(found: Top5 | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"first": accuracy(found.first), "second": accuracy(found.second), "points": round(found.points, 4)}


def _flips_json(flips: Flips) -> dict[str, Any]:
    return {
        "first": accuracy(flips.first),
        "second": accuracy(flips.second),
        "difference": change(flips.difference),
        "lost": flips.lost,
        "won": flips.won,
    }
