"""Find plugins among installed distributions, without letting a broken one take the others down.

pluggy's own ``load_setuptools_entrypoints`` drops the second of two plugins with equal names silently and lets one
failing import end the program, so the entry points are read here.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from types import ModuleType

import pluggy

from robench.errors import PluginError, suggestion
from robench.plugin import hookspecs

PREFIX = "robench_"


@dataclass(frozen=True)
class Plugin:
    """Describe one entry point: whose it is, and either the module or the reason it could not be used."""

    name: str
    distribution: str
    version: str
    module: ModuleType | None
    broken: str = ""

    @property
    def label(self) -> str:
        """Return ``distribution version`` as errors and cards name it."""
        return f"{self.distribution} {self.version}".strip()


def discover() -> list[Plugin]:
    """Import every plugin of the entry-point group; a failing one is returned as broken, with the reason.

    Raises:
        PluginError: two distributions register one plugin name.
    """
    found: dict[str, list[tuple[str, str, EntryPoint]]] = defaultdict(list)
    seen: set[tuple[str, str, str]] = set()
    for dist in distributions():
        name = dist.metadata["Name"] or "?"
        for entry in dist.entry_points.select(group=hookspecs.GROUP):
            # A distribution can be met twice on sys.path (an editable install inside its own folder).
            if (name, entry.name, entry.value) not in seen:
                seen.add((name, entry.name, entry.value))
                found[entry.name].append((name, dist.version, entry))
    plugins = []
    for plugin, offers in sorted(found.items()):
        if len(offers) > 1:
            culprits = " and ".join(f"{name} {version} ({entry.value})" for name, version, entry in offers)
            raise PluginError(
                f"Two plugins register the name '{plugin}' in the entry-point group '{hookspecs.GROUP}': {culprits}. "
                "Uninstall one, or rename its entry point."
            )
        plugins.append(_load(*offers[0]))
    return plugins


def _load(distribution: str, version: str, entry: EntryPoint) -> Plugin:
    try:
        module = importlib.import_module(entry.module)
        _check_hooks(module, f"{distribution} {version}")
    except Exception as error:  # anything a third party's import may raise; SystemExit and Ctrl-C pass
        return Plugin(entry.name, distribution, version, None, f"{type(error).__name__}: {error}")
    return Plugin(entry.name, distribution, version, module)


def _check_hooks(module: ModuleType, label: str) -> None:
    """Refuse a hook that no specification knows, since pluggy would ignore it silently."""
    known = {name for name in vars(hookspecs) if name.startswith(PREFIX)}
    manager = pluggy.PluginManager(hookspecs.GROUP)
    for name in vars(module):
        marked = manager.parse_hookimpl_opts(module, name) is not None
        if name not in known and (marked or (name.startswith(PREFIX) and callable(getattr(module, name)))):
            raise PluginError(f"{label} defines the hook '{name}', which does not exist; {suggestion(name, known)}")
        if name in known and not marked:
            raise PluginError(f"{label} defines '{name}' without @hookimpl, so it would never be called.")
