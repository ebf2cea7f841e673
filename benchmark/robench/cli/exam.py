"""``robench exam``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.cli.options import Names, store_option, without_option
from robench.cli.output import STDOUT, answering, deliver, file_option, json_option, ready
from robench.cli.strict import Command
from robench.cli.values import joined


@click.command("exam", cls=Command)
@click.option("--attack", type=Names(), multiple=True, help="Attacks [default: all but the dearest, and of libraries].")
@click.option("--only", type=Names(), multiple=True, help="Names of models with known truth [default: all].")
@json_option
@file_option("Also write the page as Markdown")
@store_option("Folder of artifacts: what an attack did on a model is not computed again.")
@without_option
def exam_command(
    attack: tuple[list[str], ...], only: tuple[list[str], ...], as_json: bool, out: Path | None, store: Path | None
) -> None:
    """Mark attacks on small models of which is known exactly which images can fall.

    Exit code 1 if an attack felled an image that cannot fall, or a bound proved too much, else 0. What was done is
    kept: a run that was stopped goes on, and then needs only the exact truths anew.

    \b
    robench exam --attack pgd,apgd,torchattacks:PGD
    robench exam --attack square[queries=1000] --only staircase,periodic
    robench exam -o exam.md
    """
    from rich.console import Console

    from robench.evidence.store import default_root
    from robench.runtime.progress_bars import terminal
    from robench_exam import table
    from robench_exam.candidates import attacks
    from robench_exam.lower_ends import brackets
    from robench_exam.runner import examine
    from robench_exam.subjects import chosen

    subjects = chosen(joined(only))
    candidates = attacks(joined(attack), subjects)
    ready(out, as_json=as_json)
    with answering(as_json) as answer:
        with terminal() as progress:
            scores = examine(candidates, subjects, store or default_root(), progress)
            proofs = brackets(subjects)
        answer(table.as_json(scores, proofs))
    complaints = table.complaints(scores, proofs)
    if not as_json and out != STDOUT:
        Console(highlight=False).print(table.terminal(scores))
    for sentence in [*table.failures(scores), *complaints]:
        click.echo(sentence, err=True)
    if out is not None:
        named = [*([f"--attack {','.join(joined(attack))}"] if attack else [])]
        named += [*([f"--only {','.join(joined(only))}"] if only else [])]
        page = table.markdown(scores, proofs, subjects, " ".join(["robench exam", *named, f"-o {out}"]))
        deliver(out, page.encode(), "page", quiet=as_json)
    if complaints:
        raise click.exceptions.Exit(1)
