"""``robench explain``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers


@click.command("explain")
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
def explain_command(card: Path) -> None:
    """Explain a card's verdict: every check with its value, its threshold and what it means.

    \b
    robench explain results/cards/CARD.json
    """
    from rich.console import Console

    from robench.cli.verdict import print_verdict
    from robench.evidence.cardfile import read

    print_verdict(read(card), Console(highlight=False))
