"""``robench verify``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers
from robench.cli.options import device_option, parameter_option, store_option
from robench.cli.strict import Command
from robench.cli.values import read_parameters

#: Exit code where neither a store nor a re-run had anything to compare the card with.
NOTHING_COMPARED = 3


@click.command("verify", cls=Command)
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.option("--rerun", is_flag=True, help="Compute the cell again from scratch, in an empty store.")
@store_option("Folder that holds the artifacts [default: the user's cache folder].")
@device_option
@parameter_option("Where a file or folder of the card lies here, such as dataset.path=photos.")
@click.option("--trust-code", is_flag=True, help="Run Python, TorchScript or exported files that the card names.")
def verify_command(
    card: Path, rerun: bool, store: Path | None, device: str, parameters: tuple[str, ...], trust_code: bool
) -> None:
    """Recompute a card's numbers from the stored adversarial set and outcomes.

    Nothing in a card is executed. It ends in one of three words: a card is identical, repeats within rounding (another
    processor, thread count or batch size rounds otherwise; docs/numbers.md states how much that may change), or does
    not repeat. What is not in the store is "not at hand".

    Exit code 0 if it is identical or repeats within rounding, 1 if it does not repeat, 3 if nothing could be compared.

    \b
    robench verify results/cards/CARD.json
    robench verify CARD.json --rerun                  from scratch, with the same attacks
    robench verify CARD.json --rerun -p dataset.path=photos
    robench verify CARD.json --rerun --trust-code     also where it names a Python file: read that first
    """
    from robench.evidence.card_file import read
    from robench.evidence.plain_text import plain
    from robench.evidence.store import default_root
    from robench.plan.local_places import point_card
    from robench.runtime.progress_bars import terminal
    from robench.verify.recompute import rerun as run_again
    from robench.verify.recompute import verify
    from robench.verify.repetition import IDENTICAL, OTHER, word

    found = read(card)
    point_card(found, read_parameters(parameters))
    with terminal() as progress:
        findings = (
            run_again(found, device, progress, trust=trust_code)
            if rerun
            else verify(found, store or default_root(), device, progress, trust=trust_code)
        )
        seen = []
        for finding in findings:
            seen.append(finding)
            mark = {True: "ok", False: "WRONG", None: "not at hand"}[finding.good]
            # A detail quotes the card, which may come from anyone: no control characters reach the terminal.
            click.echo(f"{'rounding' if finding.rounded else mark:12}{finding.what}: {plain(finding.detail, 600)}")
    said, missing = word(seen), sum(finding.good is None for finding in seen)
    if not said:
        click.echo(f"{card} could not be compared with anything; give --store, or compute it again with --rerun.")
        raise click.exceptions.Exit(NOTHING_COMPARED)
    if said == OTHER:
        wrong = sum(finding.good is False for finding in seen)
        click.echo(f"{card} {OTHER}. It does not verify: {wrong} findings above are wrong.")
        raise click.exceptions.Exit(1)
    is_so = f"is {said}" if said == IDENTICAL else said
    click.echo(f"{card} {is_so}{f', as far as it is at hand ({missing} findings are not)' if missing else ''}.")
