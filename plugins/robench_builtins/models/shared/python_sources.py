"""Find, without running it, what a Python file's result depends on, so that a change is measured again."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

#: A package of more modules than this is represented by the module itself, as in the fingerprint of plugins.
MOST_MODULES = 400


def sources(start: Path) -> tuple[Path, ...]:
    """Return ``start``, the modules beside it that it imports, and the files that its text names.

    A file counts as named if a string in the source is its path, relative to the working folder or to the source:
    weights are usually loaded like that. A path that is put together at run time is not seen.
    """
    found, waiting = set[Path](), [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix == ".py":
            waiting += _named(path)
    return (start, *sorted(found - {start}))


def module_sources(start: Path, dotted: str) -> tuple[Path, ...]:
    """Return the sources of a module that is named by its dotted name: its whole package, if that is not too large."""
    top = start.parents[dotted.count(".") + (start.name == "__init__.py") - 1] if "." in dotted else start.parent
    inside = (top / "__init__.py").is_file()
    modules = sorted(top.rglob("*.py")) if inside else []
    return tuple(dict.fromkeys([*sources(start), *(modules if len(modules) <= MOST_MODULES else [])]))


def find_module(dotted: str) -> Path | None:
    """Return the source file of a module without importing anything; None if there is none."""
    inside = Path(*dotted.split("."))
    for folder in ("", *sys.path):
        base = Path(folder) / inside
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


def _named(path: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return  # whoever runs the file says what is wrong with it
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(path.parent, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[max(node.level - 1, 0)] if node.level <= len(path.parents) else path.parent
            inside = f"{node.module}." if node.module else ""
            for alias in node.names:
                yield from _module(base, inside + alias.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _file(path.parent, node.value)


def _module(folder: Path, dotted: str) -> Iterator[Path]:
    """Yield the files of ``a``, ``a.b``, ... that lie below ``folder``."""
    place = folder
    for part in dotted.split("."):
        place = place / part
        for candidate in (place.with_name(place.name + ".py"), place / "__init__.py"):
            if part and part != "*" and candidate.is_file():
                yield candidate


def _file(folder: Path, text: str) -> Iterator[Path]:
    if not text or len(text) > 255 or not text.isprintable():
        return
    for place in (Path(text).expanduser(), folder / text):
        # A folder counts if it is a checkpoint; any other, such as ".", could be the whole disk.
        if place.is_file() or (place / "config.json").is_file():
            yield place
            return
