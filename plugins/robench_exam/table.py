"""The exam's table: for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from robench.evidence.plain_text import plain
from robench_exam.comparisons import findings
from robench_exam.ground import Subject
from robench_exam.lower_ends import Bracket
from robench_exam.runner import Score

if TYPE_CHECKING:
    from rich.table import Table

HEAD = ("attack", "found, plain", "found, masked", "passes an image", "found per 1,000 passes")


def summaries(scores: Sequence[Score]) -> list[tuple[str, ...]]:
    """Return a line for each attack: what it found of each group, what it spent, and what it found for that."""
    return [_summary(name, [score for score in scores if score.attack == name]) for name in _names(scores)]


def _summary(name: str, scores: Sequence[Score]) -> tuple[str, ...]:
    tried = [score for score in scores if score.tried]
    passes = sum(score.forwards + score.backwards for score in tried)
    if not tried:
        return (name, "-", "-", "-", "-")
    images, found = sum(score.images for score in tried), sum(score.found for score in tried)
    rate = f"{1000 * found / passes:.3g}" if passes else "-"
    return (name, *(_recall(tried, group) for group in ("plain", "masked")), f"{passes / images:,.0f}", rate)


def _recall(scores: Sequence[Score], group: str) -> str:
    chosen = [score for score in scores if score.group == group]
    among = sum(score.vulnerable for score in chosen)
    found = sum(score.found for score in chosen)
    return f"{found / among:.0%} ({found} of {among})" if among else "-"


def cell(score: Score) -> str:
    """Return what an attack found on one model."""
    if score.untried:
        return "-"
    if score.failure:
        return "failed"
    return f"{score.found}" + (f", and {len(score.impossible)} IMPOSSIBLE" if score.impossible else "")


def complaints(scores: Sequence[Score], proofs: Sequence[Bracket]) -> list[str]:
    """Return a sentence for each attack that felled images which cannot fall, and each bound that proved too much."""
    wrong = [
        f"UNSOUND: the bound {proof.method} on {proof.subject}: it proves that the images "
        f"{', '.join(map(str, proof.impossible))} stand, and each of them has a point that fools this model."
        for proof in proofs if proof.impossible
    ]  # fmt: skip
    return wrong + [
        f"UNSOUND: {plain(score.attack)} on {score.subject}: the images {', '.join(map(str, score.impossible))} count "
        "as fallen, and no point of the ball fools this model there. The truth, the model or the harness is wrong; no "
        "number of this attack holds until it is known which."
        for score in scores if score.impossible
    ]  # fmt: skip


def failures(scores: Sequence[Score]) -> list[str]:
    """Return a sentence for each attack that did not come to its end."""
    found = {score.attack + score.failure: score for score in scores if score.failure}
    return [f"{plain(score.attack)} on {score.subject}: {plain(score.failure, 300)}" for score in found.values()]


def terminal(scores: Sequence[Score]) -> Table:
    """Return the summaries for a rich console."""
    from rich.table import Table
    from rich.text import Text

    table = Table(*HEAD, box=None, header_style="bold", pad_edge=False)
    wrong = {score.attack for score in scores if score.impossible}
    for words in summaries(scores):
        table.add_row(*(Text(plain(word), style="bold red" if words[0] in wrong else "") for word in words))
    return table


def markdown(
    scores: Sequence[Score], proofs: Sequence[Bracket], subjects: Sequence[Subject], command: str
) -> str:  # fmt: skip
    """Return the page: the command, the models, what each attack found, and what follows for the gate's limits."""
    vulnerable = {score.subject: f"{score.vulnerable} of {score.images}" for score in scores}
    models = [
        (f"`{subject.name}`", subject.group, str(subject.threat).removesuffix(" white-box"), vulnerable[subject.name],
         subject.story, subject.truth)
        for subject in subjects
    ]  # fmt: skip
    by = {(score.attack, score.subject): score for score in scores}
    matrix = [
        (_code(name), *(cell(by[name, subject.name]) for subject in subjects)) for name in _names(scores)
    ]  # fmt: skip
    totals = tuple(vulnerable[subject.name].partition(" ")[0] for subject in subjects)
    parts = [
        "# Exam: attacks against exact truth",
        f"<!-- Written by `{command}`; do not edit. -->",
        INTRODUCTION,
        f"    {command}",
        "\n".join(f"- {line}" for line in complaints(scores, proofs) or SOUND),
        "## Models",
        _grid(("model", "group", "threat", "can fall", "what it is", "how that is known"), models),
        "## Attacks",
        SUMMARY,
        _grid(HEAD, [(_code(name), *rest) for name, *rest in summaries(scores)]),
        "## Found on each model",
        "Of the images that can fall, which stand in the first row. `-`: the attack does not work in this norm.",
        _grid(("attack", *(subject.name for subject in subjects)), [("*can fall*", *totals), *matrix]),
        *_failed(scores),
        "## Bounds",
        BOUNDS,
        _proved(proofs),
        "## The gate's limits",
        LIMITS,
        _limits(scores),
        "",
    ]
    return "\n\n".join(parts)


