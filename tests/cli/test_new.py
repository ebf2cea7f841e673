"""`robench new`: the names it takes, the files it writes, and what it refuses."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robench import WeightsError
from robench.testing import check_component
from robench.testing.fixtures import LARGE, SMALL, USUAL

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("defense", "attack", "dataset", "victim", "surrogate", "certificate")
FILES = {
    "my_{role}/__init__.py", "pyproject.toml", "README.md", "tests/test_my_{role}.py", ".github/workflows/robench.yml",
    ".gitignore",
}  # fmt: skip


@pytest.fixture
def new(robench, tmp_path):
    """Return a function that writes a package and gives its folder."""

    def write(role, name=None):
        folder = tmp_path / (name or f"my-{role}")
        if not folder.exists():
            done = robench("new", role, folder.name)
            assert done.code == 0, done.err
        return folder

    return write


@pytest.mark.parametrize("role", ROLES)
def test_every_role_gets_a_whole_package(new, role):
    folder = new(role)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {name.format(role=role) for name in FILES}
    module = (folder / f"my_{role}" / "__init__.py").read_text()
    assert len(module.splitlines()) < (56 if role in ("victim", "surrogate") else 40)
    assert "\nROBENCH_API = 1\n" in module
    assert not [text for text in map(Path.read_text, filter(Path.is_file, folder.rglob("*"))) if "{{" in text]


@pytest.mark.parametrize("role", ROLES)
def test_the_package_is_what_pip_and_robench_look_for(new, role):
    project = tomllib.loads((new(role) / "pyproject.toml").read_text())
    assert project["project"]["name"] == f"my-{role}"
    assert project["project"]["entry-points"]["robench"] == {f"my-{role}": f"my_{role}"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == [f"my_{role}"]


def passes(folder, *words):
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_code_passes_ruff_by_our_rules_and_by_its_own(new, role):
    ours = ["--config", str(ROOT / "pyproject.toml"), "--config", "src=['.']"]
    for words in (["check", *ours], ["check"], ["format", "--check"]):
        passes(new(role), "ruff", *words, "--no-cache", ".")


def test_the_code_passes_mypy_strict(new, tmp_path):
    # All roles at once: mypy reads torch anew each time.
    found = [str(path) for role in ROLES for path in new(role).rglob("*.py")]
    assert len(found) == 2 * len(ROLES)
    passes(tmp_path, "mypy", "--strict", "--cache-dir", os.devnull, *found)


def test_a_victims_weights_for_other_classes_are_refused_in_a_sentence(new, monkeypatch):
    """The sentence of a class mismatch is in what is written, and weights of the right head are loaded."""
    folder = new("victim")
    monkeypatch.syspath_prepend(folder)
    from my_victim import MyVictim

    weights = folder / "weights.safetensors"
    trained = MyVictim().load(USUAL.task(seed=5))
    save_file(trained.network.state_dict(), weights)
    mine = MyVictim(weights=str(weights))
    assert torch.equal(mine.load(USUAL.task()).network[4].weight, trained.network[4].weight)
    assert mine.files() == (weights,)
    with pytest.raises(WeightsError) as caught:
        mine.load(LARGE.task())
    assert str(caught.value) == (
        f"{weights} tells 10 classes apart, but the dataset has 1000; choose its dataset with --dataset, or other "
        "weights with -p victim.weights=FILE."
    )
    results = {result.name: result.status for result in check_component(mine)}
    assert set(results.values()) == {"passed", "not applicable"}
    assert results[str(LARGE)] == results[str(SMALL)] == "not applicable"


@pytest.mark.parametrize("role", ROLES)
def test_its_module_imports_no_torch(new, role):
    folder = new(role)
    code = f"import sys, my_{role}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0


def test_it_says_what_to_do_next(robench):
    done = robench("new", "defense", "my-defense", "--into", "elsewhere/mine")
    assert done.code == 0
    assert "elsewhere/mine/my_defense/__init__.py" in done.out
    lines = done.out.splitlines()[-4:]
    assert lines == [
        "Next: edit elsewhere/mine/my_defense/__init__.py; it works as it stands.",
        "  pip install -e elsewhere/mine",
        "  robench check-plugin my-defense",
        "  robench run --defense my-defense --attack pgd --n 100",
    ]


@pytest.mark.parametrize(
    ("typed", "distribution", "module", "kind", "component"),
    [
        ("My_Defense", "my-defense", "my_defense", "MyDefense", "my-defense"),
        ("a.b--c", "a-b-c", "a_b_c", "ABC", "a-b-c"),
        ("robench-smooth", "robench-smooth", "robench_smooth", "Smooth", "smooth"),
        ("classifier", "classifier", "classifier", "ClassifierDefense", "classifier"),
        ("robench-3d", "robench-3d", "robench_3d", "A3d", "3d"),
    ],
)
def test_names_are_normalised(robench, tmp_path, typed, distribution, module, kind, component):
    done = robench("new", "defense", typed)
    assert done.code == 0, done.err
    tree = ast.parse((tmp_path / distribution / module / "__init__.py").read_text())
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    assert found.name == kind
    assert f'name = "{component}"' in (tmp_path / distribution / module / "__init__.py").read_text()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "two words",
            "'two words' is no name for a Python project; use letters, digits and dashes, such as my-defense.",
        ),
        ("-dash", None),
        ("dash-", "'dash-' is no name for a Python project;"),
        ("../up", "'../up' is no name for a Python project;"),
        ("naïve", "'naïve' is no name for a Python project;"),
        ("3d", "'3d' would need a module named '3d', which Python cannot import; try my-3d."),
        ("class", "'class' would need a module named 'class', which Python cannot import; try my-class."),
        ("tecoa", "There is a defense 'tecoa' already, from robench "),
        ("robench-tecoa", "There is a defense 'tecoa' already, from robench "),
        ("builtins", "A plugin 'builtins' is installed already (robench "),
        ("robench", "A plugin 'robench' is installed already (robench "),
        ("Torch", "'torch' would hide the installed module 'torch'; choose another name, such as my-torch."),
        ("random", "'random' would hide the installed module 'random'; choose another name, such as my-random."),
    ],
)
def test_a_name_that_cannot_be_taken_is_refused(robench, tmp_path, name, sentence):
    done = robench("new", "defense", name)
    assert done.code == 2
    assert sentence is None or done.err.startswith(f"robench: {sentence}")
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_another_role_is_free(robench):
    assert robench("new", "attack", "tecoa").code == 0


def test_what_is_there_is_not_overwritten(robench, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years")
    done = robench("new", "defense", "mine")
    assert done.code == 2
    assert done.err == (
        "robench: mine is there already and is not empty; choose another name, or a folder with --into DIR.\n"
    )
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]
    assert robench("new", "defense", "mine", "--into", "mine/thesis.tex").code == 2


def test_an_empty_folder_is_filled(robench, tmp_path):
    (tmp_path / "mine").mkdir()
    assert robench("new", "defense", "mine").code == 0
    assert (tmp_path / "mine" / "mine" / "__init__.py").is_file()


def test_a_folder_that_cannot_be_written_is_a_sentence(robench, tmp_path):
    (tmp_path / "file").write_text("")
    done = robench("new", "defense", "mine", "--into", "file/mine")
    assert done.code == 2
    assert "robench: writing to file/mine failed: NotADirectoryError: " in done.err


def test_an_unknown_role_names_those_there_are(robench):
    done = robench("new", "shield", "mine")
    assert done.code == 2
    assert all(role in done.err for role in ROLES)


def test_it_imports_no_torch(modules):
    assert "torch" not in modules("new", "defense", "my-own-defense")


def test_its_help_shows_the_way(robench):
    assert "pip install -e my-defense" in robench("new", "--help").out
