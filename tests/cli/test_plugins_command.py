"""`robench plugins`: distributions, versions, offers, and what is broken."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

import robench as package

HEAVY = {"torch", "transformers", "peft", "sklearn", "scipy", "torchvision"}


@pytest.fixture
def found(robench):
    done = robench("plugins", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_the_door_states_its_versions(found):
    assert (found["api"], found["oldest_api"]) == (package.API_VERSION, 1)


def test_the_builtins_are_a_plugin_like_any_other(found):
    (builtins,) = (plugin for plugin in found["plugins"] if plugin["name"] == "builtins")
    offers = builtins.pop("offers")
    assert builtins == {
        "name": "builtins",
        "distribution": "robench",
        "version": version("robench"),
        "api": 1,
        "state": "works",
        "reason": "",
        "notes": [],
    }
    assert {"digits", "imagefolder"} <= set(offers["dataset"])
    assert {"fgsm", "pgd"} <= set(offers["attack"])
    assert list(offers) == sorted(offers)


def test_the_table_says_the_same(robench):
    done = robench("plugins")
    assert done.code == 0
    assert done.out.split()[:5] == ["plugin", "distribution", "API", "state", "offers"]
    assert f"builtins robench {version('robench')} 1 works attack " in done.said
    assert done.out.endswith("robench's API is 1.\n")


@pytest.mark.parametrize(
    "words", [("plugins",), ("plugins", "--json"), ("list", "--without", "builtins")], ids=" ".join
)
def test_it_imports_no_torch(modules, words):
    assert not modules(*words) & HEAVY


def test_control_characters_of_a_distribution_do_not_reach_the_terminal(robench, tmp_path):
    info = tmp_path / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\x1b[31m\n")
    (info / "entry_points.txt").write_text("[robench]\nevil = evil_module_that_is_not_there\n")
    import os

    done = robench("plugins", PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "ModuleNotFoundError: No module named 'evil_module_that_is_not_there'" in done.out
