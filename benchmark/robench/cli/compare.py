"""``robench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from robench.cli.options import warn
from robench.cli.output import STDOUT, answering, deliver, file_option, json_option, ready
from robench.cli.strict import Command
from robench.errors import CardError

if TYPE_CHECKING:
    from robench_leaderboard.compare.comparison import Comparison


@click.command("compare", cls=Command)
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FIRST OTHER...")
@json_option
@file_option("Also write a page (HTML), with those flipped images that were kept, here")
def compare_command(cards: tuple[Path, ...], as_json: bool, out: Path | None) -> None:
    """Compare the first card, or folder of cards, with each other: paired differences, and which images flipped.

    Folders are compared row by row; beside a card, a folder stands for its cards of the same test images. A results
    folder of robench run counts as its folder of cards.

    \b
    robench compare results/cards/ONE.json results/cards/OTHER.json
    robench compare results/cards/NONE.json results/cards/*tecoa*.json
    robench compare before/ after/ -o compare.html
    """
    from rich.console import Console

    from robench.evidence.judged_card import cards_folder
    from robench_leaderboard.compare.comparison import joined
    from robench_leaderboard.compare.comparison_views import comparison_html, comparison_json, print_comparison
    from robench_leaderboard.report.report_data import galleries_of

    ready(out, as_json=as_json)
    for path in cards:
        if not path.exists():
            raise CardError(f"{path} does not exist; name two cards or two folders of cards.")
    if len(cards) == 1:
        raise CardError(f"{cards[0]} alone has nothing to be compared with; name two cards or two folders of cards.")
    found = joined(_folders(cards) if all(path.is_dir() for path in cards) else _cards(cards))
    with answering(as_json) as answer:
        answer(comparison_json(found))
    if not as_json and out != STDOUT:
        print_comparison(found, Console(highlight=False))
    if out is not None:
        shown = [card for pair in found.pairs for side in pair.sides for card in side]
        galleries = galleries_of(shown, [cards_folder(path) for path in cards])
        deliver(out, comparison_html(found, galleries).encode(), "page", quiet=as_json)


def _folders(folders: tuple[Path, ...]) -> dict[tuple[str, str], Comparison]:
    """Compare the rows of the first folder with those of each other."""
    from robench.evidence.judged_card import cards_folder
    from robench_leaderboard import read_cards
    from robench_leaderboard.compare.comparison import compare_sets

    sets = [read_cards([cards_folder(folder)], warn) for folder in folders]
    return {
        (str(folders[0]), str(folder)): compare_sets(sets[0], found)
        for folder, found in zip(folders[1:], sets[1:], strict=True)
    }


def _cards(places: tuple[Path, ...]) -> dict[tuple[str, str], Comparison]:
    """Compare the first card with each other; of a folder's, those of other images are left out with a warning."""
    from robench.evidence.judged_card import card_files, judged_beside
    from robench_leaderboard.compare.comparison import compare_cards

    if places[0].is_dir():
        raise CardError(f"{places[0]} is a folder and the others are not all; name the card to compare with first.")
    first, found = judged_beside(places[0]), dict[tuple[str, str], "Comparison"]()
    for path in card_files(places):
        if path.resolve() == places[0].resolve() and path not in places[1:]:
            continue
        try:
            found[str(places[0]), str(path)] = compare_cards(first, judged_beside(path))
        except CardError as error:
            if path in places:
                raise
            warn(f"left out: {error}")
    if not found:
        raise CardError(f"No card in {', '.join(map(str, places[1:]))} is of the test images of {places[0]}.")
    return found
