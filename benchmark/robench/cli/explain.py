"""``robench explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from robench.cli import completers
from robench.cli.output import printed_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.evidence.card import Card


@click.command("explain", cls=Command)
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
@printed_option
def explain_command(card: Path) -> None:
    """Explain a card: its verdict, every check with its value, its threshold and what it means.

    The verdict is the one that all cards in its folder give it together.

    The card of a training is explained by its curves, what came of it, and how to repeat it.

    \b
    robench explain results/cards/CARD.json
    robench explain results/trainings/CARD.json
    """
    from rich.console import Console

    from robench.evidence import card_file, training_card_file
    from robench.evidence.files import read_bounded
    from robench.evidence.judged_card import cards_in, judged_with

    console, text = Console(highlight=False), read_bounded(card)
    if training_card_file.is_training(text):
        from robench.cli.training_view import print_training

        print_training(training_card_file.decode(text, str(card)), console)
        return
    from robench.cli.card_view import print_verdict

    recorded = card_file.decode(text, str(card))
    beside = cards_in(card.absolute().parent)
    print_verdict(judged_with(recorded, beside), console)
    others = sum(_row(one) == _row(recorded) and one.id != recorded.id for one in beside)
    if others:
        cards = f"{others} other card{'s' * (others > 1)} of this defended victim in {card.parent}"
        click.echo(f"Judged together with the {cards}.")


def _row(card: Card) -> tuple[object, ...]:
    threat = card.cell.threat
    return card.model.defended, card.data.test, threat.norm, threat.eps
