"""How names, seeds and parameters are read from the command line."""

from __future__ import annotations

import pytest

from robench import SpecError
from robench.cli.values import joined, read_parameters, read_seeds, split_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("none", ["none"]),
        ("none,tecoa", ["none", "tecoa"]),
        (" none , tecoa ,", ["none", "tecoa"]),
        ("none,tecoa[epochs=5,rank=4],vpt", ["none", "tecoa[epochs=5,rank=4]", "vpt"]),
        ("pgd[steps=5],pgd[steps=50,restarts=2]", ["pgd[steps=5]", "pgd[steps=50,restarts=2]"]),
        ("", []),
        (",", []),
    ],
)
def test_commas_split_outside_brackets(text, names):
    assert split_names(text) == names


def test_a_repeated_option_is_one_list():
    assert joined((["none", "tecoa"], ["vpt"])) == ("none", "tecoa", "vpt")


def test_parameters_keep_everything_after_the_first_equals_sign():
    pairs = ("attack.steps=20", " dataset.path = a=b ")
    assert read_parameters(pairs) == {"attack.steps": "20", "dataset.path": "a=b"}


@pytest.mark.parametrize("pair", ["attack.steps", "steps=20", "=", ""])
def test_a_parameter_without_owner_or_value(pair):
    with pytest.raises(SpecError, match=r"-p .*is no parameter; write role.name=value, such as -p attack.steps=20\."):
        read_parameters((pair,))


def test_seeds_are_whole_numbers():
    assert read_seeds(("0", "1")) == (0, 1)
    with pytest.raises(SpecError, match=r"--seed takes whole numbers, not '0,1\.5'\."):
        read_seeds(("0", "1.5"))
