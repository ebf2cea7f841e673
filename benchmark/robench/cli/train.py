"""``robench train``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers


@click.command("train")
@click.argument("model", shell_complete=completers.components)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the weights [default: ./MODEL].",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Determines the weights, bit by bit.")
@click.option("--dataset", default="", help="Dataset [default: the embedded digits].")
def train_command(model: str, out: Path | None, seed: int, dataset: str) -> None:
    """Repeat the recipe that made a model's shipped weights.

    \b
    robench train tiny-clip -o my-clip
    robench run --victim tiny-clip -p victim.checkpoint=my-clip
    """
    from robench.cli.progress import terminal
    from robench.contracts import Dataset, Model
    from robench.plugin.catalog import catalog
    from robench.spec import split_reference
    from robench.task import Task

    known = catalog()
    name, given = split_reference(model)
    component = known.find("victim", name).build(given)
    source_name, source_given = split_reference(dataset or known.default_dataset().name)
    source = known.find("dataset", source_name).build(source_given)
    if not isinstance(component, Model) or not isinstance(source, Dataset):
        raise TypeError
    folder = out or Path(name)
    with terminal() as progress:
        task = Task(
            classes=source.classes(),
            templates=tuple(source.templates),
            shape=source.load("train").shape,
            seed=seed,
            progress=progress,
        )
        reached = component.train(task, folder)
    for metric, value in reached.items():
        click.echo(f"{metric}: {value:.4f}")
    click.echo(f"weights: {folder}")
