"""``robench inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robench.cli import completers
from robench.cli.options import parameter_option, without_option
from robench.cli.output import STDOUT, deliver, ready
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.cli.inspect_dataset import Line
    from robench.contracts.task import Progress


@click.command("inspect", cls=Command)
@click.option(
    "--dataset",
    default="",
    metavar="NAME",
    shell_complete=completers.names,
    help="Dataset [default: the embedded digits]; folder:DIR is one of your own.",
)
@click.option(
    "--victim",
    default="",
    metavar="NAME",
    shell_complete=completers.names,
    help="Model whose view of the images is shown [default: none, the images alone].",
)
@parameter_option("A component's parameter, such as dataset.size=32.")
@click.option(
    "--limit",
    "--n",
    "n",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Most test images that are decoded and classified: those that a run of as many would take.",
)
@click.option(
    "-o",
    "--output",
    "--out",
    "output",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Contact sheet of the first images, a PNG file; - is the standard output.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@click.option("--offline", is_flag=True, help="Never reach for a hub.")
@without_option
def inspect_command(output: Path | None, offline: bool, **given: Any) -> None:
    """Show what robench understood of a dataset and of a victim, before anything is attacked.

    How many files of which kind, modes, sizes and orientations; what was left out; the classes in order, with counts;
    the preprocessing in words; clean accuracy on a few images beside the stated one. Nothing is attacked, trained or
    stored. Exit code 2 if an image or a model cannot be read.

    \b
    robench inspect --dataset folder:photos -p dataset.size=32
    robench inspect --dataset folder:photos -p dataset.size=32 --victim tiny-clip -o sheet.png
    """
    from robench.api import go_offline
    from robench.evidence.plain_text import plain
    from robench.runtime.progress_bars import terminal

    go_offline(offline)
    check_writable(output)
    with terminal() as progress:
        lines = examine(output, progress, **given)
    for label, text in lines:
        # A file name or a class name may hold anything: no control characters reach the terminal.
        click.echo(f"{label:10} {plain(text, 2000)}".rstrip(), err=output == STDOUT)


def check_writable(output: Path | None, *, as_json: bool = False) -> None:
    """Raise SpecError or StoreError, before any work, for a sheet that could not be written."""
    from robench.errors import SpecError

    if output not in (None, STDOUT) and output.suffix.lower() != ".png":
        raise SpecError(f"-o {output} is no PNG file, and another format would change pixels; write -o sheet.png.")
    ready(output, as_json=as_json, binary="PNG file")


def examine(
    output: Path | None,
    progress: Progress,
    *,
    dataset: str,
    victim: str,
    parameters: tuple[str, ...],
    n: int,
    device: str,
) -> list[Line]:
    """Return what there is to say, and write the contact sheet."""
    from robench.api import choose_device
    from robench.cli.inspect_dataset import survey
    from robench.cli.values import read_parameters
    from robench.contracts.components import Dataset
    from robench.plan.cell import type_of
    from robench.plan.spec import Spec, plan, plan_dataset

    spec = Spec(dataset=dataset, victim=(victim,) if victim else (), parameters=read_parameters(parameters))
    cells = plan(spec, choose_device(device)) if victim else []
    chosen = cells[0].dataset if cells else plan_dataset(spec)
    known = survey(chosen.record().label, type_of(chosen, Dataset), n, progress)
    lines = known.lines
    view = None
    if cells:
        from robench.cli.inspect_victim import look_through

        view = look_through(cells[0], known, choose_device(device), progress)
        lines += view.lines
    if output is not None:
        from robench.cli.contact_sheet import draw

        sheet, shown = draw(known, view)
        deliver(output, sheet)
        lines.append(("sheet", f"{output}: {shown}"))
    return lines
