"""``robench explain``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers


@click.command("explain")
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
def explain_command(card: Path) -> None:
    """Explain a card: its verdict, every check with its value, its threshold and what it means.

    The card of a training is explained by its curves, what came of it, and how to repeat it.

    \b
    robench explain results/cards/CARD.json
    robench explain results/trainings/CARD.json
    """
    from rich.console import Console

    from robench.evidence import card_file, training_card_file
    from robench.evidence.files import read_bounded

    console, text = Console(highlight=False), read_bounded(card)
    if training_card_file.is_training(text):
        from robench.cli.training_view import print_training

        print_training(training_card_file.decode(text, str(card)), console)
        return
    from robench.cli.card_view import print_verdict

    print_verdict(card_file.decode(text, str(card)), console)
