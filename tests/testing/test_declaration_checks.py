"""The kit against declarations: names, help, defaults, frozenness, fingerprints."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

from robench import DataError, Defense, parameter
from robench.testing import conformance

COMMON = ["name and help", "defaults", "frozen", "fingerprint"]


class Fine(Defense):
    """Do nothing."""

    name = "fine"
    count: int = parameter(default=3, help="how many")
    eps: float = parameter(default=8 / 255, help="how far")
    path: str = parameter(default="", help="where")
    flag: bool = parameter(default=False, help="whether")
    maybe: float | None = parameter(default=None, help="perhaps")
    mode: Literal["a", "b"] = parameter(default="b", help="which")


@pytest.fixture(scope="session")
def common(sentence):
    """Return a function that gives the failing ones of the checks that all roles share."""

    def failures(component):
        found = {name: sentence(component, name) for name in COMMON}
        return {name: words for name, words in found.items() if words}

    return failures


def test_every_kind_of_parameter_passes(common):
    assert common(Fine) == {}
    assert common(Fine(count=5, mode="a")) == {}


class Unnamed(Defense):
    """Do nothing."""


class Spaced(Defense):
    """Do nothing."""

    name = "two words"


class Undocumented(Defense):
    name = "undocumented"


class Helpless(Defense):
    """Do nothing."""

    name = "helpless"
    count: int = parameter(default=3, help=" ")


class Bare(Defense):
    """Do nothing."""

    name = "bare"
    count: int = 3


class Wrong(Defense):
    """Do nothing."""

    name = "wrong"
    count: int = parameter(default="three", help="how many")


class Ambiguous(Defense):
    """Do nothing."""

    name = "ambiguous"
    word: str | None = parameter(default="none", help="a word that reads as nothing")


class Changing(Defense):
    """Do nothing."""

    name = "changing"
    count: int = parameter(default=3, help="how many")

    def __post_init__(self):
        object.__setattr__(self, "count", self.count + 1)


class Textual(Defense):
    """Do nothing."""

    name = "textual"

    def files(self):
        return ("weights.pt",)


class Versioned(Defense):
    """Do nothing."""

    name = "versioned"
    version = "1.0"


CASES = {
    Unnamed: ("name and help", "Unnamed is named ''; users type it on a command line"),
    Spaced: ("name and help", "Spaced is named 'two words';"),
    Undocumented: ("name and help", "Undocumented has no docstring; its first line is what 'robench list' shows."),
    Helpless: ("name and help", "helpless.count has no help; say in a few words what it means and in which unit."),
    Bare: ("name and help", "Parameter 'count' of Bare must be declared with robench.parameter(default=..., help="),
    Wrong: ("defaults", "Parameter 'count' of Wrong has the default 'three', which is no int in its range;"),
    Ambiguous: (
        "defaults",
        "Parameter 'word' of Ambiguous has the default 'none', which is no str or none in its range;",
    ),
    Changing: ("frozen", "changing built from its own parameters is another component; leave __init__ and __eq__ as"),
    Textual: ("fingerprint", "textual.files must return a tuple of pathlib.Path, not ('weights.pt',)."),
    Versioned: ("fingerprint", "versioned.version must be a whole number that you raise when results change."),
}


@pytest.mark.parametrize("component", CASES, ids=lambda component: component.__name__)
def test_a_wrong_declaration_gets_its_sentence(common, component):
    check, sentence = CASES[component]
    assert sentence in common(component).get(check, "")


def test_a_component_that_can_be_changed_is_not_frozen(common):
    # dataclass(frozen=True) refuses a class with a __setattr__ of its own, unless it is put there later.
    class Late(Defense):
        """Do nothing."""

        name = "late"
        count: int = parameter(default=3, help="how many")

    Late.__setattr__ = object.__setattr__
    assert "late lets 'count' be set; a component's parameters are in its fingerprint" in common(Late)["frozen"]


def test_files_that_the_user_must_name_are_not_tried(judged):
    class Foldered(Defense):
        """Do nothing."""

        name = "foldered"

        def files(self):
            raise DataError("foldered needs a folder: pass -p defense.path=DIR.")

    result = judged(Foldered)["fingerprint"]
    assert (result.status, result.sentence) == ("not tried", "foldered needs a folder: pass -p defense.path=DIR.")


def test_files_that_are_paths_pass(common, tmp_path):
    class Filed(Defense):
        """Do nothing."""

        name = "filed"

        def files(self):
            return (Path(tmp_path),)

    assert common(Filed) == {}


def test_parameters_are_given_to_a_class_and_kept_by_an_instance():
    assert conformance(Fine, count=7)[0].subject.component == Fine(count=7)
    assert conformance(Fine(count=7))[0].subject.component.count == 7
    with pytest.raises(TypeError):
        conformance(Fine, colour="red")


def test_what_has_no_role_is_refused():
    @dataclasses.dataclass
    class Nothing:
        name: str = "nothing"

    with pytest.raises(
        Exception,
        match=r"nothing is no Dataset, Model, Attack, Defense, Certificate or Detector; derive it",
    ):
        conformance(Nothing())


def test_the_kits_names_for_a_suite():
    import robench.testing

    kit = ["Check", "NotApplicable", "NotTried", "Result", "check_component", "conformance"]
    assert set(robench.testing.__all__) == {*kit, "Counts", "pretended_cuda"}
