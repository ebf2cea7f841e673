"""What a Python file depends on is found without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from robench_builtins.models.shared.python_sources import find_module, module_sources, sources


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes files below an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def put(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(path.suffix or ".py").write_text(text)
        return tmp_path

    return put


def names(found, root):
    return [path.resolve().relative_to(root).as_posix() for path in found]


def test_what_lies_beside_it_and_is_imported_counts_through_any_depth(write):
    root = write(
        net="import nets.deep as deep\nfrom own import thing\nimport torch, json\n",
        own="from nets import *\n",
        other="raise SystemExit\n",
        nets__deep="from . import layers\nfrom .more import block\n",
        nets__layers="",
        nets__more="import net\n",
    )
    (root / "nets" / "__init__.py").write_text("")
    found = names(sources(root / "net.py"), root)
    assert found[0] == "net.py"
    assert sorted(found[1:]) == ["nets/__init__.py", "nets/deep.py", "nets/layers.py", "nets/more.py", "own.py"]


def test_files_named_in_strings_count(write):
    root = write(sub__net="PATHS = ['w.pt', 'beside.pt', 'gone.pt', 'model', 'plain', '.', '', 'a' * 9, 'w\\n']\n")
    for name in ("w.pt", "sub/beside.pt", "model/config.json", "plain/x.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("1")
    assert names(sources(Path("sub/net.py")), root) == ["sub/net.py", "model", "sub/beside.pt", "w.pt"]


@pytest.mark.parametrize("text", ["def (", "\0", "x = " + "(" * 300 + ")" * 300])
def test_what_is_not_python_is_known_by_its_own_content(write, text):
    root = write(net=text)
    assert names(sources(root / "net.py"), root) == ["net.py"]


def test_nothing_is_run(write):
    root = write(net="import own\nopen('ran', 'w')\n", own="open('ran', 'w')\n")
    sources(root / "net.py")
    assert not (root / "ran").exists()


def test_an_import_above_the_root_is_no_error():
    assert sources(Path("/nowhere/net.py")) == (Path("/nowhere/net.py"),)


def test_a_module_is_found_without_importing_it(write, monkeypatch):
    root = write(pack__deep__mod="raise SystemExit\n", alone="raise SystemExit\n")
    for folder in ("pack", "pack/deep"):
        (root / folder / "__init__.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(str(root))
    for dotted, path in {
        "pack.deep.mod": "pack/deep/mod.py",
        "pack.deep": "pack/deep/__init__.py",
        "pack": "pack/__init__.py",
        "alone": "alone.py",
    }.items():
        found = find_module(dotted)
        assert found is not None
        assert names([found], root) == [path]
    assert find_module("pack.gone") is None
    assert find_module("gone.mod") is None


@pytest.mark.parametrize(("dotted", "start"), [("pack.deep.mod", "deep/mod.py"), ("pack.deep", "deep/__init__.py")])
def test_a_module_depends_on_its_whole_package(write, dotted, start):
    root = write(pack__deep__mod="", pack__other="", outside="")
    for folder in ("pack", "pack/deep"):
        (root / folder / "__init__.py").write_text("")
    found = names(module_sources(root / "pack" / start, dotted), root)
    assert found[0] == f"pack/{start}"
    assert sorted(found) == ["pack/__init__.py", "pack/deep/__init__.py", "pack/deep/mod.py", "pack/other.py"]


def test_a_huge_package_is_represented_by_the_module(write, monkeypatch):
    import robench_builtins.models.shared.python_sources as room

    root = write(pack__mod="", pack__other="")
    (root / "pack" / "__init__.py").write_text("")
    monkeypatch.setattr(room, "MOST_MODULES", 2)
    assert names(module_sources(root / "pack" / "mod.py", "pack.mod"), root) == ["pack/mod.py"]
