"""A training's card in the terminal: what was trained on what, its curves, what came of it, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from robench.contracts.parameters import format_value
from robench.evidence.training_card import TrainingCard, by_epoch

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from robench.evidence.card import ComponentRecord, Scalar

#: More epochs than this are thinned out, and more metrics left out: a page, not a roll.
MOST_EPOCHS = 20
MOST_METRICS = 8


def print_training(card: TrainingCard, console: Console) -> None:
    """Print a readable page of a training's card."""
    from rich.text import Text

    from robench.evidence.plain_text import plain

    # A card may come from anyone: no control characters reach the terminal.
    def say(text: str) -> None:
        console.print(Text(plain(text, 2000)), soft_wrap=True)

    data, training = card.data, card.training
    images = f"{data.train_n:,} images of the train split, {' x '.join(map(str, data.shape))}"
    say(f"{card.victim.label}, trained on {card.dataset.label} with seed {card.seed}")
    say(f"data: {images} in {len(data.classes)} classes, digest {data.train[:8]}")
    say(f"model: {training.trainable:,} trainable parameters, weights of digest {card.weights[:8]}")
    recipe = (f"{name}={format_value(name, value)}" for name, value in training.recipe.items() if name != "model")
    say(f"recipe: {', '.join(recipe)}")
    rows = by_epoch(training.history)
    step = "epoch" if rows else "point"
    rows = rows or [{**point, "point": place + 1.0} for place, point in enumerate(training.history)]
    shown = thinned(rows, MOST_EPOCHS, [row for row in rows if row[step] == card.reached.kept])
    console.print()
    console.print(_table(shown, step, card.reached.kept))
    if len(shown) < len(rows):
        say(f"{len(shown)} of {len(rows)} {step}s are shown")
    console.print()
    for line in outcome_lines(card):
        say(line)
    say(f"recorded: {card.created} by robench {card.environment.robench}")
    say(f"repeat: {command_to_repeat(card)}")


def training_json(card: TrainingCard) -> dict[str, Any]:
    """Return what was trained, on what, what came of it, and the command that repeats it."""
    import msgspec

    return {
        "id": card.id,
        "victim": card.victim.label,
        "dataset": card.dataset.label,
        "seed": card.seed,
        "trainable": card.training.trainable,
        "recipe": dict(card.training.recipe),
        "history": [dict(point) for point in card.training.history],
        "reached": msgspec.to_builtins(card.reached),
        "forwards": card.cost.forwards,
        "backwards": card.cost.backwards,
        "seconds": card.cost.seconds,
        "repeat": command_to_repeat(card),
    }


def outcome_lines(card: TrainingCard) -> list[str]:
    """Return what came of a training: epochs, early stop, weights kept, accuracies, cost."""
    found, cost = card.reached, card.cost
    lines = [f"epochs: {_epochs(card)}"]
    if found.kept is not None:
        last = found.kept == by_epoch(card.training.history)[-1]["epoch"]
        lines.append(f"kept: the weights of epoch {found.kept}{', the last' if last else ', the best of validation'}")
    checked = _measures(found.validation_accuracy, found.validation_loss)
    lines.append(f"validation: {checked or 'none that the curves and the recipe tell of'}")
    trained = _measures(found.accuracy, found.loss)
    if trained:
        lines.append(f"training images, last epoch: {trained}")
    passes = f"{cost.forwards:,} forwards + {cost.backwards:,} backwards"
    return [*lines, f"cost: {passes}, {cost.seconds:.1f} s on {card.environment.device}"]


def thinned(rows: Sequence[dict[str, float]], most: int, always: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return at most ``most`` rows, evenly spaced, the first and the last among them, and ``always`` besides."""
    if len(rows) <= most:
        return list(rows)
    places = {round(place * (len(rows) - 1) / (most - 1)) for place in range(most)}
    return [row for place, row in enumerate(rows) if place in places or row in always]


def command_to_repeat(card: TrainingCard) -> str:
    """Return the command that repeats a training."""
    words = ["robench", "train", card.victim.name, "--dataset", card.dataset.name, "--seed", str(card.seed)]
    parts: list[tuple[str, ComponentRecord]] = [("dataset", card.dataset), ("victim", card.victim)]
    for role, part in parts:
        words += parameter_words(role, part.changed)
    for member in card.members:
        words += parameter_words(member.name, member.changed)
    return shlex.join(words)


def parameter_words(owner: str, values: Mapping[str, Scalar]) -> list[str]:
    """Return parameters as the command line takes them."""
    pairs = [f"{owner}.{name}={format_value(name, value) if value != '' else ''}" for name, value in values.items()]
    return [word for pair in pairs for word in ("-p", pair)]


def _epochs(card: TrainingCard) -> str:
    found = card.reached
    if found.epochs is None:
        return "the curves name none"
    if found.allowed is None:
        return str(found.epochs)
    return f"{found.epochs} of {found.allowed}, {'stopped early' if found.stopped_early else 'not stopped early'}"


def _measures(accuracy: float | None, loss: float | None) -> str:
    shares = accuracy is not None and 0 <= accuracy <= 1
    parts = [] if accuracy is None else [f"accuracy {f'{100 * accuracy:.1f} %' if shares else f'{accuracy:.4g}'}"]
    return ", ".join([*parts, *([] if loss is None else [f"loss {loss:.4f}"])])


def _table(rows: Sequence[Mapping[str, float]], step: str, kept: int | None) -> Table:
    from rich.table import Table
    from rich.text import Text

    from robench.evidence.plain_text import plain

    metrics = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in (step, "epoch")]
    metrics = metrics[:MOST_METRICS]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (step, *metrics, ""):
        table.add_column(Text(plain(name, 40).replace("_", " ")), justify="right" if name else "left")
    for row in rows:
        values = [f"{row[name]:.4g}" if name in row else "" for name in metrics]
        table.add_row(f"{row[step]:.0f}", *values, "kept" if kept is not None and row[step] == kept else "")
    return table
