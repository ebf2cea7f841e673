"""Running without a plugin: as if it were not installed, and never silently wrong about its name."""

from __future__ import annotations

import json

import pytest

SOURCE = '''
from robench import Defense, hookimpl

open("imported-{name}", "w")

class Blur(Defense):
    """Blur the input."""

    name = "{name}"

@hookimpl
def robench_defenses():
    return [Blur]
'''
COMMANDS = [("list",), ("show", "tecoa"), ("plugins",), ("run", "--dry-run", "--n", "20")]


@pytest.fixture
def blurred(site):
    site.install("robench-blur", SOURCE.format(name="blur"), entry="smooth")
    return site


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", ["robench-blur", "smooth", "Robench_Blur"])
def test_a_plugin_left_out_is_not_even_imported(blurred, words, name):
    done = blurred.robench(*words, "--without", name)
    assert done.code == 0, done.said
    assert "Blur the input." not in done.out
    assert not (blurred.root / "imported-blur").exists()


def test_the_environment_says_the_same(blurred):
    done = blurred.robench("list", ROBENCH_WITHOUT="smooth")
    assert done.code == 0
    assert "Blur the input." not in done.out


def test_the_option_adds_to_the_environment(blurred):
    blurred.install("jpeg", SOURCE.format(name="jpeg"))
    done = blurred.robench("plugins", "--json", "--without", "jpeg", ROBENCH_WITHOUT="smooth")
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(done.out)["plugins"]}
    assert states == {"builtins": "works", "jpeg": "left out", "smooth": "left out"}


def test_several_names_in_one_option(blurred):
    blurred.install("jpeg", SOURCE.format(name="jpeg"))
    done = blurred.robench("list", "--without", "jpeg,smooth")
    assert done.code == 0
    assert "Blur the input." not in done.out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_unknown_name_is_refused_with_the_nearest(blurred, words):
    done = blurred.robench(*words, "--without", "robench-blurr")
    assert done.code == 2
    assert done.err == (
        "robench: --without robench-blurr: no plugin is called that; did you mean 'robench-blur'? Known: builtins, "
        "robench, robench-blur, smooth.\n"
    )


def test_asking_for_what_was_left_out_says_so(blurred):
    for words in (("show", "blur"), ("run", "--dry-run", "--defense", "blur")):
        done = blurred.robench(*words, "--without", "smooth")
        assert done.code == 2
        assert "'blur'" in done.err
        assert done.said.endswith("The plugin robench-blur 1.0 was left out.")


def test_without_the_builtins_the_rest_stands(blurred):
    done = blurred.robench("list", "--without", "builtins")
    assert done.code == 0
    assert "Blur the input." in done.out
    assert "tecoa" not in done.out


def test_it_is_the_way_out_of_a_clash_of_entry_points(blurred):
    blurred.install("second", SOURCE.format(name="jpeg"), entry="smooth")
    assert blurred.robench("list").code == 2
    done = blurred.robench("list", "--without", "second")
    assert done.code == 0
    assert " blur " in done.out
    assert " jpeg " not in done.out


def test_it_is_the_way_out_of_a_clash_of_components(blurred):
    blurred.install("second", SOURCE.format(name="blur"))
    assert blurred.robench("list").code == 2
    done = blurred.robench("show", "blur", "--without", "second")
    assert done.code == 0
    assert "from robench-blur 1.0" in done.out
