"""The six hooks of the plugin API: each returns the component classes a plugin offers."""

from __future__ import annotations

import pluggy

from robench.contracts.components import Attack, Dataset, Defense, Exporter, Model

#: The entry-point group, and pluggy's project name.
GROUP = "robench"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def robench_datasets() -> list[type[Dataset]]:
    """Return the datasets this plugin offers."""
    return []


@hookspec
def robench_victims() -> list[type[Model]]:
    """Return the models this plugin offers as victims."""
    return []


@hookspec
def robench_surrogates() -> list[type[Model]]:
    """Return the models this plugin offers as surrogates, from which transfer attacks are crafted."""
    return []


@hookspec
def robench_attacks() -> list[type[Attack]]:
    """Return the attacks this plugin offers."""
    return []


@hookspec
def robench_defenses() -> list[type[Defense]]:
    """Return the defenses this plugin offers."""
    return []


@hookspec
def robench_exporters() -> list[type[Exporter]]:
    """Return the forms this plugin can write results in, for ``robench export --to``."""
    return []
