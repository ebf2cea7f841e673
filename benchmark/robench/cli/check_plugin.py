"""``robench check-plugin``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from robench.cli.options import parameter_option, without_option
from robench.cli.output import printed_option
from robench.cli.strict import Command
from robench.cli.values import read_parameters

if TYPE_CHECKING:
    from robench.contracts.components import Component, Model
    from robench.plugin.catalog import Catalog, Offer
    from robench.plugin.discovery import Plugin
    from robench.testing import Result


@click.command("check-plugin", cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@parameter_option("A component's parameter, such as dataset.path=photos.")
@click.option("--victim", default="", metavar="NAME", help="Model to attack and defend [default: the kit's own].")
@click.option("--offline", is_flag=True, help="Never reach for a hub; what needs one is not tried.")
@printed_option
@without_option
def check_plugin_command(names: tuple[str, ...], parameters: tuple[str, ...], victim: str, offline: bool) -> None:
    """Hold a plugin to its contract: run the conformance kit on all that it offers.

    NAME is a plugin, its distribution, or one component, with parameters in brackets if need be. Exit code 1 if
    anything fails.

    \b
    robench check-plugin my-defense
    robench check-plugin 'tecoa[trainable=full]' --victim tiny-clip
    robench check-plugin imagefolder -p dataset.path=photos
    """
    from robench.api import go_offline
    from robench.plugin.catalog import catalog

    go_offline(offline)
    known, values = catalog(), read_parameters(parameters)
    model = _victim(known, victim) if victim else None
    failed = 0
    for name in names:
        plugins, components = find(known, name, values)
        for plugin in plugins:
            failed += show(f"plugin {plugin.name} ({plugin.label})", judge(known, plugin))
        for offer, component in components:
            from robench.testing import check_component

            failed += show(f"{offer.role} {offer.name}", check_component(component, victim=model))
    if failed:
        click.echo(f"{failed} checks failed.")
        raise click.exceptions.Exit(1)
    click.echo("Nothing failed.")


def find(known: Catalog, name: str, parameters: dict[str, str]) -> tuple[list[Plugin], list[tuple[Offer, Component]]]:
    """Return the plugins and the components, with their parameters, that ``name`` stands for; SpecError if none."""
    from robench.errors import SpecError, suggestion
    from robench.plan.references import split_reference
    from robench.plugin.discovery import normalised

    plain, inside = split_reference(name)
    plugins = [p for p in known.plugins if normalised(plain) in (normalised(p.name), normalised(p.distribution))]
    names = {plugin.name for plugin in plugins}
    offers = [o for o in known.offers.values() if o.plugin.name in names or (not plugins and o.name == plain)]
    if not plugins and not offers:
        everything = {o.name for o in known.offers.values()} | {p.name for p in known.plugins}
        raise SpecError(
            f"There is no plugin, distribution or component '{plain}'; {suggestion(plain, everything)}{known.absent()}"
        )
    # One class offered in two roles, as victim and surrogate, has one contract.
    unique = list({offer.component: offer for offer in reversed(offers)}.values())[::-1]
    return plugins, [(offer, offer.build({**_meant(offer, parameters), **inside})) for offer in unique]


def _meant(offer: Offer, parameters: dict[str, str]) -> dict[str, str]:
    """Return the ``-p`` values that concern a component."""
    owners = (offer.role, offer.name)
    return {key.partition(".")[2]: value for key, value in parameters.items() if key.partition(".")[0] in owners}


def judge(known: Catalog, plugin: Plugin) -> list[Result]:
    """Return whether a plugin can be used, offers something, and says for which API it was written."""
    from robench.plugin.versions import API_VERSION, STATEMENT
    from robench.testing import Result

    if plugin.state != "works":
        reason = plugin.broken or "It was left out; run again without --without."
        return [Result("imports", "failed", reason)]
    offered = any(offer.plugin.name == plugin.name for offer in known.offers.values())
    offered = offered or hasattr(plugin.module, "robench_evaluations")
    nothing = "It offers no component; return one from a hook such as robench_defenses, marked @hookimpl."
    unstated = f"Its module does not say for which API it was written; write {STATEMENT} = {API_VERSION} at its top."
    stated = hasattr(plugin.module, STATEMENT)
    heavy = slow_import(plugin)
    slow = f"Importing it imports {heavy}, so that 'robench list' takes seconds; import {heavy} where it is needed."
    return [
        Result("imports", "passed"),
        Result("offers", "passed") if offered else Result("offers", "failed", nothing),
        Result("states its API", "passed") if stated else Result("states its API", "failed", unstated),
        Result("quick to import", "failed", slow) if heavy else Result("quick to import", "passed"),
        *(Result("keeps up with the API", "failed", note) for note in plugin.notes),
    ]


def slow_import(plugin: Plugin) -> str:
    """Return ``torch`` if importing the plugin alone imports it, found out in a process of its own; else nothing."""
    import subprocess
    import sys

    if plugin.module is None:
        return ""
    code = f"import sys, {plugin.module.__name__}; sys.exit(9 if 'torch' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603 - our own words
    return "torch" if done.returncode == 9 else ""


def show(title: str, results: list[Result]) -> int:
    """Print one table; return how many checks failed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robench.evidence.plain_text import plain

    table = Table("check", "result", "why", box=None, header_style="bold", pad_edge=False)
    colours = {"passed": "green", "failed": "bold red", "not tried": "yellow", "not applicable": "dim"}
    for result in results:
        # A sentence may quote whatever a plugin raised.
        table.add_row(result.name, Text(result.status, colours[result.status]), Text(plain(result.sentence, 1000)))
    console = Console(highlight=False)
    console.print(Text(plain(title), "bold"))
    console.print(table)
    console.print()
    return sum(result.status == "failed" for result in results)


def _victim(known: Catalog, text: str) -> Model:
    from robench.contracts.components import Model
    from robench.plan.references import split_reference

    name, inside = split_reference(text)
    component = known.find("victim", name).build(inside)
    if not isinstance(component, Model):
        raise TypeError
    return component
