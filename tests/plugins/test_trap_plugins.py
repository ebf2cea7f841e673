"""A trap, an honest control and a detector of somebody else, through the door that plugins have for them."""

from __future__ import annotations

import json

import pytest

SOURCE = '''
"""A detector that hears one word, and an evaluation with a mistake."""

from robench import Attack, Control, Detector, Trap, hookimpl, parameter

ROBENCH_API = 1


class Stays(Attack):
    """Return the images as they are."""

    name = "stays"

    def craft(self, model, images, labels, task):
        return images


class Unmoved(Detector):
    """Warn of an attack that moves nothing."""

    name = "unmoved"
    images: int = parameter(default=4, help="images that are looked at", minimum=1)

    def warnings(self, evaluated):
        images, labels, indices = next(evaluated.test[: self.images].batches(self.images))
        task = evaluated.task.replace(indices=indices)
        moved = evaluated.attack.craft(evaluated.target, images.clone(), labels, task)
        return ("nothing moved",) if bool((moved == images).all()) else ()


@hookimpl
def robench_detectors():
    return [Unmoved]


@hookimpl
def robench_evaluations():
    request = {"n": 40, "attack": "pgd[steps=5]"}
    return [
        Trap(name="stays", story="Return the images.", parts=(Stays,), request={"n": 40}, expected=("images moved",)),
        Control(name="moves", story="Attack the plain network.", request=request),
    ]
'''


@pytest.fixture
def installed(site):
    site.install("robench-unmoved", SOURCE, entry="unmoved")
    return site


def test_a_trap_a_control_and_a_detector_of_a_plugin_take_part(installed):
    done = installed.robench(
        "traps", "--only", "stays,moves", "--detectors", "unmoved[images=2]", "--gate", "quick", "--json"
    )  # fmt: skip
    rows = {row["name"]: row for row in json.loads(done.out)["results"]}

    assert (done.code, list(rows)) == (0, ["stays", "moves"])
    assert (rows["stays"]["outcome"], rows["stays"]["detectors"]["unmoved"]["warnings"]) == (
        "caught",
        ["nothing moved"],
    )
    assert (rows["moves"]["outcome"], rows["moves"]["detectors"]["unmoved"]["outcome"]) == ("cleared", "cleared")
    # Where nobody sees a bar, a line for each.
    assert "1 of 2: stays caught, unmoved caught (" in done.said
    assert "2 of 2: moves cleared, unmoved cleared (" in done.said


def test_the_detector_is_listed_and_conforms(installed):
    assert "detector unmoved Warn of an attack that moves nothing. robench-unmoved 1.0" in (
        installed.robench("list", "detector").said
    )
    done = installed.robench("check-plugin", "unmoved")
    assert (done.code, "Nothing failed." in done.said) == (0, True)
    assert "warnings passed" in done.said
    assert "same again passed" in done.said


@pytest.mark.parametrize(
    ("written", "instead", "words"),
    [
        ("return [\n        Trap", "raise OSError('gone')\n    return [\n        Trap", "failed: OSError: gone."),
        ('"images moved"', '"images move"', "expects the check 'images move'; did you mean 'images moved'?"),
        ('Trap(name="stays"', 'Trap(name="clean-images"', "'clean-images', of which there is one already; rename it"),
    ],
    ids=["raises", "unknown check", "a name twice"],
)
def test_what_cannot_be_run_is_a_sentence_with_the_plugins_name(site, written, instead, words):
    assert written in SOURCE
    site.install("robench-unmoved", SOURCE.replace(written, instead), entry="unmoved")
    done = site.robench("traps", "--only", "moves")

    assert done.code == 2
    assert "robench-unmoved 1.0" in done.said
    assert words in done.said
    # Without the plugin its control is unknown, and nothing of it is in the way.
    assert (
        "There is no trap or honest control 'moves'"
        in site.robench("traps", "--only", "moves", "--without", "unmoved").said
    )
