"""``robench doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robench.cli.options import store_option
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.cli.doctor_checks import Check

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor", cls=Command)
@store_option("Folder of the artifacts [default: the user's cache folder].")
@click.option("--offline", is_flag=True, help="Leave the hub alone.")
@click.option("--deep", is_flag=True, help="Also read every stored tensor and compare its checksum.")
@json_option
@printed_option
def doctor_command(store: Path | None, offline: bool, deep: bool, as_json: bool) -> None:
    """Look over this machine and installation, and say what to do about what is wrong.

    Python, CPU, memory, disk, the store, its checksums and its locks, plugins, versions, the hub, torch, CUDA and TF32.
    Exit code 1 if anything fails; a warning is something to know, not to mend before a run.

    \b
    robench doctor                    everything, torch last
    robench doctor --offline --deep   read the whole store, reach for nothing
    robench doctor --json             for a bug report
    """
    from robench.evidence.plain_text import plain
    from robench.evidence.store import default_root

    found = []
    with answering(as_json) as answer:
        for check in examine(store or default_root(), offline=offline, deep=deep):
            found.append(check)
            if not as_json:
                mark = click.style(f"{check.status:5}", fg=COLOURS[check.status])
                # A plugin's error may hold anything: no control characters reach the terminal.
                click.echo(f"{mark} {check.name:11} {plain(check.detail, 600)}")
                if check.remedy:
                    click.echo(f"{'':18}-> {plain(check.remedy, 600)}")
        answer({"checks": [dict(check.__dict__) for check in found]})
    failed = [check.name for check in found if check.status == "fail"]
    if failed and not as_json:
        click.echo(f"\nNot fit to run: {', '.join(failed)}.")
    if failed:
        raise click.exceptions.Exit(1)


def examine(store: Path, *, offline: bool = False, deep: bool = False) -> Iterator[Check]:
    """Yield every finding as soon as it is there, the cheap ones first and torch last."""
    from robench.cli import doctor_checks as checks
    from robench.cli.doctor_store import locks, stored

    yield checks.python()
    yield checks.processors()
    yield checks.memory()
    yield checks.disk(store)
    yield from stored(store, deep)
    yield from locks(store)
    yield from checks.plugins()
    yield from checks.versions()
    yield checks.hub(offline)
    from robench.cli.doctor_gpu import accelerator  # torch takes seconds: what is above is on the screen by then

    yield from accelerator()
