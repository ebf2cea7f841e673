"""``robench submit``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli.options import device_option, store_option
from robench.cli.strict import Command

MARKS = {True: "ok", False: "WRONG", None: "not at hand"}


@click.command("submit", cls=Command)
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CARD...")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("leaderboard/cards"),
    show_default=True,
    help="Folder of the leaderboard's cards.",
)
@click.option("--replace", is_flag=True, help="Put the card in the place of one of the same cell.")
@store_option("Folder that holds the artifacts [default: the user's cache folder].")
@device_option
def submit_command(cards: tuple[Path, ...], folder: Path, replace: bool, store: Path | None, device: str) -> None:
    """Check cards and put them into a leaderboard, under their canonical names.

    Each is checked against the schema and its own counts, its gate, the id that this installation gives its cell, and
    the artifacts that the store has. If one is refused, none is written. Nothing else is changed and nothing is sent.

    \b
    robench submit results/cards/*tecoa*.json
    robench submit CARD.json --to ../their-repository/leaderboard/cards
    """
    from robench.errors import CardError
    from robench.evidence.card_file import read
    from robench.evidence.judged_card import cards_in
    from robench.evidence.plain_text import plain
    from robench.evidence.store import default_root
    from robench.runtime.progress_bars import terminal
    from robench.verify.submit import check_folder, examine, place

    found = [(path, read(path)) for path in cards]
    check_folder(folder)
    # A row is judged whole: by the cards that are there, and by all that are to join them.
    beside = {card.id: card for card in [*cards_in(folder), *(card for _, card in found)]}
    with terminal() as progress:
        for path, card in found:
            click.echo(f"{path}:")
            for finding in examine(card, store or default_root(), device, progress, beside.values()):
                click.echo(f"  {MARKS[finding.good]:12}{finding.what}: {plain(finding.detail, 600)}")
                if finding.good is False:
                    raise CardError(f"{path} is not taken: {finding.what}: {finding.detail}")
    for path in place([card for _, card in found], folder, replace):
        click.echo(f"written: {path}")
    click.echo(
        "Next: robench leaderboard over that folder, commit its cards and pages, and open a pull request. The check "
        "there regenerates the pages, refuses any that differ, and says which ranks the cards change; it runs no model."
    )
