"""``robench suites``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from robench.cli import completers
from robench.cli.options import without_option
from robench.cli.output import printed_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.plan.suite import Suite


@click.command("suites", cls=Command)
@click.argument("name", required=False, shell_complete=completers.suite_names)
@printed_option
@without_option
def suites_command(name: str | None) -> None:
    """List the suites that come along, and what each needs that is not here; or print one, to be changed.

    \b
    robench suites
    robench suites digits > mine.toml
    robench run suite:digits
    """
    from robench.plan.suite import PREFIX, read_suite, shipped, suite_file

    if name is not None:
        click.echo(suite_file(PREFIX + name.removeprefix(PREFIX)).read_text(encoding="utf-8"), nl=False)
        return
    for known, path in shipped().items():
        suite = read_suite(path)
        click.echo(f"{PREFIX}{known}\n    {suite.title}")
        for sentence in _needs(suite) or ["everything is here"]:
            click.echo(f"    needs: {sentence}" if sentence != "everything is here" else f"    {sentence}")


def _needs(suite: Suite) -> list[str]:
    """Return what a suite lacks, each once; what cannot be planned without its images says so itself."""
    from dataclasses import replace

    from robench.errors import DataError
    from robench.plan.needs import missing
    from robench.plan.spec import plan

    found: list[str] = []
    for run in suite.runs:
        try:
            found += missing(plan(replace(run, eps=run.eps[:1], seed=run.seed[:1])))
        except DataError as error:
            found.append(str(error))
    return list(dict.fromkeys(found))
