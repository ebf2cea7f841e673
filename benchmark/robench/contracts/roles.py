"""The eight roles, by the word with which a component of each is named."""

from __future__ import annotations

from robench.contracts.certificate import Certificate
from robench.contracts.components import Attack, Component, Dataset, Defense, Exporter, Model
from robench.contracts.detector import Detector

#: Role -> base class, in the order of the flow.
ROLES: dict[str, type[Component]] = {
    "dataset": Dataset,
    "victim": Model,
    "surrogate": Model,
    "attack": Attack,
    "defense": Defense,
    "certificate": Certificate,
    "exporter": Exporter,
    "detector": Detector,
}
