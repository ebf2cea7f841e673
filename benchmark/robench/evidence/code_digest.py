"""What code a component's results depend on, as one digest that follows neither file names nor places.

Components that come with robench are known by their declared ``version``, so that their ids survive a release that
computes the same. Anybody else's are known by their source: the module that defines the component and what it imports
from its own package, transitively, read without importing anything.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from robench.contracts.components import Component

#: The packages of robench's own distribution.
SHIPPED = frozenset({"robench", "robench_builtins", "robench_exports"})


def of_class(kind: type[Component]) -> str:
    """Return the digest of the code that defines a component and those it is derived from; empty for a built-in."""
    kinds = [base for base in kind.__mro__ if issubclass(base, Component) and base is not Component]
    modules = dict.fromkeys(base.__module__ for base in kinds if not _shipped(base.__module__))
    if not modules:
        return ""
    built_on = [f"{base.name} {base.version}" for base in kinds if _shipped(base.__module__) and base.name]
    parts = [of_code(module) for module in modules] + built_on
    return parts[0] if len(parts) == 1 else hashlib.sha256("\n".join(parts).encode()).hexdigest()


@lru_cache(maxsize=256)
def of_code(module: str) -> str:
    """Return the sha256 over the source of ``module`` and of what it imports from its own package, in that order.

    Packages' ``__init__.py`` count only where something is imported from them. A module without a file (typed into an
    interpreter) is its name.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not Path(file).is_file():
        return hashlib.sha256(module.encode()).hexdigest()
    hasher = hashlib.sha256()
    for source in _reached(module, Path(file)):
        hasher.update(hashlib.sha256(source.read_bytes().replace(b"\r\n", b"\n")).digest())
    return hasher.hexdigest()


def _shipped(module: str) -> bool:
    return module.partition(".")[0] in SHIPPED


def _reached(module: str, file: Path) -> Iterator[Path]:
    """Yield the file and those it imports from its own package, each once, in the order of the import statements."""
    top, roots = module.partition(".")[0], _roots(module, file)
    seen, waiting = set[Path](), [(module, file)]
    while waiting:
        name, path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        found = []
        for wanted in _imported(path, name if path.name == "__init__.py" else name.rpartition(".")[0]):
            if wanted.partition(".")[0] == top or "." not in module:
                found += _located(wanted, roots)
        waiting += reversed(found)


def _roots(module: str, file: Path) -> list[Path]:
    """Return the folders in which the module's package lies: several, if it is a namespace."""
    top = sys.modules.get(module.partition(".")[0])
    inside = getattr(top, "__path__", None)
    if inside is not None:
        return [Path(folder).parent for folder in inside]
    # A single module has no package; its neighbours count, unless they are everything that is installed.
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib", "platstdlib")}
    return [file.parent] if file.parent.resolve() not in installed else []


def _imported(path: Path, package: str) -> Iterator[str]:
    """Yield the dotted names that a source file imports, absolute; whoever runs the file says if it is no Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if node.level and package else []
            base = ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _located(dotted: str, roots: list[Path]) -> list[tuple[str, Path]]:
    """Return the module that a dotted name is, or that defines it."""
    for name in (dotted, dotted.rpartition(".")[0]):
        for root in roots:
            base = root.joinpath(*name.split(".")) if name else root
            for candidate in (base / "__init__.py", base.with_name(f"{base.name}.py")):
                if name and candidate.is_file():
                    return [(name, candidate)]
    return []
