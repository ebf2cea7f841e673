"""``robench new``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli.options import without_option
from robench.cli.output import Folder
from robench.cli.strict import Command

ROLES = ("defense", "attack", "dataset", "victim", "surrogate", "certificate")


@click.command("new", cls=Command)
@click.argument("role", type=click.Choice(ROLES))
@click.argument("name")
@click.option(
    "-o",
    "--into",
    "into",
    type=Folder("such as -o my-defense"),
    default=None,
    metavar="DIR",
    help="Folder of the package [default: ./NAME].",
)
@without_option
def new_command(role: str, name: str, into: Path | None) -> None:
    """Write a plugin of your own: a package that installs, passes its checks and runs as it stands.

    \b
    robench new defense my-defense
    pip install -e my-defense
    robench check-plugin my-defense
    robench run --defense my-defense --attack pgd
    """
    import robench
    from robench.plugin.catalog import catalog
    from robench.plugin.scaffold import MODULE, check_free, names_for, write_package

    names = names_for(role, name, robench.__all__)
    check_free(names, catalog())
    folder = into or Path(names.distribution)
    for path in write_package(names, folder):
        click.echo(f"  {path}")
    click.echo(f"\nNext: edit {folder / MODULE.format(module=names.module)}; it works as it stands.")
    for line in (f"pip install -e {folder}", f"robench check-plugin {names.distribution}", names.run):
        click.echo(f"  {line}")
