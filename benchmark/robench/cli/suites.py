"""``robench suites``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from robench.cli import completers
from robench.cli.options import without_option
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command

if TYPE_CHECKING:
    from robench.plan.suite import Suite


@click.command("suites", cls=Command)
@click.argument("name", required=False, shell_complete=completers.suite_names)
@json_option
@printed_option
@without_option
def suites_command(name: str | None, as_json: bool) -> None:
    """List the suites that come along, and what each needs that is not here; or print one, to be changed.

    \b
    robench suites
    robench suites --json
    robench suites digits > mine.toml
    robench run suite:digits
    """
    from robench.plan.suite import PREFIX, read_suite, shipped, suite_file

    chosen = shipped()
    if name is not None:
        bare = name.removeprefix(PREFIX)
        chosen = {bare: suite_file(PREFIX + bare)}
        if not as_json:
            click.echo(chosen[bare].read_text(encoding="utf-8"), nl=False)
            return
    with answering(as_json) as answer:
        listed = []
        for known, path in chosen.items():
            suite = read_suite(path)
            needs = _needs(suite)
            text = {} if name is None else {"text": path.read_text(encoding="utf-8")}
            listed.append({"name": PREFIX + known, **_described(suite), "needs": needs, **text})
            click.echo(f"{PREFIX}{known}\n    {suite.title}")
            for sentence in needs:
                click.echo(f"    needs: {sentence}")
            if not needs:
                click.echo("    everything is here")
        answer({"suites": listed})


def _described(suite: Suite) -> dict[str, Any]:
    """Return a suite as JSON values: each of its runs as a request."""
    return {
        "title": suite.title,
        "description": suite.description.strip(),
        "differs": list(suite.differs),
        "runs": [run.request() for run in suite.runs],
    }


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
