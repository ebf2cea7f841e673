"""Find plugins among installed distributions, without letting a broken one take the others down.

pluggy's own ``load_setuptools_entrypoints`` drops the second of two plugins with equal names silently and lets one
failing import end the program, so the entry points are read here.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from types import ModuleType

import pluggy

from robench.errors import PluginError, SpecError, suggestion
from robench.plugin import hookspecs
from robench.plugin.deprecation import ApiDeprecationWarning
from robench.plugin.versions import judge_api, stated_api

PREFIX = "robench_"


@dataclass(frozen=True)
class Plugin:
    """Describe one entry point: whose it is, and either the module or the reason it could not be used.

    Attributes:
        broken: why it cannot be used; empty if it can, or if nobody asked.
        api: the API it was written for.
        notes: what its author should change, although it works.
        left_out: the user runs without it.
    """

    name: str
    distribution: str
    version: str
    module: ModuleType | None
    broken: str = ""
    api: int = 1
    notes: tuple[str, ...] = ()
    left_out: bool = False

    @property
    def label(self) -> str:
        """Return ``distribution version`` as errors and cards name it."""
        return f"{self.distribution} {self.version}".strip()

    @property
    def state(self) -> str:
        """Return ``works``, ``broken`` or ``left out``."""
        return "left out" if self.left_out else "broken" if self.broken else "works"


def normalised(name: str) -> str:
    """Return a distribution's name as the index compares it (PEP 503): ``My_Plugin`` is ``my-plugin``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def discover(without: Collection[str] = ()) -> list[Plugin]:
    """Import every plugin of the entry-point group; a failing one is returned as broken, with the reason.

    Args:
        without: plugins to leave out, by entry point or distribution; nothing of theirs is imported.

    Raises:
        PluginError: two distributions register one plugin name.
        SpecError: a name in ``without`` is no plugin's.
    """
    found = _entry_points()
    _check_without(without, found)
    left_out_names = {normalised(name) for name in without}
    plugins = []
    for plugin, offers in sorted(found.items()):
        left_out = [offer for offer in offers if {normalised(plugin), normalised(offer[0])} & left_out_names]
        wanted = [offer for offer in offers if offer not in left_out]
        if len(wanted) > 1:
            culprits = " and ".join(f"{name} {version} ({entry.value})" for name, version, entry in wanted)
            raise PluginError(
                f"Two plugins register the name '{plugin}' in the entry-point group '{hookspecs.GROUP}': {culprits}. "
                "Uninstall one, or rename its entry point; until then leave one out with --without DISTRIBUTION."
            )
        plugins += [_load(*offer) for offer in wanted]
        plugins += [Plugin(plugin, name, version, None, left_out=True) for name, version, _ in left_out]
    return plugins


def _entry_points() -> dict[str, list[tuple[str, str, EntryPoint]]]:
    """Return the entry points of the group by name, each with its distribution and version."""
    found: dict[str, list[tuple[str, str, EntryPoint]]] = defaultdict(list)
    seen: set[tuple[str, str, str]] = set()
    for dist in distributions():
        # Hundreds are installed, and to parse what each says of itself takes longer than all else a short command does.
        if hookspecs.GROUP not in (dist.read_text("entry_points.txt") or ""):
            continue
        name = dist.metadata["Name"] or "?"
        for entry in dist.entry_points.select(group=hookspecs.GROUP):
            # A distribution can be met twice on sys.path (an editable install inside its own folder).
            if (name, entry.name, entry.value) not in seen:
                seen.add((name, entry.name, entry.value))
                found[entry.name].append((name, dist.version, entry))
    return found


def _check_without(without: Collection[str], found: dict[str, list[tuple[str, str, EntryPoint]]]) -> None:
    names = {*found, *(offer[0] for offers in found.values() for offer in offers)}
    known = {normalised(name) for name in names}
    for name in without:
        if normalised(name) not in known:
            raise SpecError(f"--without {name}: no plugin is called that; {suggestion(name, names)}")


def _load(distribution: str, version: str, entry: EntryPoint) -> Plugin:
    label, api = f"{distribution} {version}", 1
    try:
        api = stated_api(entry.module)
        notes = [note for note in (judge_api(api, label),) if note]
        with _deprecations(notes):
            module = importlib.import_module(entry.module)
        _check_hooks(module, label)
    except Exception as error:  # anything a third party's import may raise; SystemExit and Ctrl-C pass
        return Plugin(entry.name, distribution, version, None, f"{type(error).__name__}: {error}", api)
    return Plugin(entry.name, distribution, version, module, api=api, notes=tuple(notes))


@contextmanager
def _deprecations(notes: list[str]) -> Iterator[None]:
    """Collect what the API says about replaced names inside; other warnings go where they would have gone."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ApiDeprecationWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, ApiDeprecationWarning):
            # ``from robench import name`` asks for the name twice.
            notes += [text for text in (str(warning.message),) if text not in notes]
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


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
