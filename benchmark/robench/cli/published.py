"""``robench published``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.plan.published_figures import Published

#: Options that name a component, by its role.
_ROLES = ("dataset", "victim", "defense", "attack", "surrogate")


@click.command("published", cls=Command)
@click.argument("words", nargs=-1)
@click.option("--dataset", default="", metavar="NAME", help="Only figures on this dataset.")
@click.option("--victim", default="", metavar="NAME", help="Only figures of this victim.")
@click.option("--defense", default="", metavar="NAME", help="Only figures of this defense, or of none.")
@click.option("--attack", default="", metavar="NAME", help="Only rows that met this attack.")
@click.option("--surrogate", default="", metavar="NAME", help="Only rows attacked through this surrogate.")
@click.option("--source", default="", metavar="NAME", help="Only figures of this source, such as report-001.")
@click.option("--figure", default="", metavar="NAME", help="Only this figure: clean, robust, train, clean_top5, ...")
@click.option("--contradictions", is_flag=True, help="Only where one name has several numbers.")
@json_option
@printed_option
def published_command(
    words: tuple[str, ...], source: str, figure: str, contradictions: bool, as_json: bool, **components: str
) -> None:
    """List figures that papers and reports state, with what each is a figure of; WORDS search them.

    A figure stands beside a measured row only if the row is the same, parameter by parameter.

    \b
    robench published
    robench published tecoa lora --dataset cifar10
    robench published --source report-001 --figure robust
    robench published --contradictions --json
    """
    from robench.errors import SpecError, suggestion
    from robench.plan.published_figures import FIGURES
    from robench.plan.published_ledger import ledger, search

    if figure and figure not in FIGURES:
        raise SpecError(f"--figure '{figure}' is no figure; {suggestion(figure, FIGURES)}")
    asked = {role: name for role, name in components.items() if name}
    found = search(ledger(), words, figure, source, **asked)
    if contradictions:
        _contradictions(found, figure, as_json)
        return
    with answering(as_json) as answer:
        answer({"figures": [_stated(entry) for entry in found]})
    if as_json:
        return
    if not found:
        click.echo("No published figure says all of that.")
        return
    _table(found, figure)


def _table(found: list[Published], figure: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robench_leaderboard.ranking.published_beside import percent

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("name", "figure", "%", "of", "source"):
        apart = name in ("figure", "%")
        table.add_column(name, overflow="fold", no_wrap=apart, justify="right" if name == "%" else "left")
    for entry in found:
        shown = [name for name in entry.figures if figure in ("", name)]
        titles = "\n".join(entry.title(name).removesuffix(" (validation images)") for name in shown)
        numbers = "\n".join(percent(entry.figures[name]) for name in shown)
        quoted = " (quoted by others)" if entry.second_hand else ""
        table.add_row(*map(Text, (entry.name, titles, numbers, _of(entry), entry.reference + quoted)))
    console = Console(highlight=False)
    console.print(table)
    for note in dict.fromkeys(entry.note for entry in found if entry.note):
        console.print(Text(note, "dim"))


def _of(entry: Published) -> str:
    """Return in a line what the figures are of: data set, components by name, radius."""
    from robench.contracts.threat_model import radius_of

    named = _ROLES if _attacked(entry) else _ROLES[:3]
    roles = [entry.which[role].name for role in named if role in entry.which and entry.which[role].name]
    threat = [f"{entry.norm} {radius_of(entry.eps, entry.norm)}"] if entry.eps is not None and _attacked(entry) else []
    split = [] if entry.split == "test" else [f"{entry.split} images"]
    return ", ".join([*(name for name in roles if name != "none"), *threat, *split])


def _attacked(entry: Published) -> bool:
    return any(name.startswith("robust") for name in entry.figures)


def _contradictions(found: list[Published], figure: str, as_json: bool) -> None:
    from robench.plan.published_ledger import contradictions
    from robench_leaderboard.ranking.published_beside import sentence

    several = [each for each in contradictions(found) if figure in ("", each.figure)]
    with answering(as_json) as answer:
        lines = [
            {
                "name": each.name,
                "dataset": each.dataset,
                "figure": each.figure,
                "eps": each.eps,
                "norm": each.norm,
                "numbers": [{"percent": percent, **_stated(entry)} for percent, entry in each.numbers],
            }
            for each in several
        ]
        answer({"contradictions": lines})
    if as_json:
        return
    for each in several:
        click.echo(sentence(each))
    if not several:
        click.echo("None of these names has several numbers.")


def _stated(entry: Published) -> dict[str, Any]:
    """Return all that an entry states; components with the parameters that the file states for all of its rows."""
    which = {
        role: {"name": stated.name, "parameters": {**stated.shared, **stated.parameters}}
        for role, stated in entry.which.items()
        if stated.name
    }
    words = ("source", "place", "weights", "images", "protocol", "split", "average", "second_hand", "note", "ledger")
    threat = {"eps": entry.eps, "norm": entry.norm} if _attacked(entry) else {}
    return {
        "name": entry.name,
        "figures": dict(entry.figures),
        **which,
        **threat,
        **{w: getattr(entry, w) for w in words},
    }
