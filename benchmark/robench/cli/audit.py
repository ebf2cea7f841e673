"""``robench audit``."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from robench.cli import completers
from robench.cli.options import Names, device_option, parameter_option, store_option
from robench.cli.output import printed_option
from robench.cli.strict import Command, WholeNumber
from robench.cli.values import joined, read_parameters


@click.command("audit", cls=Command)
@click.argument("model", shell_complete=completers.names)
@click.option("--dataset", default="", metavar="NAME", help="Dataset [default: the embedded digits].")
@click.option("--defense", type=Names(), multiple=True, help="Defenses to put in front of it [default: none].")
@click.option("--attack", type=Names(), multiple=True, help="Attacks whose numbers are judged [default: pgd].")
@click.option("--eps", type=Names(), multiple=True, help="Radii in pixel units, images in [0, 1] [default: 8/255].")
@click.option("--norm", default="Linf", show_default=True, metavar="NORM", help="Linf, L2, L1, L0, patch, corruption.")
@click.option(
    "--limit", "--n", "n", type=WholeNumber(None, "100"), metavar="N", help="Number of test images [default: all]."
)
@click.option(
    "--seed",
    type=WholeNumber(None, "0"),
    default=0,
    show_default=True,
    metavar="SEED",
    help="Determines everything that is drawn.",
)
@parameter_option("A component's parameter, such as attack.steps=20.")
@click.option(
    "--gate",
    default="standard",
    show_default=True,
    metavar="LEVEL",
    help="quick, standard or thorough: how hard to try.",
)
@device_option
@store_option("Folder of artifacts [default: none is kept, since code is not fingerprinted].")
@printed_option
def audit_command(model: str, store: Path | None, **options: Any) -> None:
    """Run the gate on any model and explain the verdict; exit code 0 if every number is VALID, else 1.

    MODEL is a victim's name, package.module:name or file.py:name (an nn.Module, or a function that returns one; images
    in [0, 1] in, logits out), or a file: torchscript:FILE, export:FILE, hf-dir:FOLDER.

    \b
    robench audit my_package.models:build --dataset cifar10 --eps 8/255
    robench audit net.py:model --attack pgd,square --gate thorough --n 200
    robench audit tiny-clip --defense tecoa
    """
    from rich.console import Console

    from robench.api import run
    from robench.cli.card_view import print_verdict
    from robench.plan.spec import Spec
    from robench.runtime.progress_bars import terminal

    spec = Spec(
        dataset=options["dataset"],
        victim=(model,),
        defense=joined(options["defense"]) or ("none",),
        attack=joined(options["attack"]) or ("pgd",),
        eps=joined(options["eps"]) or ("8/255",),
        norm=options["norm"],
        n=options["n"],
        seed=(options["seed"],),
        parameters=read_parameters(options["parameters"]),
    )
    keeping = tempfile.TemporaryDirectory(prefix="robench-audit-") if store is None else nullcontext(str(store))
    with keeping as folder, terminal() as progress:
        cards = run(spec, gate=options["gate"], device=options["device"], store=folder, progress=progress)
    console = Console(highlight=False)
    for place, card in enumerate(cards):
        console.print("\n" * (place > 0), end="")
        print_verdict(card, console)
    if any(card.gate.verdict != "VALID" for card in cards):
        raise click.exceptions.Exit(1)
