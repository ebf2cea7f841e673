"""The hooks of the plugin API: each returns what a plugin offers, most of them component classes."""

from __future__ import annotations

import pluggy

from robench.contracts.certificate import Certificate
from robench.contracts.components import Attack, Dataset, Defense, Exporter, Model
from robench.contracts.detector import Detector
from robench.contracts.trap import Control, Trap

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
def robench_certificates() -> list[type[Certificate]]:
    """Return the certificates this plugin offers: what proves of images that they stand."""
    return []


@hookspec
def robench_exporters() -> list[type[Exporter]]:
    """Return the forms this plugin can write results in, for ``robench export --to``."""
    return []


@hookspec
def robench_detectors() -> list[type[Detector]]:
    """Return the tools that warn of wrong evaluations, for ``robench traps --detectors``."""
    return []


@hookspec
def robench_evaluations() -> list[Trap | Control]:
    """Return wrong evaluations and honest ones, for ``robench traps``; it is called by that command alone."""
    return []
