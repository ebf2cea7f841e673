"""``robench explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robench.cli import completers
from robench.cli.options import warn
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.evidence.card import Card
    from robench.evidence.training_card import TrainingCard


@click.command("explain", cls=Command)
@click.argument(
    "cards",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="CARD...",
    shell_complete=completers.cards,
)
@json_option
@printed_option
def explain_command(cards: tuple[Path, ...], as_json: bool) -> None:
    """Explain cards (or folders of them): the verdict, every check with its value, its threshold and what it means.

    The verdict is the one that all cards in its folder give it together. Below the checks stand the figures that papers
    and reports state of exactly this row (robench published), beside what was measured.

    The card of a training is explained by its curves, what came of it, and how to repeat it.

    \b
    robench explain results/cards/CARD.json
    robench explain results --json
    robench explain results/trainings/CARD.json
    """
    from robench.errors import CardError
    from robench.evidence.judged_card import card_files

    found: dict[str, list[dict[str, Any]]] = {"cards": [], "trainings": []}
    for place, path in enumerate(card_files(cards)):
        card = _read(path, cards)
        if card is None:
            continue
        kind, values = _explained(card, path, "\n" * (place > 0), not as_json)
        found[kind].append({"path": str(path), **values})
    if not any(found.values()):
        raise CardError(f"There is no card to explain in {', '.join(map(str, cards))}; name what robench run wrote.")
    with answering(as_json) as answer:
        answer(dict(found))


def _read(path: Path, named: tuple[Path, ...]) -> Card | TrainingCard | None:
    """Return the card in a file; what only lay in a folder and is no card costs a warning."""
    from robench.errors import CardError
    from robench.evidence import card_file, training_card_file
    from robench.evidence.files import read_bounded

    try:
        text = read_bounded(path)
        if training_card_file.is_training(text):
            return training_card_file.decode(text, str(path))
        return card_file.decode(text, str(path))
    except CardError as error:
        if path in named:
            raise
        warn(f"left out: {error}")
        return None


def _explained(card: Card | TrainingCard, path: Path, before: str, in_words: bool) -> tuple[str, dict[str, Any]]:
    """Print a card's explanation, or return what it says as JSON values; the first of the two is what it is among."""
    import msgspec
    from rich.console import Console

    from robench.evidence.card import Card as Measured

    console = Console(highlight=False)
    console.print(before, end="")
    if not isinstance(card, Measured):
        from robench.cli.training_view import print_training, training_json

        if in_words:
            print_training(card, console)
        return "trainings", training_json(card)
    from robench.cli.card_view import print_verdict, verdict_json
    from robench.evidence.judged_card import cards_in, judged_with
    from robench_leaderboard.compare.published_vs_measured import print_published
    from robench_leaderboard.ranking.published_beside import beside_cards
    from robench_leaderboard.render.published_table import figures

    beside = cards_in(path.absolute().parent)
    judged = judged_with(card, beside)
    published = beside_cards([card])
    others = sum(_row(one) == _row(card) and one.id != card.id for one in beside)
    if in_words:
        print_verdict(judged, console)
        if published:
            print_published(published, console)
        if others:
            together = f"{others} other card{'s' * (others > 1)} of this defended victim in {path.parent}"
            click.echo(f"Judged together with the {together}.")
    return "cards", {
        **verdict_json(judged),
        "judged_with": others,
        "published": msgspec.to_builtins(figures(published)),
    }


def _row(card: Card) -> tuple[object, ...]:
    threat = card.cell.threat
    return card.model.defended, card.data.test, threat.norm, threat.eps
