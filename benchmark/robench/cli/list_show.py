"""``robench list`` and ``robench show``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from robench.cli import completers
from robench.cli.options import parameter_option, without_option
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command, WholeNumber

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robench.plugin.catalog import Catalog, Offer

ROLES = ("dataset", "victim", "surrogate", "attack", "defense", "certificate", "exporter", "detector")


@click.command("list", cls=Command)
@click.argument("role", required=False, type=click.Choice(ROLES))
@json_option
@printed_option
@without_option
def list_command(role: str | None, as_json: bool) -> None:
    """List what can be named in a run, and any plugin that is broken.

    \b
    robench list
    robench list attack
    robench list --json
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robench.plugin.catalog import catalog

    known = catalog()
    kinds = (role,) if role else ROLES
    if as_json:
        with answering(as_json) as answer:
            answer(_described(known, kinds))
        return
    table = Table("role", "name", "what it is", "plugin", box=None, header_style="bold", pad_edge=False)
    for kind in kinds:
        for offer in known.of(kind):
            # Text, since a docstring's [0, 1] or [a] is no markup.
            table.add_row(*map(Text, (kind, offer.name, offer.summary, offer.plugin.label)))
    Console(highlight=False).print(table)
    for plugin in known.plugins:
        if plugin.broken:
            click.echo(f"broken: {plugin.name} ({plugin.label}): {plugin.broken}")


def _described(known: Catalog, kinds: Sequence[str]) -> dict[str, Any]:
    """Return every component of these roles, and every broken plugin, as JSON values."""

    def described(role: str, offer: Offer) -> dict[str, Any]:
        return {
            "role": role,
            "name": offer.name,
            "summary": offer.summary,
            "version": offer.component.version,
            "plugin": offer.plugin.label,
            "parameters": _parameters(offer.component),
        }

    broken = [plugin for plugin in known.plugins if plugin.broken]
    return {
        "components": [described(kind, offer) for kind in kinds for offer in known.of(kind)],
        "broken": [{"name": plugin.name, "plugin": plugin.label, "reason": plugin.broken} for plugin in broken],
    }


@click.command("show", cls=Command)
@click.argument("name", shell_complete=completers.components)
@click.option("--layers", is_flag=True, help="Of a victim: each layer's input, output and parameters instead.")
@click.option("--depth", type=WholeNumber(1, "3"), default=None, metavar="DEPTH", help="--layers: levels [default: 3].")
@click.option(
    "--dataset",
    default="",
    metavar="NAME",
    shell_complete=completers.names,
    help="--layers: whose images and classes the victim is built for [default: the embedded digits].",
)
@parameter_option("--layers: a parameter of the victim or the dataset, such as victim.size=128.")
@click.option("--offline", is_flag=True, help="--layers: never reach for a hub.")
@json_option
@printed_option
@without_option
def show_command(
    name: str, layers: bool, depth: int | None, dataset: str, parameters: tuple[str, ...], offline: bool, as_json: bool
) -> None:
    """Show a component: what it does, its parameters, its source, and which plugin it comes from.

    \b
    robench show pgd
    robench show pgd --json
    robench show imagefolder
    robench show plant-vit --layers --dataset cifar10
    robench show 'torchvision:resnet18[pretrained=false]' --layers --depth 2
    """
    if layers:
        from robench.api import go_offline
        from robench.cli.layer_table import traced
        from robench.cli.values import read_parameters

        go_offline(offline)
        with answering(as_json) as answer:
            found = traced(name, dataset, read_parameters(parameters), depth or 3)
            click.echo(found.text)
            answer(found.values)
        return
    given = {"--depth": depth, "--dataset": dataset, "--parameter": parameters, "--offline": offline}
    if alone := [option for option, value in given.items() if value]:
        raise click.UsageError(f"{alone[0]} is for --layers; add it, or leave {alone[0]} out.")
    with answering(as_json) as answer:
        answer({"components": [*_show_component(name, quiet=as_json)]})


def _show_component(name: str, *, quiet: bool) -> Iterator[dict[str, Any]]:
    """Print what is offered under a name, unless ``quiet``, and yield each component as JSON values."""
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
        roles = [offer.role for offer in offers]
        if not quiet:
            _show(component, roles, offers[0])
        yield _whole(component, roles, offers[0])


def _whole(component: type, roles: list[str], offer: Offer) -> dict[str, Any]:
    """Return all that a component says of itself as JSON values."""
    from robench.contracts.parameters import format_value

    kind = offer.component
    tuning = {
        defense: {key: format_value(key, value) for key, value in values.items()}
        for defense, values in getattr(kind, "tuning", {}).items()
    }
    prompts = getattr(kind, "templates", ())
    return {
        "name": offer.name,
        "roles": roles,
        "version": kind.version,
        "plugin": offer.plugin.label,
        "summary": offer.summary,
        "text": inspect.getdoc(component) or "",
        "parameters": _parameters(component),
        "source": kind.source,
        "licence": kind.licence,
        "prompts": list(prompts) if isinstance(prompts, tuple) else [],
        "reference": dict(getattr(kind, "reference", {})),
        "tuning": tuning,
    }


def _parameters(component: type) -> list[dict[str, str]]:
    """Return the parameters of a component, defaults as they are typed."""
    from robench.contracts.parameters import format_value, parameters_of

    return [
        {
            "name": entry.name,
            "type": entry.type_name,
            "default": format_value(entry.name, entry.default),
            "help": entry.help,
        }
        for entry in parameters_of(component).values()
    ]


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
