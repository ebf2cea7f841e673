"""``robench list`` and ``robench show``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from robench.cli import completers
from robench.cli.options import without_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.plugin.catalog import Offer

ROLES = ("dataset", "victim", "surrogate", "attack", "defense", "exporter")


@click.command("list", cls=Command)
@click.argument("role", required=False, type=click.Choice(ROLES))
@without_option
def list_command(role: str | None) -> None:
    """List what can be named in a run, and any plugin that is broken.

    \b
    robench list
    robench list attack
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robench.plugin.catalog import catalog

    known = catalog()
    table = Table("role", "name", "what it is", "plugin", box=None, header_style="bold", pad_edge=False)
    for kind in (role,) if role else ROLES:
        for offer in known.of(kind):
            # Text, since a docstring's [0, 1] or [a] is no markup.
            table.add_row(*map(Text, (kind, offer.name, offer.summary, offer.plugin.label)))
    Console(highlight=False).print(table)
    for plugin in known.plugins:
        if plugin.broken:
            click.echo(f"broken: {plugin.name} ({plugin.label}): {plugin.broken}")


@click.command("show", cls=Command)
@click.argument("name", shell_complete=completers.components)
@without_option
def show_command(name: str) -> None:
    """Show a component: what it does, its parameters, its source, and which plugin it comes from.

    \b
    robench show pgd
    robench show imagefolder
    """
    from robench.errors import SpecError, suggestion
    from robench.plugin.catalog import catalog

    known = catalog()
    found: dict[type, list[Offer]] = {}
    for offer in known.offers.values():
        if offer.name == name:
            found.setdefault(offer.component, []).append(offer)
    if not found:
        names = {offer.name for offer in known.offers.values()}
        raise SpecError(f"There is no component '{name}'; {suggestion(name, names)}{known.absent()}")
    for component, offers in found.items():
        _show(component, [offer.role for offer in offers], offers[0])


def _show(component: type, roles: list[str], offer: Offer) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robench.contracts.parameters import format_value, parameters_of

    kind = offer.component
    console = Console(highlight=False)
    console.print(
        Text.assemble(
            (offer.name, "bold"), f"  {', '.join(roles)}, version {kind.version}, from {offer.plugin.label}\n"
        )
    )
    console.print(inspect.getdoc(component) or "", markup=False, soft_wrap=True)
    declared = parameters_of(component)
    if declared:
        table = Table("parameter", "type", "default", "meaning", box=None, header_style="bold", pad_edge=False)
        for entry in declared.values():
            words = (entry.name, entry.type_name, format_value(entry.name, entry.default), entry.help)
            table.add_row(*map(Text, words))
        console.print()
        console.print(table)
    for label, text in (("source", kind.source), ("licence", kind.licence)):
        if text:
            console.print(f"\n{label}: {text}", markup=False)
    if isinstance(prompts := getattr(kind, "templates", None), tuple):
        console.print(f"\nprompts, the first by default: {' | '.join(prompts)}", markup=False)
    reference, tuning = getattr(kind, "reference", {}), getattr(kind, "tuning", {})
    for origin, accuracy in reference.items():
        console.print(f"\nstated clean accuracy on {origin}: {accuracy:.2%}")
    for defense, values in tuning.items():
        inside = ", ".join(f"{key}={format_value(key, value)}" for key, value in values.items())
        console.print(f"\ntuned for {defense} (on validation data): {inside}", markup=False)
