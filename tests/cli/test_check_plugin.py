"""`robench check-plugin`: a plugin, a distribution or a component, judged by the conformance kit."""

from __future__ import annotations

import os

import pytest

PLUGIN = '''
from robench import Attack, Defense, hookimpl, parameter
{statement}

class Fine(Defense):
    """Do nothing."""

    name = "fine"
    count: int = parameter(default=1, help="how many")

class Far(Attack):
    """Leave the ball."""

    name = "far"

    def craft(self, model, images, labels, task):
        return (images + 2 * task.threat.eps).clamp(0, 1)

@hookimpl
def robench_defenses():
    return [Fine]
{more}
'''
ATTACKS = """
@hookimpl
def robench_attacks():
    return [Far]
"""


@pytest.fixture
def plugin(robench, tmp_path):
    """Return a function that installs a plugin and checks what is named."""

    def check(*words, statement="ROBENCH_API = 1", more="", source=None):
        info = tmp_path / "My_Plugin-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (tmp_path / "mine.py").write_text(source or PLUGIN.format(statement=statement, more=more))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: My_Plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[robench]\nmine = mine\n")
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        return robench("check-plugin", *words, PYTHONPATH=path)

    return check


@pytest.mark.parametrize("name", ["mine", "my-plugin", "My_Plugin"])
def test_a_plugin_is_found_by_its_names(plugin, name):
    done = plugin(name)
    assert (done.code, done.err) == (0, "")
    assert "plugin mine (My_Plugin 1.0)" in done.out
    assert "states its API passed" in done.said
    assert "defense fine" in done.out
    assert "1,000 classes, 3 x 224 x 224 passed" in done.said
    assert done.out.endswith("Nothing failed.\n")


def test_a_failure_gives_its_sentence_and_exit_code_1(plugin):
    done = plugin("mine", more=ATTACKS)
    assert done.code == 1
    assert "attack far" in done.out
    assert "failed far moves an image by 0.062745 where eps is 0.031373" in done.said
    assert "end with task.threat.project(images, adversarial)." in done.said
    assert done.out.rstrip().endswith(" checks failed.")


def test_one_component_of_a_plugin(plugin):
    done = plugin("fine", more=ATTACKS)
    assert done.code == 0
    assert "far" not in done.out
    assert "plugin mine" not in done.out


def test_parameters_in_brackets_and_by_option(plugin):
    assert plugin("fine[count=3]").code == 0
    assert plugin("fine", "-p", "defense.count=3").code == 0
    done = plugin("fine[count=three]")
    assert done.code == 2
    assert done.err == "robench: fine.count takes int, not 'three' (how many).\n"


def test_a_plugin_that_states_no_api(plugin):
    done = plugin("mine", statement="")
    assert done.code == 1
    assert (
        "states its API failed Its module does not say for which API it was written; write ROBENCH_API = 1" in done.said
    )


def test_a_plugin_that_makes_every_list_slow(plugin):
    done = plugin("mine", statement="ROBENCH_API = 1\nfrom robench import Classifier")
    assert done.code == 1
    assert (
        "quick to import failed Importing it imports torch, so that 'robench list' takes seconds; import" in done.said
    )


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("ROBENCH_API = 9", "My_Plugin 1.0 was written for robench API 9, and this robench has API 1; upgrade robench"),
        ("ROBENCH_API = 1", "It offers no component; return one from a hook such as robench_defenses"),
    ],
)
def test_a_plugin_that_cannot_be_used_says_why(plugin, source, sentence):
    done = plugin("mine", source=source)
    assert done.code == 1
    assert sentence in done.said


def test_a_plugin_left_out_is_not_checked(plugin):
    done = plugin("mine", "--without", "mine")
    assert done.code == 1
    assert "It was left out; run again without --without." in done.said


def test_an_unknown_name_is_refused_with_the_nearest(robench):
    done = robench("check-plugin", "fgms")
    assert done.code == 2
    assert "There is no plugin, distribution or component 'fgms'; did you mean 'fgsm'? Known: " in done.err


def test_a_component_of_two_roles_is_checked_once(robench):
    done = robench("check-plugin", "tiny-clip")
    assert done.code == 0
    assert done.out.count("tiny-clip") == 1


def test_a_victim_can_be_named(robench):
    done = robench("check-plugin", "none", "--victim", "tiny-clip")
    assert done.code == 0
    assert robench("check-plugin", "none", "--victim", "tiny-clap").code == 2


def test_offline_says_what_was_not_tried(robench, tmp_path):
    done = robench("check-plugin", "cifar10", "--offline", ROBENCH_DATA=str(tmp_path))
    assert done.code == 0
    assert "disjoint splits not tried cifar10 needs " in done.said
    assert "class names passed" in done.said


def test_its_help_has_examples_and_imports_no_torch(robench, modules):
    done = robench("check-plugin", "--help")
    assert "robench check-plugin my-defense" in done.out
    assert "torch" not in modules("check-plugin", "--help")
