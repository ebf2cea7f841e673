"""``robench export-defense``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli import completers
from robench.cli.options import store_option
from robench.cli.output import Folder
from robench.cli.strict import Command


@click.command("export-defense", cls=Command)
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
@click.option(
    "-o",
    "--out",
    type=Folder("such as -o my-tecoa", file_okay=False),
    required=True,
    help="Folder for the model, its tensors and its model card.",
)
@store_option("Folder in which the defense was fitted [default: the user's cache folder].")
def export_defense_command(card: Path, out: Path, store: Path | None) -> None:
    """Write the defended victim of a card so that torch and transformers load it without robench.

    In the folder are a torch.export program (images in [0, 1] in, logits out), all tensors (safetensors), a checkpoint
    of transformers where the model is a CLIP of its architecture (adapters merged; a LoRA also by itself, as peft's
    folder beside the tower it adapts), and README.md as model card.
    Nothing is trained: the store must have the fit. What is written is loaded again and compared before it counts.

    \b
    robench run --defense tecoa --attack pgd
    robench export-defense results/cards/CARD.json -o my-tecoa
    """
    from robench.errors import SpecError
    from robench.evidence.card_file import read
    from robench.evidence.files import ready_folder, write_whole
    from robench.evidence.store import default_root
    from robench.pipeline.exported_defense import FILES, export, model_card, stored_defense
    from robench.pipeline.taken_folders import check_export
    from robench.pipeline.workbench import Options, Workbench
    from robench.verify.recompute import find_cell

    found = read(card)
    if found.training.randomized:
        raise SpecError(
            f"{found.cell.defense.label} is randomized, and an exported program would draw once and for all; only "
            "defenses that answer alike each time can be exported."
        )
    ready_folder(out)
    check_export(out, found.id, FILES)
    cell = find_cell(found, "cpu")
    if cell is None:
        raise SpecError(
            f"{card} was made by another version of its components, or with other files than those here; run it again "
            "and export the new card."
        )
    bench = Workbench(Options(store=store or default_root(), device="cpu"), "cpu")
    model = stored_defense(cell, bench)
    victim = bench.model(cell, cell.victim)
    files = export(model, victim, next(bench.data(cell).test[:4].batches(4)).images, out)
    write_whole(out / "README.md", model_card(found, files).encode())
    for name, what in {**files, "README.md": "model card"}.items():
        click.echo(f"{out / name}: {what}")
