"""``robench plugins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from robench.cli.options import without_option
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.plugin.catalog import Catalog
    from robench.plugin.discovery import Plugin


@click.command("plugins", cls=Command)
@json_option
@printed_option
@without_option
def plugins_command(as_json: bool) -> None:
    """List the installed plugins: version, API, what each offers, what is broken and why.

    \b
    robench plugins
    robench plugins --json
    robench plugins --without my-defense     as if it were not installed
    """
    from robench.plugin.catalog import catalog

    with answering(as_json) as answer:
        known = catalog()
        answer(describe(known))
    if not as_json:
        show(known)


def describe(known: Catalog) -> dict[str, Any]:
    """Return the API version and every plugin as JSON values."""
    from robench.plugin.versions import API_VERSION, OLDEST_API

    return {
        "api": API_VERSION,
        "oldest_api": OLDEST_API,
        "plugins": [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "api": plugin.api,
                "state": plugin.state,
                "reason": plugin.broken,
                "notes": list(plugin.notes),
                "offers": offers(known, plugin),
            }
            for plugin in known.plugins
        ],
    }


def offers(known: Catalog, plugin: Plugin) -> dict[str, list[str]]:
    """Return the names of a plugin's components by role."""
    found: dict[str, list[str]] = {}
    for (role, name), offer in sorted(known.offers.items()):
        if offer.plugin.name == plugin.name:
            found.setdefault(role, []).append(name)
    return found


def show(known: Catalog) -> None:
    """Print a table of the plugins, and below it what is wrong with any of them."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robench.evidence.plain_text import plain
    from robench.plugin.versions import API_VERSION

    table = Table("plugin", "distribution", "API", "state", "offers", box=None, header_style="bold", pad_edge=False)
    for plugin in known.plugins:
        offered = "; ".join(f"{role} {', '.join(names)}" for role, names in offers(known, plugin).items())
        # A distribution's name and version are text that anyone may have written.
        words = (plugin.name, plugin.label, plugin.api, plugin.state, offered)
        table.add_row(*(Text(plain(word, 400)) for word in words))
    Console(highlight=False).print(table)
    for plugin in known.plugins:
        for trouble in filter(None, (plugin.broken and f"broken: {plugin.broken}", *plugin.notes)):
            click.echo(f"{plain(plugin.name)} ({plain(plugin.label)}): {plain(trouble, 1000)}")
    click.echo(f"robench's API is {API_VERSION}.")
