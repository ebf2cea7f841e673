"""``robench leaderboard``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers


@click.command("leaderboard")
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder of LEADERBOARD.md [default: here].",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 with a diff if the page is not what the cards give.")
def leaderboard_command(cards: tuple[Path, ...], out: Path, check: bool) -> None:
    """Write LEADERBOARD.md from cards (files or folders); no model is run.

    \b
    robench leaderboard results/cards
    robench leaderboard leaderboard/cards -o leaderboard --check
    """
    from robench_leaderboard import check_leaderboard, read_cards, write_leaderboard

    found = read_cards(cards)
    if not check:
        click.echo(f"leaderboard: {write_leaderboard(found, out)}")
        return
    difference = check_leaderboard(found, out)
    if difference:
        click.echo(difference)
        raise click.exceptions.Exit(1)
    click.echo("LEADERBOARD.md is what the cards give.")
