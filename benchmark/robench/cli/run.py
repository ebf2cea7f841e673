"""``robench run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from robench.cli import completers
from robench.cli.options import Names, device_option, parameter_option, store_option, warn, without_option
from robench.cli.output import Folder, answering, json_option
from robench.cli.perform import perform
from robench.cli.request import requests
from robench.cli.run_results import check_results, compare_with_published, finish, print_failures, results_json, unfit
from robench.cli.strict import Command, Number
from robench.cli.strict import WholeNumber as Whole
from robench.cli.workers import helped_by

NAMES = Names()


@click.command("run", cls=Command)
@click.argument("suite", required=False, type=click.Path(path_type=Path), shell_complete=completers.suites)
@click.option(
    "--dataset",
    type=NAMES,
    multiple=True,
    help="Datasets that are judged on [default: the embedded digits]; folder:DIR is one of your own.",
)
@click.option(
    "--protocol",
    default="",
    metavar="NAME",
    shell_complete=completers.protocols,
    help="Data, prompts, attack space, attack and eps as a paper has them (robench protocol list); --dataset then "
    "chooses among its sets.",
)
@click.option(
    "--train-dataset",
    default="",
    metavar="NAME",
    shell_complete=completers.names,
    help="What defenses, and victims that come without weights, are trained on [default: the dataset].",
)
@click.option(
    "--victim",
    type=NAMES,
    multiple=True,
    help="Models under test [default: the dataset's usual one]; FILE.py:FUNCTION, hf-dir:DIR, torchscript:FILE and "
    "export:FILE are models of your own.",
)
@click.option("--defense", type=NAMES, multiple=True, help="Defenses; the undefended victim is always measured too.")
@click.option(
    "--attack",
    type=NAMES,
    multiple=True,
    help="Attacks, through the defended victim end to end [default: pgd].",
)
@click.option(
    "--surrogate",
    type=NAMES,
    multiple=True,
    help="Also transfer from these models; 'self' is the undefended victim.",
)
@click.option(
    "--certificate",
    type=NAMES,
    multiple=True,
    help="Also what proves of images that they stand, the lower end: interval, crown, ...",
)
@click.option("--eps", type=NAMES, multiple=True, help="Radii in pixel units, images in [0, 1] [default: 8/255].")
@click.option(
    "--norm",
    default=None,
    metavar="NORM",
    help="Linf, L2, L1, L0 (eps counts pixels), patch (eps is a side) or corruption (a severity) [default: Linf].",
)
@click.option(
    "--precision",
    default=None,
    metavar="PRECISION",
    shell_complete=completers.precisions,
    help="What attacks run the model in: float32, or tf32 or bf16, which are faster on GPUs and can only weaken them; "
    "scores and the gate stay float32 [default: float32].",
)
@parameter_option("A component's parameter, such as attack.steps=20.")
@click.option(
    "--label",
    multiple=True,
    metavar="NAME",
    help="What a dataset or victim given by a path is called [default: its last folder]; dataset=NAME if both are.",
)
@click.option(
    "--limit",
    "--n",
    "n",
    type=Whole(None, "100"),
    default=None,
    metavar="N",
    help="Number of test images [default: all].",
)
@click.option(
    "--seed",
    type=NAMES,
    multiple=True,
    metavar="SEED,...",
    help="Seeds; one determines everything [default: 0].",
)
@device_option
@click.option(
    "--batch-size",
    type=Whole(1, "64"),
    default=None,
    metavar="N",
    help="Images at once [default: by device and resolution].",
)
@click.option(
    "--gate",
    default="standard",
    show_default=True,
    metavar="LEVEL",
    help="How hard to try to disprove the numbers: quick, standard or thorough.",
)
@click.option(
    "--gate-images",
    type=Whole(None, "64"),
    default=None,
    metavar="N",
    help="Most images a dear probe takes [default: by level].",
)
@click.option(
    "--gate-cost",
    type=Number("1", finite=False),
    default=None,
    metavar="SHARE",
    help="Most passes the gate may add, as a share of the cell's own [default: 0.15, 1, or no limit].",
)
@click.option(
    "--timeout",
    type=Number("60", finite=False),
    default=None,
    metavar="SECONDS",
    help="Give up an attack on one batch after.",
)
@click.option(
    "--workers",
    type=Whole(1, "4"),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the work, one a GPU; on a CPU set OMP_NUM_THREADS to its cores / N.",
)
@click.option(
    "--shard",
    default=None,
    metavar="PART",
    help="Run one part of the grid: 3/8, or auto, as Slurm, Kubernetes (auto/8) or torchrun number this process.",
)
@click.option(
    "--on",
    "engine",
    default=None,
    metavar="ENGINE:FILE",
    help="Let an engine run the parts on other machines: parsl:CONFIG.py, whose 'config' says on which.",
)
@click.option("--no-compute", is_flag=True, help="Take what the store has; all else counts as failed.")
@click.option("--offline", is_flag=True, help="Never reach for a hub.")
@click.option("--compile", "compiled", is_flag=True, help="Use torch.compile (pays off on long runs).")
@click.option("--no-prepare", is_flag=True, help="Leave the inference graph as loaded.")
@click.option("--no-gallery", is_flag=True, help="Keep no pictures for robench report.")
@click.option(
    "--keep-images",
    default="all",
    show_default=True,
    metavar="WHICH",
    help="Adversarial images that stay in the store: all, flipped (those that fell) or digests (none).",
)
@store_option("Folder of fitted defenses and adversarial sets [default: the user's cache folder].")
@click.option(
    "-o",
    "--out",
    type=Folder("and print the cards with --json"),
    default=Path("results"),
    show_default=True,
    help="Folder of the cards, those of trainings, pictures and LEADERBOARD.md.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["suspect", "invalid"]),
    default=None,
    help="Exit code 1, for CI, if a number is INVALID, or with 'suspect' if it is not VALID.",
)
@json_option
@without_option
@click.option(
    "--dry-run", is_flag=True, help="Print the cells, what the store has, and the passes, time and disk that are left."
)
@click.option(
    "--rates",
    type=click.Path(path_type=Path),
    default=None,
    help="TOML file with passes_per_second = {VICTIM = 900} and the price of an hour, for --dry-run.",
)
def run_command(
    suite: Path | None, store: Path | None, out: Path, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Measure clean and robust accuracy, judge the numbers, and rank them.

    SUITE is a TOML file that says the same as the options, or suite:NAME, one that comes along (robench suites lists
    them). Options take the place of what it says, and the cards record them.

    \b
    robench run --defense tecoa --attack pgd
    robench run --defense none,lora-ce,tecoa,vpt --attack fgsm,pgd --surrogate self --eps 4/255,8/255
    robench run --victim mlp --defense none,pgd-at --certificate crown --eps 2/255
    robench run --defense 'tecoa[trainable=full]' -p attack.steps=50 --n 200
    robench run --victim net.py:build --dataset folder:photos --attack pgd --eps 4/255
    robench run suite:digits
    robench run suite:report-003-mnist --eps 0.05 --n 1000
    """
    from robench.gate.level import level_of
    from robench.plan.arguments import check_options
    from robench.plan.request_values import keep

    asked = requests(suite, options)
    for note in asked.notes:
        warn(note)
    check_options(options["device"], options["batch_size"], options["timeout"])
    keep(options["keep_images"])
    level = level_of(options["gate"], options["gate_images"], options["gate_cost"])
    if dry_run:
        from robench.cli.dry_run import print_plan

        with answering(as_json) as answer:
            print_plan(asked.runs, store, level, options, answer)
        return
    check_results(out)
    with answering(as_json) as answer:
        if options["engine"] is not None:
            from robench.cli.engine import run_on

            run_on(options["engine"], sys.argv[1:], asked.runs, store, out, options)
            options["no_compute"] = True  # what no task finished is told of, and not computed here
        with helped_by(options["workers"], sys.argv[1:]):
            cards, failures, trained = perform(asked.runs, store, out, options)
        judged = finish(cards, out)
        if trained:
            click.echo(f"trainings: {out / 'trainings'}")
        compare_with_published(asked, cards, out)
        print_failures(failures)
        refused = unfit(judged, options["fail_on"], out)
        answer(results_json(judged, failures, trained, out))
    if failures or refused:
        raise click.exceptions.Exit(1)
