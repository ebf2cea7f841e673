"""``robench train``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robench.cli import completers
from robench.cli.options import parameter_option, store_option
from robench.cli.output import Folder
from robench.cli.strict import Command, WholeNumber
from robench.cli.values import read_parameters

if TYPE_CHECKING:
    from robench.contracts.components import Model
    from robench.plan.cell import Cell


@click.command("train", cls=Command)
@click.argument("model", shell_complete=completers.components)
@click.option(
    "--dataset",
    default="",
    metavar="NAME",
    shell_complete=completers.names,
    help="Dataset [default: the embedded digits].",
)
@click.option(
    "--seed",
    type=WholeNumber(None, "0"),
    default=0,
    show_default=True,
    metavar="SEED",
    help="Determines the weights, bit by bit.",
)
@parameter_option("A parameter of the victim or the dataset, such as victim.epochs=5.")
@click.option("--device", default="auto", show_default=True, help="As for robench run; recipes run on the CPU.")
@click.option("--offline", is_flag=True, help="Never reach for a hub.")
@store_option("Folder of trained models, where robench run finds them [default: the user's cache folder].")
@click.option(
    "-o",
    "--out",
    type=Folder("such as -o my-model"),
    default=None,
    help="Folder of the weights and the training's card [default: ./MODEL].",
)
@click.option("--dry-run", is_flag=True, help="Print whether the store has it, or the passes that it takes.")
def train_command(
    model: str,
    dataset: str,
    seed: int,
    parameters: tuple[str, ...],
    device: str,
    offline: bool,
    store: Path | None,
    out: Path | None,
    dry_run: bool,
) -> None:
    """Train a victim that comes without weights, or repeat the recipe that made a model's shipped ones.

    The same model, dataset and seed are not trained again by robench run, which finds them in the store.

    \b
    robench train mlp --dataset mnist -p victim.hidden=1024,1024 -o my-mlp
    robench train 'plant-vit[epochs=50,patience=5]' --dataset folder:photos --seed 1
    robench train tiny-clip --dataset cifar10 -p victim.epochs=20 -o my-clip
    robench run --dataset cifar10 --victim tiny-clip -p victim.checkpoint=my-clip
    """
    from robench.api import choose_device, go_offline
    from robench.contracts.components import Model
    from robench.plan.arguments import check_options
    from robench.plan.cell import type_of

    check_options(device)
    go_offline(offline)
    device = choose_device(device)
    cell = planned(model, dataset, seed, read_parameters(parameters), device)
    victim: Model = type_of(cell.victim, Model)
    folder = out or Path(victim.name)
    if not victim.untrained():
        repeat_recipe(cell, victim, folder, dry_run)
    elif dry_run:
        from robench.cli.dry_run import print_training_plan

        print_training_plan(cell, store)
    else:
        train_from_scratch(cell, store, device, folder)


def planned(model: str, dataset: str, seed: int, parameters: dict[str, str], device: str) -> Cell:
    """Return a cell of the victim; SpecError for what cannot be trained as written."""
    from robench.errors import SpecError
    from robench.plan.spec import Spec, plan

    cell = plan(Spec(dataset=dataset, victim=(model,), seed=(seed,), parameters=parameters), device)[0]
    trained = {part.component.name for part in (cell.dataset, *cell.victim.family)}
    for key in parameters:
        owner = key.partition(".")[0]
        if owner not in {"dataset", "victim", *trained}:
            raise SpecError(
                f"-p {key}: robench train only trains a victim, and knows no {owner}; give parameters of the victim "
                "or the dataset."
            )
    return cell


def train_from_scratch(cell: Cell, store: Path | None, device: str, folder: Path) -> None:
    """Train the cell's victim by the stage that a run trains it by; write its card and its weights."""
    from robench.cli.training_view import outcome_lines, parameter_words
    from robench.evidence.files import ready_folder
    from robench.evidence.store import default_root
    from robench.evidence.training_card_file import write
    from robench.pipeline.export_weights import hand_over
    from robench.pipeline.taken_folders import check_training
    from robench.pipeline.training_cards import train
    from robench.pipeline.workbench import Options, Workbench
    from robench.runtime.progress_bars import terminal

    ready_folder(folder)
    check_training(folder, cell.model_id(cell.victim))
    with terminal() as progress:
        workbench = Workbench(Options(store=store or default_root(), device=device, progress=progress), device)
        card = train(cell, cell.victim, workbench)
        weights, loaded, reason = hand_over(cell, cell.victim, workbench, folder)
    click.echo(f"{card.victim.label} on {card.dataset.label}, seed {card.seed}")
    click.echo(
        f"trained: {card.training.trainable:,} parameters on the {card.data.train_n:,} images of the train split"
    )
    for line in outcome_lines(card):
        click.echo(line)
    click.echo(f"card: {write(card, folder)}")
    click.echo(f"weights: {weights}{f' (robench run cannot load them: {reason})' if reason else ''}")
    if loaded:
        chosen = ["--dataset", card.dataset.name, *parameter_words("dataset", cell.dataset.changed)]
        words = ["--victim", card.victim.name, *parameter_words("victim", loaded)]
        click.echo(f"robench run {shlex.join([*chosen, *words])}")


def repeat_recipe(cell: Cell, model: Model, folder: Path, dry_run: bool) -> None:
    """Repeat the recipe of a model's shipped weights, and print what it reached."""
    from robench.contracts.components import Dataset, Model
    from robench.contracts.task import Task
    from robench.errors import WeightsError
    from robench.evidence.files import ready_folder
    from robench.pipeline.taken_folders import check_recipe
    from robench.plan.cell import type_of
    from robench.runtime.progress_bars import terminal

    source: Dataset = type_of(cell.dataset, Dataset)
    if type(model).train is Model.train:
        raise WeightsError(
            f"{model.name} comes with weights and ships no recipe of how they were made, so there is nothing to train; "
            f"'robench show {model.name}' says whether a parameter draws them instead."
        )
    if dry_run:
        click.echo(f"{model.name}: to do: the recipe of its shipped weights, whose passes are not counted")
        return
    ready_folder(folder)
    check_recipe(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with terminal() as progress:
        task = Task(
            classes=source.classes(),
            templates=tuple(source.templates),
            shape=source.load("train").shape,
            seed=cell.seed,
            progress=progress,
        )
        reached = model.train(task, folder, source)
    for metric, value in reached.items():
        click.echo(f"{metric}: {value:.4f}")
    click.echo(f"weights: {folder}")
