"""The documentation is what the code gives: generated parts, links, and every example that can run here."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from robench import seeded_globally

from .fork_server import script

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "leaderboard").glob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def robench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script(), *words], capture_output=True, text=True, cwd=ROOT, check=False)


def call(*words: str, **options) -> subprocess.CompletedProcess[str]:
    given = {"cwd": ROOT, **options}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, **given)


def test_generated_parts_are_what_the_code_gives():
    done = call("docs/generate.py", "--check")

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_page_is_what_the_cards_give():
    done = robench("leaderboard", "leaderboard/cards", "-o", "leaderboard", "--check")

    assert done.returncode == 0, done.stdout


def commands() -> list[str]:
    """Return the README's robench commands, comments cut off."""
    lines = re.findall(r"^\$ (?:.*&& )?(robench [^#\n]*)", README, flags=re.MULTILINE)
    return [line.strip() for line in lines]


def test_the_readme_has_commands():
    assert len(commands()) >= 8
    assert "robench run --defense tecoa --attack pgd" in commands()


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_is_understood(line, tmp_path):
    """Plan each run (what it downloads is not planned), show each page; nothing of it may be refused."""
    if "CARD.json" in line:
        line = line.replace("results/cards/CARD.json", next((ROOT / "leaderboard" / "cards").glob("*.json")).as_posix())
    first, second = sorted((ROOT / "leaderboard" / "cards").glob("*.json"))[:2]
    line = line.replace("A.json B.json", f"{first} {second}")
    line = line.replace("report results -o report.html", f"report {ROOT}/leaderboard/cards -o {tmp_path}/report.html")
    line = line.replace("dataset.path=photos", f"dataset.path={ROOT}").replace("checkpoint=DIR", f"checkpoint={ROOT}")
    words = shlex.split(line)[1:]
    if words[0] == "run":
        from robench.api import choose_device
        from robench.cli.run import requests, run_command
        from robench.plan.spec import plan

        context = run_command.make_context("run", words[1:])
        suite = context.params.pop("suite")
        specs = requests(suite, context.params).runs
        cells = [cell for spec in specs for cell in plan(spec, choose_device("cpu"))]
        assert cells
        return
    if words[0] in ("audit", "break", "predict", "submit", "traps"):
        # They need a module of yours, a new card, five minutes, a photo: read, not carried out.
        from robench.cli.commands import robench as group

        command = group.commands[words[0]]
        assert command.make_context(words[0], words[1:]).params
        return
    store = ["--store", str(tmp_path)] if words[0] == "verify" else []
    done = robench(*words, *store)
    # The store is empty: nothing of a card can be compared.
    assert done.returncode == (3 if words[0] == "verify" else 0), done.stderr


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (example,) = [
        code for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "robench.evaluate" in code
    ]
    preamble = "import torch\nmy_module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))\n"
    quick = example.replace('attack="pgd",', 'attack="pgd", parameters={"defense.epochs": 1, "attack.steps": 2},')
    assert quick != example
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with seeded_globally(0):
        exec(preamble + quick, {})  # noqa: S102 - the page's own

    # An untrained map: what the gate says of it is no matter of this test.
    assert capsys.readouterr().out.split()[-1] in ("VALID", "SUSPECT", "INVALID")


def test_architecture_names_every_folder_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for named in re.findall(r"`((?:benchmark|plugins|leaderboard|suites|examples|benchmarks|docs)/[^`*]*)`", text):
        assert (ROOT / named).exists(), named
    for named in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text):
        assert (ROOT / named).exists() or (ROOT / "benchmark" / "robench" / named).exists(), named
    assert len(text.splitlines()) <= 90
    for folder in (ROOT / "benchmark" / "robench").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"benchmark/robench/{folder.name}/" in text


def test_the_page_of_the_reports_is_what_its_cards_give():
    done = robench("leaderboard", "leaderboard/reports/cards", "-o", "leaderboard/reports", "--check")

    assert done.returncode == 0, done.stdout
