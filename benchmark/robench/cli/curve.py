"""``robench curve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from robench.cli.options import warn
from robench.cli.output import answering, json_option
from robench.cli.request import requests
from robench.cli.run import run_command
from robench.cli.strict import Command, Number

#: The options of ``robench run`` that this command takes too.
SHARED = (
    "dataset", "train_dataset", "victim", "defense", "attack", "surrogate", "certificate", "eps", "norm", "precision",
    "parameters", "label", "n", "seed", "device", "batch_size", "gate", "timeout", "offline", "store", "out",
)  # fmt: skip

#: What the cells of a curve are run with beside what is asked for.
FIXED: dict[str, Any] = {
    "compiled": False, "no_prepare": False, "gate_images": None, "gate_cost": None, "no_gallery": True,
    "keep_images": "all", "shard": None, "no_compute": False,
}  # fmt: skip

#: A bracket narrower than this would be finer than the tolerance with which images are held to their ball.
FINEST = 1e-5


@click.command("curve", cls=Command, params=[param for param in run_command.params if param.name in SHARED])
@click.option(
    "--bisect",
    type=Number("1/255"),
    default=None,
    metavar="WIDTH",
    help="Halve each image's bracket, attacking that image alone, until it is no wider than this.",
)
@json_option
def curve_command(store: Path | None, out: Path, bisect: float | None, as_json: bool, **options: Any) -> None:
    """Measure robust accuracy over several radii, and of each image the smallest radius at which it fell.

    Each radius is a run of its own, with cards, from the store where it has them. An image that fell has fallen at all
    larger radii: where an attack lost it again, that is said. With --certificate the table and the chart show both ends
    of the bracket: certified <= truth <= attacked. Beside the cards in OUT come curve.csv (a row a radius),
    critical-eps.csv (a row an image), curve.json (both), and the chart as PNG and SVG.

    \b
    robench curve --defense tecoa --attack apgd --eps 1/255,2/255,4/255,8/255
    robench curve --attack pgd --eps 4/255,16/255 --bisect 0.5/255 --n 100
    robench curve --attack cw --norm L2 --eps 0.5,1,2
    robench curve --victim mlp --defense pgd-at --attack apgd --certificate crown --eps 1/255,2/255,4/255
    """
    from robench.cli.curve_files import curves_json, print_curves, write_curves
    from robench.cli.curve_run import lines, measured
    from robench.cli.run_results import failed, print_failures
    from robench.contracts.threat_model import counts
    from robench.errors import SpecError
    from robench.gate.level import level_of
    from robench.plan.arguments import check_options

    if not options["eps"]:
        raise SpecError("The radii of the curve are missing; name some, such as --eps 1/255,2/255,4/255,8/255.")
    if bisect is not None and bisect < FINEST:
        raise SpecError(
            f"--bisect {bisect:g} is finer than images are held to their ball; give a width of at least {FINEST:g}, "
            "such as 0.5/255."
        )
    if bisect is not None and counts(options["norm"]):
        raise SpecError(
            f"--bisect halves radii, and eps of {options['norm']} is a whole number; leave it out and name the ones in "
            "between with --eps."
        )
    check_options(options["device"], options["batch_size"], options["timeout"])
    level_of(options["gate"], None, None)
    asked = requests(None, options)
    for note in asked.notes:
        warn(note)
    with answering(as_json) as answer:
        cards, failures = measured(asked.runs, store, out, {**options, **FIXED})
        found, shared = lines(asked.runs, cards, store, {**options, **FIXED}, bisect)
        print_curves(found, shared)
        values = curves_json(found, shared, bisect)
        written = write_curves(found, values, out, bisect)
        for path in written:
            click.echo(f"written: {path}")
        print_failures(failures)
        answer({**values, **failed(failures), "files": list(map(str, written))})
    if failures:
        raise click.exceptions.Exit(1)
