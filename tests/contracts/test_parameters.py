"""Parameters: one declaration, typed, with every refusal in the user's words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest

from robench.contracts.components import Attack, Component
from robench.contracts.parameters import Parameter, convert, format_value, parameter, parameters_of, resolve
from robench.errors import PluginError, SpecError

if TYPE_CHECKING:
    from nowhere import Unknown


class Everything(Component):
    """Declare one parameter of every kind."""

    name = "everything"
    notes: ClassVar[Unknown] = None  # resolvable by type checkers only
    flag: bool = parameter(False, "a switch")
    steps: int = parameter(10, "how often", minimum=1, maximum=1000)
    eps: float = parameter(8 / 255, "how far", minimum=0)
    text: str = parameter("words", "what to say")
    loss: Literal["ce", "dlr"] = parameter("ce", "what to climb")
    depth: Literal[2, 4] = parameter(2, "how deep")
    limit: int | None = parameter(None, "at most, or none", maximum=9)
    label: str | None = parameter(None, "a name, or none")


class Child(Everything):
    """Narrow one parameter and add one."""

    steps: int = parameter(3, "fewer", minimum=2)
    extra: float = parameter(0.5, "more")


def read(name, value):
    return convert("everything", parameters_of(Everything)[name], value)


def refusal(name, value):
    with pytest.raises(SpecError) as raised:
        read(name, value)
    return str(raised.value)


def test_declarations_are_read_in_order_with_help_and_range():
    found = parameters_of(Everything)
    assert list(found) == ["flag", "steps", "eps", "text", "loss", "depth", "limit", "label"]
    assert found["steps"] == Parameter("steps", int, 10, "how often", 1, 1000)
    assert found["text"] == Parameter("text", str, "words", "what to say")


def test_types_are_shown_as_users_would_say_them():
    names = {name: entry.type_name for name, entry in parameters_of(Everything).items()}
    assert names == {
        "flag": "bool",
        "steps": "int",
        "eps": "float",
        "text": "str",
        "loss": "ce | dlr",
        "depth": "2 | 4",
        "limit": "int or none",
        "label": "str or none",
    }


def test_a_subclass_inherits_and_overrides():
    found = parameters_of(Child)
    assert list(found) == [*parameters_of(Everything), "extra"]
    assert found["steps"] == Parameter("steps", int, 3, "fewer", 2, None)
    assert Child().parameters["extra"] == 0.5


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("flag", True, True),
        ("flag", "true", True),
        ("flag", "Yes", True),
        ("flag", "FALSE", False),
        ("flag", "no", False),
        ("steps", "20", 20),
        ("steps", 20.0, 20),
        ("steps", 1, 1),
        ("steps", 1000, 1000),
        ("eps", "8/255", 8 / 255),
        ("eps", "1e-3", 1e-3),
        ("eps", 0, 0.0),
        ("text", "", ""),
        ("text", "none", "none"),
        ("loss", "dlr", "dlr"),
        ("depth", "4", 4),
        ("depth", 4, 4),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", None, None),
        ("limit", "-7", -7),
        ("label", "none", None),
        ("label", "x", "x"),
    ],
)
def test_values_become_the_declared_type(name, given, value):
    converted = read(name, given)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("flag", "1", "everything.flag takes bool, not '1' (a switch)."),
        ("flag", 1, "everything.flag takes bool, not '1' (a switch)."),
        ("flag", "maybe", "everything.flag takes bool, not 'maybe' (a switch)."),
        ("steps", "2.5", "everything.steps takes int, not '2.5' (how often)."),
        ("steps", 2.5, "everything.steps takes int, not '2.5' (how often)."),
        ("steps", "", "everything.steps takes int, not '' (how often)."),
        ("steps", True, "everything.steps takes int, not 'True' (how often)."),
        ("steps", None, "everything.steps takes int, not 'None' (how often)."),
        ("steps", math.inf, "everything.steps takes int, not 'inf' (how often)."),
        ("steps", [1], "everything.steps takes int, not '[1]' (how often)."),
        ("eps", "8/0", "everything.eps takes float, not '8/0' (how far)."),
        ("eps", "nan", "everything.eps takes float, not 'nan' (how far)."),
        ("eps", math.nan, "everything.eps takes float, not 'nan' (how far)."),
        ("eps", "inf", "everything.eps takes float, not 'inf' (how far)."),
        ("eps", "1e400", "everything.eps takes float, not '1e400' (how far)."),
        ("eps", True, "everything.eps takes float, not 'True' (how far)."),
        ("eps", [1.0], "everything.eps takes float, not '[1.0]' (how far)."),
        ("text", 3, "everything.text takes str, not '3' (what to say)."),
        ("loss", "mse", "everything.loss takes ce | dlr, not 'mse' (what to climb)."),
        ("loss", "CE", "everything.loss takes ce | dlr, not 'CE' (what to climb)."),
        ("depth", 3, "everything.depth takes 2 | 4, not '3' (how deep)."),
        ("limit", "few", "everything.limit takes int or none, not 'few' (at most, or none)."),
        ("label", 3, "everything.label takes str or none, not '3' (a name, or none)."),
        ("steps", 0, "everything.steps must be at least 1 and at most 1000, not 0 (how often)."),
        ("steps", "1234567", "everything.steps must be at least 1 and at most 1000, not 1234567 (how often)."),
        ("steps", 10**400, f"everything.steps must be at least 1 and at most 1000, not {10**400} (how often)."),
        ("eps", -0.5, "everything.eps must be at least 0, not -0.5 (how far)."),
        ("limit", 10, "everything.limit must be at most 9, not 10 (at most, or none)."),
    ],
)
def test_other_values_are_refused_in_the_users_words(name, given, sentence):
    assert refusal(name, given) == sentence


def test_a_type_that_is_none_of_ours_reads_nothing():
    with pytest.raises(SpecError) as raised:
        convert("x", Parameter("items", list, None, "a list"), "1,2")
    assert str(raised.value) == "x.items takes list, not '1,2' (a list)."


def test_defaults_fill_what_is_not_given():
    values = resolve("everything", Everything, {"steps": "5", "limit": "none"})
    assert values == {**Everything().parameters, "steps": 5, "limit": None}
    assert list(values) == list(parameters_of(Everything))


def test_an_unknown_parameter_is_refused_with_the_closest_name():
    with pytest.raises(SpecError) as raised:
        resolve("everything", Everything, {"step": 5})
    assert str(raised.value) == (
        "everything has no parameter 'step'; did you mean 'steps'? "
        "Known: depth, eps, flag, label, limit, loss, steps, text."
    )
    with pytest.raises(SpecError) as raised:
        resolve("plain", Attack, {"x": 5})
    assert str(raised.value) == "plain has no parameter 'x'; Known: none."


class Bare(Component):
    """Forget robench.parameter."""

    steps: int = 5


class NoDefault(Component):
    """Forget the default."""

    steps: int


class Misspelt(Component):
    """Annotate a field with what cannot be resolved."""

    steps: Unknown = parameter(5, "how often")


@pytest.mark.parametrize("component", [Bare, NoDefault])
def test_a_field_without_a_sentence_or_a_default_is_the_plugins_fault(component):
    with pytest.raises(PluginError) as raised:
        parameters_of(component)
    assert str(raised.value) == (
        f"Parameter 'steps' of {component.__qualname__} must be declared with "
        "robench.parameter(default=..., help='what it means')."
    )


def test_an_annotation_that_cannot_be_read_is_the_plugins_fault():
    with pytest.raises(PluginError) as raised:
        parameters_of(Misspelt)
    assert str(raised.value) == (
        "The parameters of Misspelt cannot be read: name 'Unknown' is not defined. Annotate fields with bool, int, "
        "float, str, Literal[...] or one of these with '| None'."
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("eps", 8 / 255, "8/255"),
        ("step_size", 2 / 255, "2/255"),
        ("rate", 0.1, "0.1"),
        ("steps", 8, "8"),
        ("limit", None, "none"),
        ("text", "", '""'),
        ("flag", True, "True"),
    ],
)
def test_values_are_written_as_a_user_would(name, value, text):
    assert format_value(name, value) == text


@pytest.mark.parametrize(("name", "value"), [("eps", 8 / 255), ("limit", None), ("flag", False), ("loss", "dlr")])
def test_what_is_written_reads_back(name, value):
    written: Any = format_value(name, value)
    assert read(name, written) == value
