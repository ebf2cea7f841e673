"""A plugin's component is its own source and what that imports from its own package; a built-in is its version."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import sys

import pytest

from robench.evidence.code_digest import of_class, of_code
from robench_builtins.attacks.pgd import PGD
from robench_builtins.defenses.tecoa import Tecoa

FILES = {
    "robtoy/__init__.py": "import robtoy.unused",
    "robtoy/unused.py": "x = 1",
    "robtoy/attacks/__init__.py": "",
    "robtoy/attacks/first.py": "import torch\nfrom robtoy.attacks import steps\nfrom ..helper import norm\n",
    "robtoy/attacks/second.py": "from robench import Attack\n",
    "robtoy/attacks/steps.py": "def go():\n    from robtoy import deep\n    import robtoy.helper\n",
    "robtoy/helper.py": "def norm():\n    pass\n",
    "robtoy/deep.py": "from .attacks import first",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that imports a package made of the given files and hashes one module's code."""
    made = []

    def code(files, module, root="site"):
        for name in [name for name in sys.modules if name.partition(".")[0] in made]:
            del sys.modules[name]
        for path, text in files.items():
            target = tmp_path / root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, newline="")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / root)
            importlib.invalidate_caches()
            importlib.import_module(module)
        made.append(module.partition(".")[0])
        of_code.cache_clear()
        return of_code(module)

    yield code
    for name in [name for name in sys.modules if name.partition(".")[0] in made]:
        del sys.modules[name]
    of_code.cache_clear()


FIRST = "robtoy.attacks.first"


@pytest.fixture
def toy(package, monkeypatch):
    """Return a function that hashes the first attack of the toy package with some files changed."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return lambda changes=(), module=FIRST, **place: package({**FILES, **dict(changes)}, module, **place)


@pytest.mark.parametrize("name", ["attacks/first", "attacks/steps", "helper", "deep"])
def test_what_it_imports_counts_however_deep(toy, name):
    path = f"robtoy/{name}.py"
    before = toy()
    assert toy({path: FILES[path] + "# edited\n"}) != before
    assert toy() == before


@pytest.mark.parametrize("name", ["__init__", "unused", "attacks/__init__", "attacks/second", "attacks/new"])
def test_what_it_does_not_import_does_not_count(toy, name):
    path = f"robtoy/{name}.py"
    assert toy() == toy({path: FILES.get(path, "") + "\ny = 1\n"})


def test_another_component_of_the_package_has_its_own(toy):
    before = toy(module="robtoy.attacks.second")
    assert toy({"robtoy/helper.py": "def norm(): return 2"}, module="robtoy.attacks.second") == before != toy()


def test_where_it_lies_does_not_matter(toy, tmp_path):
    before = toy()
    shutil.rmtree(tmp_path / "site")
    assert toy(root="elsewhere/lib") == before
    shutil.rmtree(tmp_path / "elsewhere")
    moved = {path.replace("attacks/", "rooms/inner/"): text for path, text in FILES.items()}
    moved |= {"robtoy/rooms/__init__.py": ""}
    other = {
        path: text.replace("attacks", "rooms.inner").replace("..helper", "...helper") for path, text in moved.items()
    }
    # Its own imports name the new place, so that text differs; a module that nothing points to may move.
    assert toy(other, module="robtoy.rooms.inner.second") == toy(module="robtoy.attacks.second")


def test_line_ends_are_no_part_of_the_code(toy):
    crlf = {path: text.replace("\n", "\r\n") for path, text in FILES.items()}
    assert toy(crlf) == toy()


def test_two_modules_that_change_places_are_other_code(package):
    files = {
        "robtwo/__init__.py": "",
        "robtwo/top.py": "from robtwo import a, b",
        "robtwo/a.py": "1",
        "robtwo/b.py": "2",
    }
    before = package(files, "robtwo.top")
    assert package({**files, "robtwo/a.py": "2", "robtwo/b.py": "1"}, "robtwo.top") != before


def test_a_name_from_a_package_counts_its_init(package):
    files = {"robinit/__init__.py": "value = 1", "robinit/top.py": "from robinit import value"}
    before = package(files, "robinit.top")
    assert package({**files, "robinit/__init__.py": "value = 2"}, "robinit.top") != before


def test_a_single_module_is_its_file_and_the_neighbours_it_imports(package):
    files = {"robsingle.py": "import robbeside", "robbeside.py": "x = 1", "robstranger.py": "x = 1"}
    first = package(files, "robsingle")
    assert package({**files, "robstranger.py": "x = 2"}, "robsingle") == first
    assert package({**files, "robbeside.py": "x = 2"}, "robsingle") != first


def test_what_is_no_python_is_its_text(package):
    files = {
        "robbad/__init__.py": "",
        "robbad/top.py": "if 0:\n    from robbad import broken",
        "robbad/broken.py": "def (",
    }
    first = package(files, "robbad.top")
    assert package({**files, "robbad/broken.py": "def (("}, "robbad.top") != first


def test_what_has_no_file_is_its_name():
    of_code.cache_clear()
    assert of_code("nowhere.at.all") == hashlib.sha256(b"nowhere.at.all").hexdigest()


def test_a_built_in_is_known_by_its_version_alone():
    assert of_class(PGD) == of_class(Tecoa) == ""


def test_what_is_derived_from_a_built_in_depends_on_its_version(monkeypatch):
    class Longer(PGD):
        """Take more steps."""

        name = "longer"

    before = of_class(Longer)
    assert len(before) == 64
    assert before != of_code(__name__)
    monkeypatch.setattr(PGD, "version", PGD.version + 1)
    assert of_class(Longer) != before
