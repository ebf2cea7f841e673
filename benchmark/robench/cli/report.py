"""``robench report``."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from robench.cli.output import STDOUT, deliver, ready
from robench.cli.strict import Command


@click.command("report", cls=Command)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page: one file, complete in itself; - is the standard output.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Also write the charts as PNG and SVG files into this folder (needs matplotlib).",
)
@click.option(
    "--tables",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Also write the numbers as CSV and LaTeX (booktabs) into this folder.",
)
def report_command(runs: tuple[Path, ...], out: Path, figures: Path | None, tables: Path | None) -> None:
    """Make one page of a run to look at, offline: tables, charts, pictures, every check; no model is run.

    RUNS are folders that robench run wrote (--out), folders of cards, or card files.

    \b
    robench report results
    robench report results -o report.html --figures figures --tables tables
    """
    from robench.cli.options import warn
    from robench.evidence.files import ready_folder
    from robench_leaderboard.report import collect, render_report, write_figures, write_tables
    from robench_leaderboard.report.taken_places import check_folder, check_page

    found = collect(runs, warn)
    if click.get_current_context().get_parameter_source("out") is ParameterSource.DEFAULT:
        check_page(found, out)
    ready(out)
    for folder, option in ((tables, "--tables"), (figures, "--figures")):
        if folder is not None:
            ready_folder(folder, option)
            check_folder(found, folder, option)
    deliver(out, render_report(found).encode(), "report")
    if tables is not None:
        click.echo(f"tables: {len(write_tables(found, tables))} files in {tables}", err=out == STDOUT)
    if figures is not None:
        click.echo(f"figures: {len(write_figures(found, figures))} files in {figures}", err=out == STDOUT)
