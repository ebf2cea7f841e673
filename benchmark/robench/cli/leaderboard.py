"""``robench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from robench.cli import completers
from robench.cli.output import STDOUT, deliver, ready
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.evidence.attestation import Level


@click.command("leaderboard", cls=Command)
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the pages [default: here]; - prints LEADERBOARD.md instead. With --changes, its file.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 with a diff if a page is not what the cards give.")
@click.option(
    "--changes",
    "base",
    type=click.Path(path_type=Path),
    default=None,
    metavar="BASE",
    help="Write nothing; print, as Markdown, the ranks that change against the cards in BASE, and the cards refused.",
)
@click.option(
    "--require",
    type=click.Choice(["reported", "checked", "rerun"]),
    default="reported",
    show_default=True,
    help="The least evidence that may rank: reported, checked (stored evidence), or rerun (computed again by others).",
)
def leaderboard_command(
    cards: tuple[Path, ...], out: Path | None, check: bool, base: Path | None, require: Level
) -> None:
    """Write LEADERBOARD.md, index.html and leaderboard.json from cards (files or folders); no model is run.

    Every card is weighed again: one whose verdict, id, counts or costs do not follow from what it holds is left out.
    How far a row's evidence was checked, by the attestations beside the cards, stands in its row.

    \b
    robench leaderboard results/cards
    robench leaderboard leaderboard/cards -o leaderboard --check
    robench leaderboard leaderboard/cards --changes base/leaderboard/cards
    """
    from robench.cli.options import warn
    from robench.errors import CardError, SpecError
    from robench_leaderboard import check_leaderboard, read_cards, render_pages, rule_of, write_leaderboard

    if check and out == STDOUT:
        raise SpecError("--check compares pages in a folder, and -o - names the standard output; name the folder.")
    if base is not None:
        from robench_leaderboard.compare.rank_changes import Reading, reading_of, render_changes

        # No folder of cards before the change: every card is new.
        before = reading_of([base], require) if base.exists() else Reading((), ())
        ready(out)
        changes = render_changes(before, reading_of(cards, require))
        if out in (None, STDOUT):
            click.echo(changes, nl=False)
        else:
            deliver(out, changes.encode(), "changes")
        return
    # What is committed has to be whole: there a file that is no card is an error, elsewhere it costs a warning.
    found = read_cards(cards, None if check else warn)
    if not found and not check:
        names = ", ".join(map(str, cards))
        raise CardError(f"There are no cards in {names}, so no page is written; name a folder of cards.")
    rule = rule_of(found, cards, require, warn)
    if out == STDOUT:
        click.echo(render_pages(found, rule)["LEADERBOARD.md"], nl=False)
        return
    out = out or Path()
    if not check:
        click.echo(f"leaderboard: {write_leaderboard(found, out, rule, cards)}")
        return
    difference = check_leaderboard(found, out, rule, cards)
    if difference:
        click.echo(difference)
        click.echo(f"The pages in {out} are not what the cards give; write them with robench leaderboard, as they are.")
        raise click.exceptions.Exit(1)
    click.echo("LEADERBOARD.md, index.html and leaderboard.json are what the cards give.")
