"""What pip installs from a wheel is whole: the suites are in it, and run from an empty folder."""

from __future__ import annotations

import json

import pytest

from .conftest import ROOT, Machine, environment_in


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Return a machine with the wheel, on which nothing of this repository is at hand."""
    environment = environment_in(tmp_path_factory.mktemp("wheel") / "venv", f"'{ROOT}'")
    return Machine(environment, tmp_path_factory.mktemp("empty"))


def test_the_suites_come_along(stranger):
    said = stranger.type("robench suites digits").out
    assert said == (ROOT / "suites" / "digits.toml").read_text()
    where = stranger.does("python -c 'from robench.plan.suite import shipped; print(shipped()[\"digits\"])'")
    assert str(stranger.environment) in where


def test_the_published_figures_come_along(stranger):
    stated = json.loads(stranger.does("robench published --source report-002 --figure clean_top5 --json"))
    assert [entry["figures"] for entry in stated["figures"]] == [{"clean": 52.24, "clean_top5": 88.72}]


def test_a_suite_runs_from_an_empty_folder(stranger):
    said = stranger.does(
        "robench run suite:digits --defense none --attack fgsm --eps 4/255 --n 20 --gate quick --no-gallery"
    )
    assert "leaderboard: results/LEADERBOARD.md" in said
    (path, *_) = (stranger.home / "results" / "cards").glob("*.json")
    changed = json.loads(path.read_text())["cell"]["given"]["suite"]
    assert changed == {
        "name": "suite:digits",
        "changed": {"defense": ["none"], "attack": ["fgsm"], "eps": ["4/255"], "n": 20},
    }
