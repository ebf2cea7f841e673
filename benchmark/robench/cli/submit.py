"""``robench submit``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli.options import device_option, store_option
from robench.cli.output import Folder
from robench.cli.strict import Command

MARKS = {True: "ok", False: "WRONG", None: "not at hand"}


@click.command("submit", cls=Command)
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CARD...")
@click.option(
    "-o",
    "--to",
    "folder",
    type=Folder("such as -o leaderboard/cards"),
    default=Path("leaderboard/cards"),
    show_default=True,
    help="Folder of the leaderboard's cards.",
)
@click.option("--replace", is_flag=True, help="Put the card in the place of one of the same cell.")
@click.option("--reported", is_flag=True, help="Also take a card without evidence at hand; its row says so.")
@click.option("--by", default="", metavar="NAME", help="Who checked the evidence, in the attestation beside the card.")
@store_option("Folder that holds the artifacts [default: the user's cache folder].")
@device_option
def submit_command(
    cards: tuple[Path, ...],
    folder: Path,
    replace: bool,
    reported: bool,
    by: str,
    store: Path | None,
    device: str,
) -> None:
    """Check cards, or bundles, and put the cards into a leaderboard, under their canonical names.

    Each is weighed again from the figures that it holds, and checked against its gate, the id that this installation
    gives its cell, and the artifacts in the store or the bundle; that these were checked is attested beside the card.
    A card whose evidence is not at hand is only taken with --reported, and ranks as that. If one is refused, none is
    written. Nothing else is changed and nothing is sent.

    \b
    robench submit results/cards/*tecoa*.json
    robench submit CARD.zip
    robench submit CARD.json --to ../their-repository/leaderboard/cards
    """
    from robench.api import choose_device
    from robench.errors import CardError
    from robench.evidence.judged_card import cards_in
    from robench.evidence.plain_text import plain
    from robench.evidence.store import default_root
    from robench.runtime.progress_bars import terminal
    from robench.verify.attest import attest, attestation, lacking
    from robench.verify.check_card import Subject
    from robench.verify.submit import check_folder, examine, place

    found = [Subject(path) for path in cards]
    check_folder(folder)
    # A row is judged whole: by the cards that are there, and by all that are to join them.
    beside = {card.id: card for card in [*cards_in(folder), *(subject.card for subject in found)]}
    statements, chosen = {}, choose_device(device)
    with terminal() as progress:
        for subject in found:
            click.echo(f"{subject.path}:")
            seen = []
            for finding in examine(subject, store or default_root(), chosen, progress, beside.values()):
                seen.append(finding)
                click.echo(f"  {MARKS[finding.good]:12}{finding.what}: {plain(finding.detail, 600)}")
                if finding.good is False:
                    raise CardError(f"{subject.path} is not taken: {finding.what}: {finding.detail}")
            if not (what := lacking(seen)):
                statements[subject.card.id] = attestation(subject.card, seen, "evidence", chosen, by)
            elif not reported:
                raise CardError(
                    f"{subject.path} is not taken: its numbers were checked against no evidence ({what}: not at hand). "
                    "Give its store with --store, or a bundle; or submit it as what it is, with --reported."
                )
    for subject, path in zip(found, place([subject.card for subject in found], folder, replace), strict=True):
        one = statements.get(subject.card.id)
        click.echo(f"written: {path} ({'evidence checked' if one else 'reported: no evidence was checked'})")
        if one is not None:
            click.echo(f"attested: {attest(one, folder)}")
    click.echo(
        "Next: robench leaderboard over that folder, commit its cards and pages, and open a pull request. The check "
        "there regenerates the pages, refuses any that differ, and says which ranks the cards change; it runs no model."
    )