def _failed(scores: Sequence[Score]) -> list[str]:
    found = failures(scores)
    return ["What failed, as the harness says it:", "\n".join(f"- {_safe(line)}" for line in found)] if found else []


def _limits(scores: Sequence[Score]) -> str:
    rows = []
    for found in findings(scores):
        entry = found.comparison
        shares = (share.text if share else "-" for share in (found.shares["plain"], found.shares["masked"]))
        tried = " or ".join(map(_code, entry.tried))
        limits = " / ".join(f"{limit:.0%}" for limit in found.limits)
        rows.append((entry.check, f"{tried} beyond {_code(entry.judged)}", limits, *shares, found.text))
    return _grid(("check", "compared", "limits today", "won on plain", "won on masked", "a limit would lie"), rows)


def _proved(proofs: Sequence[Bracket]) -> str:
    by = {(proof.subject, proof.method): proof for proof in proofs}
    methods, names = list(dict.fromkeys(proof.method for proof in proofs)), dict.fromkeys(by_ for by_, _ in by)
    rows = []
    for name in names:
        counts = [by[name, method] for method in methods]
        rows.append((f"`{name}`", f"{counts[0].robust} of {counts[0].images}", *(str(one.proved) for one in counts)))
    return _grid(("model", "stand", *methods), rows)


def as_json(scores: Sequence[Score], proofs: Sequence[Bracket]) -> dict[str, Any]:
    """Return every field of every score and of every bound as JSON values."""
    marks, bounds = ([dataclasses.asdict(one) for one in part] for part in (scores, proofs))
    return {"scores": marks, "bounds": bounds}


def _names(scores: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(score.attack for score in scores))


def _code(name: str) -> str:
    return f"`{_safe(name)}`"


def _safe(text: str) -> str:
    for letter, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'")):
        text = text.replace(letter, written)
    return plain(text, 400)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, [":--" for _ in head], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


SOUND = ["No attack felled an image that cannot fall, and no bound proved that one stands which can."]
INTRODUCTION = """\
The robust accuracy of a network is not known: an attack gives a number that is too high by an unknown amount. On the
small models here it is known, for each image, whether anything in the ball and the box is answered otherwise: each
image that can fall comes with a point that fools the model, and of each other one it is proved that there is none.
So an attack can be marked: the share of the images that can fall which it finds. Images are answered rightly to begin
with, and none lies so near its border that float32 could decide either way. On *plain* models gradients say where to
go; on *masked* ones they vanish, or lead into local minima, as those of broken defenses do. Models and images follow
from fixed seeds, attacks keep their default parameters unless brackets say otherwise, and the harness projects, counts
passes and decides what fell as in any run. An image that falls and cannot would be an error of somebody's: it is said
loudly, and the command ends with exit code 1."""
SUMMARY = """\
Passes are forwards and backwards of single images, as cards count them; an image that has fallen is attacked no
further by attacks that stop early (ours), which lowers their mean. Few models and images: differences of a few per cent
between attacks say little, and small models say nothing of how an attack scales. The order is the
command's. Built-in attacks of more than 2,000 passes an image (`square`, `cw`, `fab`, `autoattack`) are examined
only where they are named: `--attack autoattack`. Attacks of one perturbation for all images are examined on
`two-halves` alone, which serves images to fit it on (their passes are those of the fit), and a corruption on
`brightness`, where nothing is attacked: what falls is known by hand, and has to fall."""
BOUNDS = """\
From below: of the images that stand, those that a bound proves to (`robench.bounds`), on the models for which bounds
are known, chains of linear layers and ReLUs. `interval`: interval arithmetic (Gowal et al. 2018); `crown`: linear
bounds (Zhang et al. 2018); `crown-ibp`: linear bounds of the margins on intervals of the layers (Zhang et al. 2020).
The truth lies between what is proved and what no attack felled."""
LIMITS = """\
The gate accuses a row when another attack wins more of all images than a limit (`evidence/check_rules.py`; SUSPECT /
INVALID). Where models are plain such wins show a weak attack; where they are masked they show the masking too. A limit
tells the two apart if it lies above the upper end of the 95 % interval of what is won on plain models, and below the
lower end on masked ones; the last column holds those two. The limits in force were not changed by this page."""
