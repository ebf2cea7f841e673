"""``robench data``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers
from robench.cli.options import parameter_option, without_option
from robench.cli.output import Folder, answering, json_option
from robench.cli.strict import Command, WholeNumber


@click.command("data", cls=Command)
@click.argument("dataset", metavar="NAME", shell_complete=completers.names)
@parameter_option("A parameter of the dataset, such as dataset.balance=1500.")
@click.option(
    "--seed",
    type=WholeNumber(0, "0"),
    default=0,
    show_default=True,
    metavar="SEED",
    help="Draws the five random samples.",
)
@click.option(
    "-o",
    "--out",
    type=Folder("such as -o pictures", file_okay=False),
    default=None,
    help="Folder for the pictures and the table: one sample a class, five random samples, copies beside their images "
    "where balance made any, and the images of each class as bar chart (PNG, SVG) and CSV; names begin "
    "with the dataset's.",
)
@click.option("--offline", is_flag=True, help="Never reach for a hub.")
@json_option
@without_option
def data_command(
    dataset: str, parameters: tuple[str, ...], seed: int, out: Path | None, offline: bool, as_json: bool
) -> None:
    """Show a dataset as a report shows it: samples, and how many images each class has, as table and bar chart.

    Where the dataset's parameter ``balance`` is set, the training images are counted before and after. What lies in a
    folder's files, and what a model makes of the images, says robench inspect.

    \b
    robench data digits
    robench data plantvillage -p dataset.path=DIR -p dataset.crop=tomato -p dataset.balance=1500 -o pictures
    robench data plantvillage -p dataset.path=DIR -p dataset.balance=3000 -p dataset.augment=report-vit -o pictures
    """
    from robench.api import go_offline
    from robench.cli.class_balance import count, print_table
    from robench.cli.values import read_parameters
    from robench.evidence.files import ready_folder
    from robench.plan.spec import Spec, plan_dataset

    go_offline(offline)
    if out is not None:
        ready_folder(out, "-o")
    with answering(as_json) as answer:
        counted = count(plan_dataset(Spec(dataset=dataset, parameters=read_parameters(parameters))))
        written: list[Path] = []
        print_table(counted)
        if out is not None:
            from robench.cli.sample_sheets import write_sheets

            written = [*write_sheets(counted, seed, out), *counted.write(out)]
        for path in written:
            click.echo(f"wrote {path}")
        answer({**counted.values, "files": list(map(str, written))})
