"""Every component that can be named in a run, and where it comes from."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import pluggy

from robench.contracts.class_subset import with_classes
from robench.contracts.components import Component, Dataset
from robench.contracts.parameters import Value, parameters_of, resolve
from robench.contracts.roles import ROLES
from robench.errors import PluginError, SpecError, suggestion
from robench.plugin import WITHOUT, hookspecs
from robench.plugin.discovery import Plugin, discover

HOOKS = {role: f"robench_{role}s" for role in ROLES}

#: What a name may not hold, because references (``name[key=value],name``) and ``-p name.key=value`` would misread it.
_UNTYPEABLE = re.compile(r"[\s,.=\[\]]")


@dataclass(frozen=True)
class Offer:
    """Hold one component class and the plugin that offers it."""

    role: str
    name: str
    component: type[Component]
    plugin: Plugin

    @property
    def summary(self) -> str:
        """Return the first line of the component's docstring."""
        return (inspect.getdoc(self.component) or "").partition("\n")[0]

    def build(self, parameters: Mapping[str, Any]) -> Component:
        """Return the component with these parameters; SpecError for one it does not have or cannot read."""
        values: dict[str, Value] = resolve(self.name, self.component, parameters)
        common = {name: values.pop(name) for name in self.component.common}
        built = self.component(**values)
        if isinstance(built, Dataset) and common["classes"]:
            return with_classes(built, str(common["classes"]))
        return built


@dataclass
class Catalog:
    """Hold what the installed plugins offer, by role and name."""

    plugins: list[Plugin] = field(default_factory=list)
    offers: dict[tuple[str, str], Offer] = field(default_factory=dict)

    def add(self, plugin: Plugin) -> None:
        """Take in one plugin's components; a plugin whose offer is unusable becomes a broken one."""
        try:
            offers = _unlike(_offers(plugin)) if plugin.module is not None else []
        except Exception as error:  # a hook is third-party code and may raise anything
            plugin, offers = replace(plugin, module=None, broken=f"{type(error).__name__}: {error}"), []
        for offer in offers:
            known = self.offers.get((offer.role, offer.name))
            if known is not None:
                raise PluginError(
                    f"The {offer.role} '{offer.name}' is offered twice: by {known.plugin.label} and by "
                    f"{plugin.label}. Uninstall one, or rename its component; until then leave one out with "
                    "--without DISTRIBUTION."
                )
        self.plugins.append(plugin)
        self.offers.update({(offer.role, offer.name): offer for offer in offers})

    def of(self, role: str) -> list[Offer]:
        """Return the offers of one role, by name."""
        return [offer for (kind, _), offer in sorted(self.offers.items()) if kind == role]

    def find(self, role: str, name: str) -> Offer:
        """Return the offer of that name, or raise SpecError with the closest name and any broken plugin."""
        offer = self.offers.get((role, name))
        if offer is not None:
            return offer
        known = [o.name for o in self.of(role)]
        word, colon, rest = name.partition(":")
        if colon and (close := get_close_matches(word, known, 1, 0.8)):
            raise SpecError(f"There is no {role} '{name}'; did you mean '{close[0]}:{rest}'?{self.absent()}")
        raise SpecError(f"There is no {role} '{name}'; {suggestion(name, known)}{self.absent()}")

    def absent(self) -> str:
        """Return a sentence for each plugin that might have offered what is missing: broken, or left out."""
        broken = [
            f" The plugin {plugin.label} is broken ({plugin.broken})." for plugin in self.plugins if plugin.broken
        ]
        left_out = [f" The plugin {plugin.label} was left out." for plugin in self.plugins if plugin.left_out]
        return "".join([*broken, *left_out])

    def default_dataset(self) -> Offer:
        """Return the dataset that is run when none is named."""
        marked = [
            offer for offer in self.of("dataset") if issubclass(offer.component, Dataset) and offer.component.default
        ]
        if len(marked) != 1:
            names = ", ".join(f"{offer.name} ({offer.plugin.label})" for offer in marked) or "none"
            raise SpecError(
                f"No single default dataset is installed (marked default: {names}); name one with --dataset."
            )
        return marked[0]


def catalog() -> Catalog:
    """Return the catalog of this environment, without what ``$ROBENCH_WITHOUT`` names; discovered once a process."""
    return _catalog(os.environ.get(WITHOUT, ""))


@lru_cache(maxsize=4)
def _catalog(without: str) -> Catalog:
    found = Catalog()
    for plugin in discover([name.strip() for name in without.split(",") if name.strip()]):
        found.add(plugin)
    return found


def _unlike(offers: Iterator[Offer]) -> list[Offer]:
    """Return the offers; PluginError if one plugin gives two components one name."""
    found: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        known = found.setdefault((offer.role, offer.name), offer)
        if known is not offer:
            raise PluginError(
                f"The {offer.role} '{offer.name}' is offered twice: {known.component.__qualname__} and "
                f"{offer.component.__qualname__} have one name; rename one."
            )
    return list(found.values())


def _offers(plugin: Plugin) -> Iterator[Offer]:
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin.module)
    for role, base in ROLES.items():
        hook = HOOKS[role]
        caller = getattr(manager.hook, hook)
        # pluggy leaves out a hook's None, and with it whatever an author meant to return.
        for returned in caller() or [None] * len(caller.get_hookimpls()):
            for component in returned if isinstance(returned, list | tuple) else [returned]:
                yield _check(Offer(role, getattr(component, "name", ""), component, plugin), base, hook)


def _check(offer: Offer, base: type[Component], hook: str) -> Offer:
    component = offer.component
    if not (isinstance(component, type) and issubclass(component, base)):
        raise PluginError(f"{hook} must return a list of {base.__name__} classes, not {component!r}.")
    if not offer.name:
        raise PluginError(f"{component.__qualname__} from {hook} has no name; give it a class attribute 'name'.")
    if not isinstance(offer.name, str) or _UNTYPEABLE.search(offer.name):
        raise PluginError(
            f"{component.__qualname__} from {hook} cannot be named {offer.name!r}: users type it on a command line, so "
            "leave out spaces, commas, dots, = and brackets."
        )
    # dataclass() writes "Name(field: type = ...)" as the docstring of a class that has none.
    if (component.__doc__ or "").startswith(f"{component.__name__}("):
        raise PluginError(f"{component.__qualname__} has no docstring; its first line is what 'robench list' shows.")
    parameters_of(component)
    return offer
