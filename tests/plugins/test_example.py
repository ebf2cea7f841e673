"""The example plugin of the README: installed as a real distribution, run, and short enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "blur"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder that holds the example as pip would install it, made without reaching for an index."""
    import tomllib

    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    site = tmp_path_factory.mktemp("site")
    (site / "robench_blur.py").write_text((EXAMPLE / "robench_blur.py").read_text())
    info = site / "robench_blur-1.0.dist-info"
    info.mkdir()
    name, version = project["project"]["name"], project["project"]["version"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = project["project"]["entry-points"]["robench"].items()
    (info / "entry_points.txt").write_text("[robench]\n" + "".join(f"{key} = {value}\n" for key, value in points))
    return site


def robench(installed, *words):
    command = [sys.executable, "-c", "from robench.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_it_is_under_forty_lines():
    assert len((EXAMPLE / "robench_blur.py").read_text().splitlines()) < 40
    assert len((EXAMPLE / "pyproject.toml").read_text().splitlines()) <= 12


def test_it_is_listed_and_shown_with_its_distribution(installed):
    assert "robench-blur 1.0" in robench(installed, "list", "defense").stdout
    shown = robench(installed, "show", "blur").stdout
    assert "sigma" in shown
    assert "standard deviation in pixels" in shown


def test_it_runs_to_a_card(installed, tmp_path):
    done = robench(
        installed, "run", "--defense", "blur[sigma=0.8]", "--attack", "pgd", "-p", "attack.steps=5", "--n", "60",
        "--device", "cpu", "--store", str(tmp_path / "store"), "--out", str(tmp_path),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "cards").glob("*blur*")
    card = json.loads(path.read_text())
    assert card["cell"]["defense"]["plugin"] == "robench-blur 1.0"
    assert card["cell"]["defense"]["changed"] == {"sigma": 0.8}
    assert card["training"]["trainable"] == 0
    assert card["gate"]["verdict"] == "VALID"
