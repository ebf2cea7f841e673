"""The table of traps: for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from robench.evidence.plain_text import plain
from robench_traps.runner import Answer, Result
from robench_traps.runs import Run

if TYPE_CHECKING:
    from rich.table import Table

HEAD = ("trap", "outcome", "verdict", "caught by")
#: What is shown of a refusal; the whole sentence is in the JSON.
SENTENCE = 70


def head(results: Sequence[Result]) -> tuple[str, ...]:
    """Return the titles of the columns: the gate's, then a column for each detector."""
    return (*HEAD, *detectors(results))


def detectors(results: Sequence[Result]) -> list[str]:
    """Return the names of the detectors that were asked."""
    return list(dict.fromkeys(name for result in results for name in result.answers))


def cells(result: Result, asked: Sequence[str]) -> tuple[str, ...]:
    """Return one row: name, outcome, verdict, what caught it, and what each detector warned of."""
    said = [", ".join(result.answers[name].warnings) or "nothing" if name in result.answers else "-" for name in asked]
    words = (result.evaluation.name, result.outcome, result.verdict, caught(result), *said)
    return tuple(plain(word, 300) for word in words)


def caught(result: Result) -> str:
    """Return the checks that did not pass, then the start of the sentence it was refused with."""
    parts = [*result.caught_by, *([f'"{plain(result.refusal, SENTENCE)}"'] if result.refusal else [])]
    return ", ".join(parts) or "-"


def summary(results: Sequence[Result]) -> str:
    """Return the numbers that count: of the gate, and of each detector beside it."""
    traps = [result for result in results if result.trap and result.outcome != "skipped"]
    controls = [result for result in results if not result.trap and result.outcome != "skipped"]
    rows: list[tuple[str, list[str], list[str]]] = [
        ("robench", [result.outcome for result in traps], [result.outcome for result in controls])
    ]
    for name in detectors(results):
        of_traps = [result.answers[name].outcome(True) for result in traps if name in result.answers]
        rows.append((name, of_traps, [each.answers[name].outcome(False) for each in controls if name in each.answers]))
    return "\n".join(
        f"{name}: {of_traps.count('caught')} of {len(of_traps)} traps caught, "
        f"{of_controls.count('accused')} of {len(of_controls)} honest controls accused."
        for name, of_traps, of_controls in rows
    )


def terminal(results: Sequence[Result]) -> Table:
    """Return the table for a rich console."""
    from rich.table import Table
    from rich.text import Text

    asked = detectors(results)
    table = Table(*head(results), box=None, header_style="bold", pad_edge=False)
    for result in results:
        # Text, since a sentence may hold brackets.
        table.add_row(*(Text(word, style="" if result.good else "bold red") for word in cells(result, asked)))
    return table


def markdown(results: Sequence[Result], command: str, runs: Sequence[Run] = ()) -> str:
    """Return the page: the command, the numbers, the traps and the controls with their stories.

    Args:
        results: what is shown row by row.
        command: what was typed.
        runs: this run and others beside it, in short.
    """
    asked = detectors(results)
    parts = ["# Traps", f"<!-- Written by `{command}`; do not edit. -->", INTRODUCTION, f"    {command}"]
    parts.append("\n".join(f"- {line}" for line in summary(results).splitlines()))
    if runs:
        parts += [WEIGHTS, "\n".join(f"- {run.line}" for run in runs)]
    for title, wanted in (("## Traps", True), ("## Honest controls", False)):
        chosen = [result for result in results if result.trap is wanted]
        if chosen:
            parts += [title, _grid(chosen, asked)]
    stories = "\n".join(f"- `{escape(result.evaluation.name)}`: {_story(result)}" for result in results)
    return "\n\n".join([*parts, "## What each one does", stories, ""])


def _grid(results: Sequence[Result], asked: Sequence[str]) -> str:
    titles = (*HEAD, *asked)
    rows = [titles, tuple(":--" for _ in titles), *(tuple(map(escape, cells(each, asked))) for each in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _story(result: Result) -> str:
    case = f" ({escape(result.evaluation.case)})" if result.evaluation.case else ""
    return f"{escape(result.evaluation.story)}{case}"


def escape(text: str) -> str:
    """Return ``text`` so that neither a table nor HTML reads anything into it."""
    for letter, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("*", "\\*"), ("`", "'")):
        text = text.replace(letter, written)
    return plain(text, 600)


def as_json(results: Sequence[Result], run: Run) -> dict[str, Any]:
    """Return every field of every result as JSON values, and with which weights and kernels they were found."""
    return {"weights": run.weights, "kernels": run.kernels, "results": [_record(result) for result in results]}


def _record(result: Result) -> dict[str, Any]:
    return {
        "name": result.evaluation.name,
        "kind": "trap" if result.trap else "twin",
        "story": result.evaluation.story,
        "case": result.evaluation.case,
        "outcome": result.outcome,
        "verdict": result.verdict,
        "caught_by": list(result.caught_by),
        "refusal": result.refusal,
        "detectors": {name: _said(answer, result.trap) for name, answer in result.answers.items()},
        "seconds": round(result.seconds, 2),
    }


def _said(answer: Answer, trap: bool) -> dict[str, Any]:
    return {
        "outcome": answer.outcome(trap),
        "warnings": list(answer.warnings),
        "reason": answer.reason,
        "seconds": round(answer.seconds, 2),
    }


WEIGHTS = """\
The small networks are trained on the spot: other weights (`--weights`) and other processors give other networks
(`ATEN_CPU_CAPABILITY=default` takes the oldest kernels)."""

INTRODUCTION = """\
Each trap is a small wrong evaluation that runs through the whole harness like anybody's plugin; its number must not
be ranked, and the check that is made for its mistake must say why (*caught*; *elsewhere*: stopped, but by another
check; *escaped*: ranked). Each control is honest and must come out VALID (*cleared*; else *accused*). A column for
each other detector holds what it warns of by itself: any warning catches a trap, and accuses a control.
`autoattack-flags` are AutoAttack's five, by the definitions and thresholds of its own code; `ioaf` are the six
Indicators of Attack Failure (Pintor et al. 2022), from the attack's trace; `art-gradients` is the gradient check of the
Adversarial Robustness Toolbox; `raises` stands where a tool would have ended with an exception. These are numbers about
warnings, not about attacks: where a trap is a bad attack on a sound model, running AutoAttack in its place would have
given a right number, and nothing would have said that the number before was wrong. Plugins add traps, controls and
detectors of their own."""
