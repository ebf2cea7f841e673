"""``robench traps``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli.options import Names, warn, without_option
from robench.cli.output import STDOUT, answering, deliver, file_option, json_option, ready
from robench.cli.strict import Command
from robench.cli.values import joined

GATES = ("quick", "standard", "thorough")


@click.command("traps", cls=Command)
@click.option("--only", type=Names(), multiple=True, help="Names of traps or honest controls [default: all].")
@click.option("--gate", type=click.Choice(GATES), default=None, help="How dear the checks may be.")
@click.option(
    "--detectors",
    type=Names(),
    multiple=True,
    help="Other tools that are asked, too; 'robench list detector' names them, none asks none [default: all].",
)
@click.option(
    "--weights",
    type=click.IntRange(0, 9999),
    default=0,
    show_default=True,
    help="Which weights the small networks get: the seed of their first values and of their training.",
)
@click.option(
    "--beside",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="What --json printed of another run, whose numbers the page states too; may be repeated.",
)
@json_option
@file_option("Also write the table as Markdown")
@without_option
def traps_command(
    only: tuple[list[str], ...],
    gate: str | None,
    detectors: tuple[list[str], ...],
    weights: int,
    beside: tuple[Path, ...],
    as_json: bool,
    out: Path | None,
) -> None:
    """Try the gate, and other detectors, on evaluations known to be wrong and on honest controls.

    Exit code 0 if the gate catches every trap and accuses no honest control, else 1. All of them take about ten
    minutes, and as long again where all detectors are asked. Plugins may add traps, controls and detectors.

    \b
    robench traps
    robench traps --only step-equals-eps,pgd-at
    robench traps --gate thorough --detectors none -o traps.md
    robench traps --only pgd-at,detached-branch --detectors 'autoattack-flags,ioaf[images=20]'
    ATEN_CPU_CAPABILITY=default robench traps --weights 1 --detectors none --json > other.json
    robench traps --beside other.json -o traps.md
    """
    import tempfile

    from rich.console import Console

    from robench.runtime.progress_bars import terminal
    from robench_traps import table
    from robench_traps.base import use_weights
    from robench_traps.registry import asked, chosen
    from robench_traps.runs import read_run, run_of
    from robench_traps.suite import run_all

    others = [read_run(file) for file in beside]
    use_weights(weights)
    wanted = chosen(joined(only))
    tools = asked(joined(detectors), warn)
    ready(out, as_json=as_json)
    with answering(as_json) as answer:
        with terminal() as progress, tempfile.TemporaryDirectory(prefix="robench-traps-") as folder:
            results = run_all(wanted, Path(folder), gate or "", tools, progress)
        run = run_of(results, weights)
        answer(table.as_json(results, run))
    if not as_json and out != STDOUT:
        Console(highlight=False, soft_wrap=False).print(table.terminal(results))
        click.echo(table.summary(results))
    if out is not None:
        words = ["robench traps", *([f"--only {','.join(joined(only))}"] if only else [])]
        words += [f"--gate {gate}"] if gate else []
        words += [f"--weights {weights}"] if weights else []
        words += [f"--beside {file}" for file in beside]
        words += [*([f"--detectors {','.join(joined(detectors))}"] if detectors else []), f"-o {out}"]
        deliver(out, table.markdown(results, " ".join(words), [run, *others]).encode(), "table", quiet=as_json)
    if not all(result.good for result in results):
        raise click.exceptions.Exit(1)
