"""The figures that docs/gate.md takes from the exam are those of docs/exam.md and of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robench.evidence.check_rules import LOST
from robench.evidence.check_verdict import exceeds
from robench.evidence.statistics import binomial_tail, wilson

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAM, GATE = (DOCS / "exam.md").read_text(), (DOCS / "gate.md").read_text()


def least(limit, n=100):
    """Return from how many images of ``n`` on a share is certainly above the limit."""
    return next(count for count in range(n + 1) if exceeds(count, n, limit))


@pytest.mark.parametrize(
    ("check", "tried"),
    [
        ("one step <= many steps", "`fgsm`"),
        ("more steps", "`pgd[steps=40]`"),
        ("stronger attack", "`apgd` or `apgd[loss=margin]`"),
        ("queries <= gradients", "`square[queries=150]`"),
        ("noise <= gradients", "`noise[draws=100]`"),
    ],
)
def test_a_row_follows_from_the_exam_and_the_limit(check, tried):
    (row,) = re.findall(rf"^\| {re.escape(f'{check} | {tried} beyond `pgd` |')}(.*)$", EXAM, re.MULTILINE)
    won, of = map(int, re.search(r"(\d+) of (\d+)", row.split("|")[1]).groups())
    limit, seen = LOST[check][0][0], won / of
    low, high = wilson(won, of)
    count = least(limit)
    chance = [binomial_tail(count, 100, rate) if rate else 0.0 for rate in (seen, high)]

    assert (
        f"| {check} | {tried} | {won} of {of}: {low:.1%} to {high:.1%} | {limit:.0%} | {count} of 100 | "
        f"{chance[0]:.1%} | {chance[1]:.1%} |\n" in GATE
    )


def test_the_shares_found_are_those_of_the_exam():
    said = re.findall(r"`([^`]+)` (\d+ of \d+)", GATE.split("## What the limits rest on")[1].split("\n\n|")[0])
    marks = EXAM.split("## Found on each model")[0]

    assert len(said) == 6
    for attack, found in said:
        (row,) = re.findall(rf"^\| `{re.escape(attack)}` \|(.*)$", marks, re.MULTILINE)
        assert f"({found})" in row.split("|")[0]
