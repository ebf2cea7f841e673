"""``robench verify``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers
from robench.cli.options import store_option


@click.command("verify")
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.option("--rerun", is_flag=True, help="Compute the cell again from scratch, in an empty store.")
@store_option("Folder that holds the artifacts [default: the user's cache folder].")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--trust-code", is_flag=True, help="Run Python, TorchScript or exported files that the card names.")
def verify_command(card: Path, rerun: bool, store: Path | None, device: str, trust_code: bool) -> None:
    """Recompute a card's numbers from the stored adversarial set and outcomes.

    Nothing in a card is executed. Exit code 1 if a number is wrong; what is not in the store is "not at hand".

    \b
    robench verify results/cards/CARD.json
    robench verify CARD.json --rerun                  from scratch, with the same attacks
    robench verify CARD.json --rerun --trust-code     also where it names a Python file: read that first
    """
    from robench.cli.progress import terminal
    from robench.evidence.card_file import read
    from robench.evidence.plain_text import plain
    from robench.evidence.store import default_root
    from robench.verify.recompute import rerun as run_again
    from robench.verify.recompute import verify

    found = read(card)
    with terminal() as progress:
        findings = (
            run_again(found, device, progress, trust=trust_code)
            if rerun
            else verify(found, store or default_root(), device, progress, trust=trust_code)
        )
        wrong = 0
        for finding in findings:
            mark = {True: "ok", False: "WRONG", None: "not at hand"}[finding.good]
            # A detail quotes the card, which may come from anyone: no control characters reach the terminal.
            click.echo(f"{mark:12}{finding.what}: {plain(finding.detail, 600)}")
            wrong += finding.good is False
    if wrong:
        click.echo(f"{card} does not verify: {wrong} findings above are wrong.")
        raise click.exceptions.Exit(1)
