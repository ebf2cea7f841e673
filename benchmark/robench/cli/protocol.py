"""``robench protocol``."""

from __future__ import annotations

import click

from robench.cli import completers
from robench.cli.options import without_option
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command


@click.group("protocol")
def protocol_command() -> None:
    """List, show and compare protocols: what a number is a number of.

    \b
    robench protocol list
    robench protocol show tecoa-16
    robench protocol diff tecoa-16 ttc
    robench run --protocol tecoa-16 --dataset stl10 --victim clip-vit-b32
    """


@protocol_command.command("list", cls=Command)
@json_option
@printed_option
def list_protocols(as_json: bool) -> None:
    """List the protocols that come along."""
    from robench.plan.suite import protocols, read_suite

    titles = {name: read_suite(path).title for name, path in protocols().items()}
    with answering(as_json) as answer:
        for name, title in titles.items():
            click.echo(f"{name}\n    {title}")
        answer({"protocols": [{"name": name, "title": title} for name, title in titles.items()]})


@protocol_command.command("show", cls=Command)
@click.argument("name", shell_complete=completers.protocols)
@click.option("--file", "as_file", is_flag=True, help="Print the suite file itself, to be changed.")
@json_option
@printed_option
@without_option
def show_protocol(name: str, as_file: bool, as_json: bool) -> None:
    """Show what a protocol fixes, data set by data set, where that was read, and where it differs here."""
    from rich.text import Text

    from robench.plan.protocol_facts import facts
    from robench.plan.suite import PROTOCOL, read_suite, suite_file

    path = suite_file(PROTOCOL + name)
    if as_file and as_json:
        raise click.UsageError("--file prints the suite file, which is TOML; leave --file or --json out.")
    if as_file:
        click.echo(path.read_text(encoding="utf-8"), nl=False)
        return
    suite = read_suite(path)
    found = facts(suite)
    if as_json:
        with answering(as_json) as answer:
            answer(
                {
                    "name": name.removeprefix(PROTOCOL),
                    "title": suite.title,
                    "description": suite.description.strip(),
                    "differs": list(suite.differs),
                    "datasets": [{"dataset": dataset, "fixes": entry} for dataset, entry in found.items()],
                }
            )
        return
    click.echo(f"{suite.title}\n\n{suite.description.strip()}\n")
    for sentence in suite.differs:
        click.echo(f"differs here: {sentence}")
    alike = {
        aspect: value
        for aspect, value in next(iter(found.values())).items()
        if all(entry[aspect] == value for entry in found.values())
    }
    for aspect, value in alike.items():
        click.echo(f"{aspect}: {value}")
    columns = [aspect for aspect in next(iter(found.values())) if aspect not in alike]
    rows = [(dataset, *(entry[aspect] for aspect in columns)) for dataset, entry in found.items()]
    _print(["data set", *columns], [tuple(map(Text, row)) for row in rows])


@protocol_command.command("diff", cls=Command)
@click.argument("first", shell_complete=completers.protocols)
@click.argument("second", shell_complete=completers.protocols)
@json_option
@printed_option
@without_option
def diff_protocols(first: str, second: str, as_json: bool) -> None:
    """Say in a table why two numbers of one name differ.

    \b
    robench protocol diff tecoa-16 ttc
    """
    from rich.text import Text

    from robench.plan.protocol_facts import differences
    from robench.plan.suite import PROTOCOL, read_suite, suite_file

    one, other = (read_suite(suite_file(PROTOCOL + name)) for name in (first, second))
    found = differences(one, other)
    if as_json:
        with answering(as_json) as answer:
            rows = [dict(zip(("what", "on", "first", "second"), row, strict=True)) for row in found]
            answer({"first": first, "second": second, "differences": rows})
        return
    if not found:
        click.echo(f"{first} and {second} fix the same.")
        return
    _print(["what", "on", first, second], [tuple(map(Text, row)) for row in found])


def _print(heads: list[str], rows: list[tuple[object, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*heads, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)  # type: ignore[arg-type]  # Text, so that brackets are no markup
    Console(highlight=False).print(table)
