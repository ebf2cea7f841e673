"""Which room may import which, one name for one thing, and a proof that each rule can fail.

What import-linter can say stands in pyproject.toml. It leaves out imports for type checkers, through which no code
runs; those that go up are listed here, so that a type which belongs further down is found.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
CONTRACTS = {contract["id"]: contract for contract in SETTINGS["contracts"]}
PACKAGES = {name: next(ROOT.glob(f"*/{name}")).relative_to(ROOT) for name in SETTINGS["root_packages"]}
#: Room -> how far below the command line it is.
LEVELS = {name.strip(): level for level, names in enumerate(CONTRACTS["layers"]["layers"]) for name in names.split("|")}

#: (importing room, imported room) of imports for type checkers that go up -> why the type is not further down.
UP_FOR_TYPES = {
    ("contracts", "evidence"): "an exporter is handed cards",
    ("gate", "pipeline"): "a Measurement holds what the stages hand on",
}

#: (package, name) that several of its modules have -> what they have in common.
ONE_NAME = {
    ("robench", "bundle"): "a command, and what it does",
    ("robench", "store"): "a command, and what it looks after",
    ("robench", "submit"): "a command, and what it does",
    ("robench", "verify"): "a command, and the room of what it does",
    ("robench_builtins", "hf"): "a component of that name in two roles",
    ("robench_builtins", "shared"): "what the components beside it have in common",
}

#: Contract, file, and a line that breaks the contract there.
BREAKS = [
    ("layers", "benchmark/robench/evidence/store.py", "from robench.gate.level import LEVELS"),
    ("layers", "benchmark/robench/errors.py", "def late():\n    import robench.api"),
    ("layers", "benchmark/robench/runtime/timeout.py", "from robench.plan.spec import Spec"),
    ("layers", "benchmark/robench/misc/__init__.py", "'''A room that no layer names.'''"),
    ("circles", "benchmark/robench/cli/values.py", "from robench.cli import options"),
    ("circles", "benchmark/robench/evidence/card.py", "from robench.evidence import card_file"),
    ("circles", "plugins/robench_builtins/training/loop.py", "def late():\n    import robench_builtins.models.mlp"),
    ("circles", "plugins/robench_traps/trap.py", "from robench_traps import registry"),
    ("circles", "leaderboard/robench_leaderboard/statistics/__init__.py", "import robench_leaderboard.ranking.row"),
    ("stages", "benchmark/robench/pipeline/stages/judge.py", "from robench.pipeline.stages.score import score"),
    ("leaderboard", "leaderboard/robench_leaderboard/ranking/row.py", "def late():\n    import torch"),
    ("leaderboard", "leaderboard/robench_leaderboard/ranking/row.py", "from robench.pipeline import flow"),
    ("harness", "benchmark/robench/evidence/meter.py", "import robench_leaderboard"),
    ("public", "plugins/robench_builtins/attacks/pgd.py", "from robench.contracts.task import Task"),
    ("public", "plugins/robench_exports/csv.py", "def late():\n    from robench.evidence import card"),
    ("public", "plugins/robench_traps/steps.py", "from robench.attacks.apgd import apgd"),
]

#: Check each contract on the packages as they are, then each of its breaks by itself; all in one process, which takes a
#: fraction of a second each.
LINT = """
import json
from contextlib import redirect_stdout
from pathlib import Path
from importlinter.cli import lint_imports
settings, cache, contracts, breaks = json.loads(sys.argv[1])
def kept(contract):
    with redirect_stdout(sys.stderr):
        return not lint_imports(config_filename=settings, cache_dir=cache, limit_to_contracts=(contract,))
untouched = {contract: kept(contract) for contract in contracts}
alone = []
for contract, file, line in breaks:
    path = Path(file)
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((before or b"") + f"\\n{line}\\n".encode())
    alone.append(kept(contract))
    path.unlink() if before is None else path.write_bytes(before)
    if before is None:
        path.parent.rmdir()
