"""``robench compare``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli.output import STDOUT, deliver, file_option, ready
from robench.cli.strict import Command
from robench.errors import CardError


@click.command("compare", cls=Command)
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every image that flipped.")
@file_option("Also write a page (HTML) here")
def compare_command(first: Path, second: Path, as_json: bool, out: Path | None) -> None:
    """Compare two cards, or two folders of cards row by row: paired differences, and which images flipped.

    A results folder of robench run counts as its folder of cards.

    \b
    robench compare results/cards/ONE.json results/cards/OTHER.json
    robench compare before/ after/ -o compare.html
    """
    from rich.console import Console

    from robench.cli.options import warn
    from robench.evidence.judged_card import judged_beside
    from robench_leaderboard import read_cards
    from robench_leaderboard.compare.comparison import compare_cards, compare_sets
    from robench_leaderboard.compare.comparison_views import comparison_html, comparison_json, print_comparison

    ready(out, as_json=as_json)
    for path in (first, second):
        if not path.exists():
            raise CardError(f"{path} does not exist; name two cards or two folders of cards.")
    if first.is_dir() != second.is_dir():
        raise CardError(f"Compare two cards or two folders: of {first} and {second} only one is a folder.")
    if first.is_dir():
        found = compare_sets(read_cards([_cards(first)], warn), read_cards([_cards(second)], warn))
    else:
        found = compare_cards(judged_beside(first), judged_beside(second))
    if as_json:
        click.echo(comparison_json(found), nl=False)
    elif out != STDOUT:
        print_comparison(found, Console(highlight=False))
    if out is not None:
        deliver(out, comparison_html(found).encode(), "page", quiet=as_json)


def _cards(folder: Path) -> Path:
    inside = folder / "cards"
    return inside if inside.is_dir() else folder
