"""A component is found by its name: where its file lies, what lies beside it, what is shared."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import robench_builtins
from robench import Detector, Exporter
from robench.plugin.catalog import catalog
from robench_builtins.datasets.imagenet_variants import VARIANTS
from robench_builtins.datasets.torchvision_sets import SETS
from robench_builtins.datasets.whole_sets import WHOLE_SETS

ROOT = Path(robench_builtins.__file__).parent
FILES = {
    ".".join([ROOT.name, *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}
ROLES = {
    "attack": "attacks",
    "dataset": "datasets",
    "defense": "defenses",
    "victim": "models",
    "surrogate": "models",
    "certificate": "certificates",
}
#: Components whose file is that of their family.
FAMILIES = {
    **{source.name: "torchvision_sets" for source in SETS},
    **{source.name: "imagenet_variants" for source in VARIANTS},
    **{source.name: "whole_sets" for source in WHOLE_SETS},
    "fashion-mnist": "mnist",
    "linear": "mlp",
    "resnet32": "resnet20",
    "resnet44": "resnet20",
    "resnet56": "resnet20",
}
OFFERED = {
    (role, offer.component.name): offer.component.__module__
    for (role, _), offer in catalog().offers.items()
    if offer.plugin.name == "builtins" and not issubclass(offer.component, Detector | Exporter)
}


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere, for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            inside = {f"{module}.{alias.name}" for alias in node.names} & set(FILES)
            found |= inside or {module}
    return found


@pytest.mark.parametrize(("role", "name"), OFFERED)
def test_a_component_lies_in_the_file_of_its_name(role, name):
    file = FAMILIES.get(name, name.replace("-", "_"))
    assert OFFERED[role, name] == f"robench_builtins.{ROLES[role]}.{file}"


def test_beside_the_components_nothing_lies_but_what_they_share():
    beside = {name for name in FILES if name.count(".") == 2 and name.split(".")[1] in ROLES.values()}
    shared = {f"robench_builtins.{room}.shared" for room in ROLES.values()}
    assert beside == {*OFFERED.values(), *(shared & set(FILES))}


def test_what_is_shared_knows_no_component():
    shared = {name: path for name, path in FILES.items() if ".shared" in name or ".training" in name}
    known = {name: imports(path) & set(OFFERED.values()) for name, path in shared.items()}
    # The training attack of a defense is the attack of that name.
    assert {name: used for name, used in known.items() if used} == {
        "robench_builtins.defenses.shared.cross_entropy_objectives": {"robench_builtins.attacks.pgd"}
    }