print(json.dumps([untouched, alone]))
"""

IMPORTS = """
import grimp, json
graph = grimp.build_graph(*sys.argv[1:], exclude_type_checking_imports=False, cache_dir=None)
print(json.dumps([[m, t] for m in sorted(graph.modules) for t in sorted(graph.find_modules_directly_imported_by(m))]))
"""


def printed(folder: Path, code: str, *words: str) -> object:
    """Return what Python prints as JSON where the packages below ``folder`` are those that are found."""
    places = [str(folder / place.parent) for place in PACKAGES.values()]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {places!r}\n{code}", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lint(folder: Path, cache: Path, breaks: list[tuple[str, str, str]]) -> tuple[dict[str, bool], list[bool]]:
    words = json.dumps([str(ROOT / "pyproject.toml"), str(cache), list(CONTRACTS), breaks])
    untouched, alone = printed(folder, LINT, words)
    return untouched, alone


def up_for_types(folder: Path) -> set[tuple[str, str]]:
    """Return the rooms of the harness between which imports go up, those for type checkers among them."""
    inside = [[module.split(".") for module in pair] for pair in printed(folder, IMPORTS, *PACKAGES)]
    rooms = {(one[1], two[1]) for one, two in inside if one[0] == two[0] == "robench" and len(one) > 1 < len(two)}
    return {(one, two) for one, two in rooms if one != two and LEVELS[one] >= LEVELS[two]}


def shared_names(folder: Path) -> set[tuple[str, str]]:
    """Return the names that several modules of one package have."""
    found: dict[tuple[str, str], set[Path]] = defaultdict(set)
    for package, place in PACKAGES.items():
        for path in (folder / place).rglob("*.py"):
            module = path.parent if path.name == "__init__.py" else path.with_suffix("")
            found[package, module.name].add(module)
    return {key for key, modules in found.items() if len(modules) > 1}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of every package's source that tests may break."""
    root = tmp_path_factory.mktemp("tree")
    for place in PACKAGES.values():
        for path in (ROOT / place).rglob("*.py"):
            copied = root / path.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copied)
    return root


@pytest.fixture(scope="module")
def linted(tree, tmp_path_factory):
    return lint(tree, tmp_path_factory.mktemp("cache"), BREAKS)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_contract_is_kept(linted, contract):
    untouched, _ = linted

    assert untouched[contract], f"lint-imports --contract {contract} says where it is broken"


def test_every_contract_is_tried():
    assert {contract for contract, _, _ in BREAKS} == set(CONTRACTS)


@pytest.mark.parametrize("number", range(len(BREAKS)), ids=[f"{name}-{file}" for name, file, _ in BREAKS])
def test_an_import_that_breaks_a_contract_is_found(linted, number):
    _, kept = linted

    assert not kept[number], BREAKS[number]


def test_imports_for_type_checkers_go_up_only_where_a_reason_is_given():
    assert up_for_types(ROOT) == set(UP_FOR_TYPES)


def test_an_import_for_type_checkers_that_goes_up_is_found(tree):
    path = tree / "benchmark" / "robench" / "evidence" / "store.py"
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\nif TYPE_CHECKING:\n    from robench.api import run\n", encoding="utf-8")

    assert up_for_types(tree) == {*UP_FOR_TYPES, ("evidence", "api")}
    path.write_text(before, encoding="utf-8")


def test_modules_of_one_name_mean_the_same(tree):
    assert shared_names(ROOT) == set(ONE_NAME)

    second = tree / "benchmark" / "robench" / "gate" / "card.py"
    second.write_text("", encoding="utf-8")

    assert shared_names(tree) == {*ONE_NAME, ("robench", "card")}


def test_the_harness_names_no_built_in():
    # It tells the distribution's own components, known by their version, from plugins, known by their source.
    allowed = {"code_digest.py"}
    for path in (ROOT / PACKAGES["robench"]).rglob("*.py"):
        assert path.name in allowed or "robench_builtins" not in path.read_text(encoding="utf-8"), path
