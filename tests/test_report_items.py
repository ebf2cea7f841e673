"""The page of the reports' items: each command is understood, each test exists, and each suite says how it differs."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from robench.cli.commands import robench
from robench.plan.spec import plan
from robench.plan.suite import read_suite
from robench_leaderboard import read_cards

ROOT = Path(__file__).resolve().parents[1]
ITEMS = tomllib.loads((ROOT / "docs" / "reports.toml").read_text(encoding="utf-8"))["item"]
SUITES = sorted((ROOT / "suites").glob("report-*.toml"))


def test_every_report_is_there_and_every_suite_is_named():
    assert {re.match(r"\d+", item["report"]).group() for item in ITEMS} == {"000", "001", "002", "003", "004"}
    named = set(re.findall(r"suite:(\S+)", " ".join(item["command"] for item in ITEMS)))
    assert named == {path.stem for path in SUITES}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["command"][:60])
def test_the_command_is_understood(item):
    words = shlex.split(item["command"])
    command = robench.commands[words[1]]
    try:
        context = command.make_context(words[1], words[2:])
    except click.UsageError as error:
        pytest.fail(error.format_message())
    assert words[0] == "robench"
    if words[1] == "run" and "dataset.path=DIR" not in words:
        from robench.cli.run import requests

        suite = context.params.pop("suite")
        assert [cell for spec in requests(suite, context.params).runs for cell in plan(spec)]


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["test"])
def test_the_test_exists(item):
    path, _, name = item["test"].partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_that_bears_a_report_s_name_says_where_it_differs(path):
    differs = read_suite(path).differs
    assert differs
    assert all(sentence.endswith(".") for sentence in differs)


def test_the_page_of_digits_by_gradient_descent_says_what_its_cards_say():
    cards = read_cards([ROOT / "leaderboard" / "digits-models" / "cards"])
    found = {}
    for card in cards:
        victim, history = card.cell.victim, card.model.training.history
        loss = {"mse": "MSE", "cross-entropy": "cross-entropy"}[victim.parameters["loss"]]
        key = {"mlp": "perceptron"}.get(victim.name, victim.name), loss, str(victim.parameters["batch_size"])
        row = found.setdefault(key, {})
        radius = round(255 * card.cell.threat.eps)
        row[radius] = min(row.get(radius, 100), 100 * card.robust.rate)
        row |= {"epochs": history[-1]["epoch"], "train": 100 * history[-1]["accuracy"], "test": 100 * card.clean.rate}
    text = (ROOT / "docs" / "digits-models.md").read_text(encoding="utf-8")
    rows = [
        line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| linear", "| perceptron"))
    ]
    said = {(name, loss, batch.replace("all", "2000")): rest for name, loss, batch, *rest in rows}
    assert set(said) == set(found)
    for key, (epochs, train, test, _, four, eight) in said.items():
        row = found[key]
        assert int(re.match(r"[\d,]*\d", epochs).group().replace(",", "")) == row["epochs"]
        assert (train, test, four, eight) == tuple(f"{row[name]:.1f}" for name in ("train", "test", 4, 8))
    assert {card.gate.verdict for card in cards} == {"VALID"}
