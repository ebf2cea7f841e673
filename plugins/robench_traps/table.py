"""The table of traps: for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from robench.evidence.plain_text import plain
from robench_traps.runner import Result

if TYPE_CHECKING:
    from rich.table import Table

HEAD = ("trap", "outcome", "verdict", "caught by", "AutoAttack says")
#: What is shown of a refusal; the whole sentence is in the JSON.
SENTENCE = 70


def cells(result: Result) -> tuple[str, ...]:
    """Return one row: name, outcome, verdict, what caught it, and AutoAttack's warnings."""
    said = "-" if result.flags is None else ", ".join(result.flags) or "nothing"
    words = (result.evaluation.name, result.outcome, result.verdict, caught(result), said)
    return tuple(plain(word, 300) for word in words)


def caught(result: Result) -> str:
    """Return the checks that did not pass, then the start of the sentence it was refused with."""
    parts = [*result.caught_by, *([f'"{plain(result.refusal, SENTENCE)}"'] if result.refusal else [])]
    return ", ".join(parts) or "-"


def summary(results: Sequence[Result]) -> str:
    """Return the two numbers that count, and the same two for AutoAttack's warnings."""
    traps = [result for result in results if result.trap and result.outcome != "skipped"]
    controls = [result for result in results if not result.trap and result.outcome != "skipped"]
    lines = [
        f"robench: {sum(result.outcome == 'caught' for result in traps)} of {len(traps)} traps caught, "
        f"{sum(result.outcome == 'accused' for result in controls)} of {len(controls)} honest controls accused."
    ]
    if any(result.flags is not None for result in results):
        lines.append(
            f"AutoAttack's five warnings: {sum(bool(result.flags) for result in traps)} of {len(traps)} traps, "
            f"{sum(bool(result.flags) for result in controls)} of {len(controls)} honest controls."
        )
    return "\n".join(lines)


def terminal(results: Sequence[Result]) -> Table:
    """Return the table for a rich console."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*HEAD, box=None, header_style="bold", pad_edge=False)
    for result in results:
        # Text, since a sentence may hold brackets.
        table.add_row(*(Text(word, style="" if result.good else "bold red") for word in cells(result)))
    return table


def markdown(results: Sequence[Result], command: str) -> str:
    """Return the page: the command, the numbers, the traps and the controls with their stories."""
    parts = ["# Traps", f"<!-- Written by `{command}`; do not edit. -->", INTRODUCTION, f"    {command}"]
    parts.append("\n".join(f"- {line}" for line in summary(results).splitlines()))
    for title, wanted in (("## Traps", True), ("## Honest controls", False)):
        chosen = [result for result in results if result.trap is wanted]
        if chosen:
            parts += [title, _grid(chosen)]
    stories = "\n".join(f"- `{escape(result.evaluation.name)}`: {_story(result)}" for result in results)
    return "\n\n".join([*parts, "## What each one does", stories, ""])


def _grid(results: Sequence[Result]) -> str:
    rows = [HEAD, tuple(":--" for _ in HEAD), *(tuple(map(escape, cells(result))) for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _story(result: Result) -> str:
    case = f" ({escape(result.evaluation.case)})" if result.evaluation.case else ""
    return f"{escape(result.evaluation.story)}{case}"


def escape(text: str) -> str:
    """Return ``text`` so that neither a table nor HTML reads anything into it."""
    for letter, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("*", "\\*"), ("`", "'")):
        text = text.replace(letter, written)
    return plain(text, 600)


def as_json(results: Sequence[Result]) -> str:
    """Return every field of every result."""
    return json.dumps({"results": [_record(result) for result in results]}, indent=2) + "\n"


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
        "autoattack": None if result.flags is None else list(result.flags),
        "seconds": round(result.seconds, 2),
    }


INTRODUCTION = """\
Each trap is a small wrong evaluation that runs through the whole harness like anybody's plugin; its number must not
be ranked, and the check that is made for its mistake must say why (*caught*; *elsewhere*: stopped, but by another
check; *escaped*: ranked). Each control is honest and must come out VALID (*cleared*; else *accused*). The last column
is what AutoAttack says by itself of the same model, by the definitions and thresholds of its own code: randomised
answers, softmax output, zero gradient, autograd in the forward pass, Square winning images that gradients left. It is
a number about warnings, not about attacks: where a trap is a bad attack on a sound model, running AutoAttack in its
place would have given a right number, and nothing would have said that the number before was wrong."""
