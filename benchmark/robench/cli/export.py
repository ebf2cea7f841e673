"""``robench export``."""

from __future__ import annotations

import re
from pathlib import Path

import click

from robench.cli.output import STDOUT, file_option
from robench.cli.strict import Command


@click.command("export", cls=Command)
@click.argument("cards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "form", required=True, metavar="NAME", help="An exporter; 'robench list exporter' names them.")
@file_option("File or folder [default: print it]")
def export_command(cards: tuple[Path, ...], form: str, out: Path | None) -> None:
    """Write cards (files or folders) in a form that other tools read.

    \b
    robench export results/cards --to csv -o results.csv
    robench export results/cards --to 'hf-model-index[defense=tecoa]'
    robench export results/cards --to mlflow:http://HOST:5000
    robench export results/cards --to wandb:PROJECT
    """
    import tempfile

    from robench.cli.options import warn
    from robench.contracts.components import Exporter
    from robench.errors import SpecError, StoreError, attributed_to
    from robench.evidence.files import ready_folder
    from robench.evidence.row_verdict import judge_together
    from robench.plan.references import build_reference
    from robench.plugin.catalog import catalog
    from robench_leaderboard import read_cards

    exporter = build_reference(catalog(), "exporter", form)
    if not isinstance(exporter, Exporter):
        raise TypeError
    name = exporter.name
    found = judge_together(read_cards(cards, warn))
    if not found:
        raise SpecError(f"There are no cards in {', '.join(map(str, cards))}; give files or folders of robench run.")
    with attributed_to(f"The exporter '{name}'", StoreError):
        destination = re.sub(r"//[^/@\s]*@", "//", exporter.destination())  # without a password
    if destination:
        if out is not None:
            raise SpecError(f"The exporter '{name}' writes to {destination}; leave -o {out} out.")
        with attributed_to(f"The exporter '{name}' to {destination}", StoreError):
            exporter.write(found, Path())
        click.echo(f"{len(found)} cards: {destination}")
        return
    if out not in (None, STDOUT):
        ready_folder(out.parent)
        out.parent.mkdir(parents=True, exist_ok=True)
        with attributed_to(f"The exporter '{name}' to {out}", StoreError):
            exporter.write(found, out)
        click.echo(f"{len(found)} cards: {out}")
        return
    with tempfile.TemporaryDirectory(prefix="robench-export-") as folder:
        target = Path(folder) / "export"
        with attributed_to(f"The exporter '{name}'", StoreError):
            exporter.write(found, target)
        if not target.is_file():
            raise SpecError(f"The exporter '{name}' writes no single file that could be printed; say where with -o.")
        click.echo(target.read_text(encoding="utf-8"), nl=False)
