"""``robench verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robench.cli import completers
from robench.cli.options import device_option, parameter_option, store_option
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command, WholeNumber
from robench.cli.values import read_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robench.verify.repetition import Finding

#: Exit code where neither a store nor a re-run had anything to compare the card with.
NOTHING_COMPARED = 3

#: What --json says of a card until something is found.
UNCHECKED: dict[str, Any] = {"outcome": None, "findings": [], "attested": None, "error": None}


@click.command("verify", cls=Command)
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.option("--rerun", is_flag=True, help="Compute the cell again from scratch, in an empty store.")
@store_option("Folder that holds the artifacts [default: the user's cache folder].")
@device_option
@parameter_option("Where a file or folder of the card lies here, such as dataset.path=photos.")
@click.option("--trust-code", is_flag=True, help="Run Python, TorchScript or exported files that the card names.")
@click.option(
    "--attest",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="FOLDER",
    help="Say what was found in FOLDER/attestations, for a leaderboard of the cards there [--rerun: beside the card].",
)
@click.option("--no-attest", is_flag=True, help="Write nothing.")
@click.option("--by", default="", metavar="NAME", help="Who says so, in the attestation [default: nobody is named].")
@click.option("--sample", type=WholeNumber(1, "2"), default=None, help="Take so many of the cards, drawn by --seed.")
@click.option("--seed", default="0", show_default=True, metavar="TEXT", help="What --sample draws by.")
@json_option
@printed_option
def verify_command(
    cards: tuple[Path, ...],
    rerun: bool,
    store: Path | None,
    device: str,
    parameters: tuple[str, ...],
    trust_code: bool,
    attest: Path | None,
    no_attest: bool,
    by: str,
    sample: int | None,
    seed: str,
    as_json: bool,
) -> None:
    """Check cards (or folders of them) against their stored evidence, or bundles against what is in them.

    Nothing in a card is executed. Every card is weighed again from the figures that it holds. Then its numbers, costs
    and images are held to the store, and the defended victim is asked again; of a bundle (robench bundle) everything is
    in the file, and no model or plugin is needed. It ends in one of three words: a card is identical, repeats within
    rounding (another processor, thread count or batch size rounds otherwise; docs/numbers.md states how much that may
    change), or does not repeat. What is not in the store is "not at hand".

    Exit code 0 if all are identical or repeat within rounding, 1 if one does not, 3 if nothing could be compared.

    \b
    robench verify results/cards/CARD.json
    robench verify CARD.zip                           a bundle: executes nothing
    robench verify CARD.json --rerun                  from scratch, with the same attacks
    robench verify CARD.json --rerun -p dataset.path=photos
    robench verify CARD.json --rerun --trust-code     also where it names a Python file: read that first
    """
    from robench.api import choose_device
    from robench.errors import RobenchError
    from robench.plan.local_places import point_card
    from robench.runtime.progress_bars import terminal
    from robench.verify.attest import attest as write_attestation
    from robench.verify.attest import attestation, lacking
    from robench.verify.check_card import Subject, check_card, draw
    from robench.verify.repetition import OTHER, word

    paths = draw(cards, sample, seed)
    chosen, outcomes = choose_device(device), []
    subjects = [Subject(path) for path in paths]
    for subject in subjects:
        point_card(subject.card, read_parameters(parameters))  # one that contradicts itself ends the command
    listed: list[dict[str, Any]] = []
    with answering(as_json) as answer, terminal() as progress:
        for path, subject in zip(paths, subjects, strict=True):
            if sample is not None:
                click.echo(f"{path}:")
            listed.append({"path": str(path), "id": subject.card.id, **UNCHECKED})
            try:
                found = check_card(subject, store, chosen, progress, rerun=rerun, trust=trust_code, say=_say)
            except RobenchError as error:
                if len(paths) == 1:
                    raise
                click.echo(f"{path} could not be checked here: {error}")
                outcomes.append("")
                listed[-1]["error"] = str(error)
                continue
            outcomes.append(word(found.findings))
            _conclude(path, found.findings, outcomes[-1])
            listed[-1] |= {"outcome": outcomes[-1] or None, "findings": list(map(_finding_json, found.findings))}
            place = attest or (path.absolute().parent if rerun else None)
            if place is None or no_attest or not outcomes[-1]:
                continue
            if not rerun and (what := lacking(found.findings)):
                click.echo(f"Nothing is attested: these were not at hand: {what}.")
                continue
            how = "rerun" if rerun else "evidence"
            one = attestation(subject.card, found.findings, how, chosen, by, found.again)  # type: ignore[arg-type]
            listed[-1]["attested"] = str(write_attestation(one, place))
            click.echo(f"attested: {listed[-1]['attested']}")
        answer({"cards": listed})
    if OTHER in outcomes:
        raise click.exceptions.Exit(1)
    if not any(outcomes):
        raise click.exceptions.Exit(NOTHING_COMPARED)


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {"what": finding.what, "good": finding.good, "rounded": finding.rounded, "detail": finding.detail}


def _say(finding: Finding) -> None:
    from robench.evidence.plain_text import plain

    mark = {True: "ok", False: "WRONG", None: "not at hand"}[finding.good]
    # A detail quotes the card, which may come from anyone: no control characters reach the terminal.
    click.echo(f"{'rounding' if finding.rounded else mark:12}{finding.what}: {plain(finding.detail, 600)}")


def _conclude(path: Path, seen: Sequence[Finding], said: str) -> None:
    from robench.verify.repetition import IDENTICAL, OTHER

    missing, wrong = (sum(finding.good is good for finding in seen) for good in (None, False))
    if not said:
        click.echo(f"{path} could not be compared with anything; give --store, or compute it again with --rerun.")
    elif said == OTHER:
        click.echo(f"{path} {OTHER}. It does not verify: {wrong} findings above are wrong.")
    else:
        is_so = f"is {said}" if said == IDENTICAL else said
        click.echo(f"{path} {is_so}{f', as far as it is at hand ({missing} findings are not)' if missing else ''}.")
