"""What `robench new` writes works as it stands: installed, tested, checked and run as its own CI would."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml

ROLES = ("defense", "attack", "dataset", "victim", "surrogate")


@pytest.fixture(scope="module")
def written(machine):
    """Write and install one package of each role."""
    for role in ROLES:
        machine.does(f"robench new {role} my-{role}")
    machine.does("pip install " + " ".join(f"-e my-{role}" for role in ROLES))
    return machine


@pytest.mark.parametrize("role", ROLES)
def test_its_ci_installs_tests_checks_and_makes_a_card(written, role):
    folder = written.home / f"my-{role}"
    workflow = yaml.safe_load((folder / ".github" / "workflows" / "robench.yml").read_text())
    steps = workflow["jobs"]["card"]["steps"]
    lines = [step["run"] for step in steps if "run" in step]
    assert [line.split()[0] for line in lines] == ["pip", "pytest", "robench", "robench"]
    for line in lines:
        # Fewer images, and the small steps of a test: what is typed is the same.
        said = written.does(line.partition(" --n ")[0] + " --n 30" if " --n " in line else line, folder)
    assert "leaderboard: results/LEADERBOARD.md" in said
    kept = [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")]
    assert kept == ["results"]
    cards = [json.loads(path.read_text()) for path in (folder / "results" / "cards").glob("*.json")]
    named = {str(card["cell"][kind] and card["cell"][kind]["name"]) for card in cards for kind in ROLES}
    assert f"my-{role}" in named


def test_the_readmes_commands_are_the_cis(written):
    for role in ROLES:
        readme = (written.home / f"my-{role}" / "README.md").read_text()
        workflow = (written.home / f"my-{role}" / ".github" / "workflows" / "robench.yml").read_text()
        for line in (
            line.removeprefix("- run: ") for line in map(str.strip, workflow.splitlines()) if "- run: " in line
        ):
            assert f"$ {line}\n" in readme


def test_the_suite_of_the_plugins_page_is_a_suite(written):
    page = (Path(__file__).resolve().parents[2] / "docs" / "plugins.md").read_text()
    (suite,) = (text for text in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "def test_" in text)
    (written.home / "test_page.py").write_text(suite)
    assert "passed" in written.does("pytest -q -p no:cacheprovider test_page.py")


def test_modules_beside_it_are_in_its_wheel(written):
    folder = written.home / "my-defense"
    (folder / "my_defense" / "layers.py").write_text('"""Layers."""\n')
    written.does("pip wheel -w wheels .", folder)
    (wheel,) = (folder / "wheels").glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name}
    assert names == {"my_defense/__init__.py", "my_defense/layers.py"}


def test_all_of_them_are_installed(written):
    found = {p["name"]: p for p in json.loads(written.type("robench plugins --json").out)["plugins"]}
    assert {name: plugin["offers"] for name, plugin in found.items() if name != "builtins"} == {
        f"my-{role}": {role: [f"my-{role}"]} for role in ROLES
    }


def test_the_same_name_again_is_refused(written):
    done = written.type("robench new defense my-defense --into other")
    assert done.code == 2
    assert (
        "A plugin 'my-defense' is installed already (my-defense 0.1.0); choose another name, or uninstall it"
        in done.err
    )


def test_an_edit_is_seen_at_once_and_a_mistake_is_told(written):
    module = written.home / "my-defense" / "my_defense" / "__init__.py"
    right = module.read_text()
    try:
        module.write_text(right.replace("victim.preprocess = ", "victim.preprocessing = "))
        assert written.type("robench check-plugin my-defense").code == 0  # it does nothing, which is allowed
        module.write_text(right.replace('gradient = "exact"', 'gradient = "none"'))
        done = written.type("robench check-plugin my-defense")
        assert done.code == 1
        assert "my-defense declares gradient = 'none', and autograd agrees with finite differences" in done.said
    finally:
        module.write_text(right)
