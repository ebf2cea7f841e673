"""The public surface: exactly these names, all of them importable, and no torch before one is used."""

from __future__ import annotations

import subprocess
import sys
import typing
from importlib.metadata import version

import pytest

import robench

NAMES = [
    "API_VERSION",
    "ArgumentError",
    "Attack",
    "Batch",
    "Card",
    "CardError",
    "CellsFailed",
    "Certificate",
    "Classifier",
    "ContractError",
    "Control",
    "DataError",
    "Dataset",
    "Defense",
    "Detector",
    "DeviceError",
    "Evaluated",
    "Examples",
    "Exporter",
    "Model",
    "Norm",
    "PluginError",
    "Preprocess",
    "Resize",
    "Results",
    "RobenchError",
    "SpecError",
    "Split",
    "StoreError",
    "StoredImage",
    "Task",
    "ThreatModel",
    "Trap",
    "Value",
    "WeightsError",
    "ZeroShotClassifier",
    "apgd",
    "attack_sources",
    "autoattack",
    "certified",
    "decode_image",
    "describe_image",
    "evaluate",
    "fab",
    "hookimpl",
    "image_suffixes",
    "input_gradient",
    "leaderboard",
    "load_test",
    "logits_of",
    "noise",
    "parameter",
    "parse_eps",
    "patch",
    "patch_rs",
    "run",
    "seeded_globally",
    "sparse_rs",
    "square",
    "straight_through",
    "to_uint8",
]


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_surface_is_exactly_this():
    assert robench.__all__ == NAMES
    assert dir(robench) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_importable(name):
    found = getattr(robench, name)
    assert found is getattr(robench, name)
    assert callable(found) or typing.get_origin(found) is not None or name in ("API_VERSION", "Value", "hookimpl")


def test_everything_public_is_documented():
    objects = [getattr(robench, name) for name in NAMES]
    assert [found for found in objects if isinstance(found, type) and not found.__doc__] == []


def test_the_names_type_checkers_see_are_the_names_there_are():
    with open(robench.__file__, encoding="utf-8") as file:
        seen = [line.split(" as ")[1].strip() for line in file if " import " in line and " as " in line]
    assert sorted(seen) == NAMES


def test_the_version_is_the_installed_one():
    assert robench.__version__ == version("robench")


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError) as raised:
        _ = robench.Robustness
    assert str(raised.value) == "module 'robench' has no attribute 'Robustness'"


def test_importing_robench_imports_no_torch():
    done = python("import sys, robench; dir(robench); sys.exit('torch' in sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "names",
    [
        "Attack, Dataset, Defense, Model",
        "SpecError, parameter, parse_eps",
        "attack_sources",
        "Certificate, Control, Detector, Trap",
        "hookimpl",
    ],
)
def test_what_a_plugin_declares_with_imports_no_torch(names):
    done = python(f"import sys; from robench import {names}; sys.exit('torch' in sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_package_says_that_it_is_typed():
    from pathlib import Path

    assert (Path(robench.__file__).parent / "py.typed").is_file()
