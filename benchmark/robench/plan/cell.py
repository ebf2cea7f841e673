"""A cell: everything one card is about, and the fingerprints that follow from it. Nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from robench.contracts.certificate import Certificate
from robench.contracts.components import Attack, Component, Defense, Model
from robench.contracts.parameters import parameters_of
from robench.contracts.search_precision import EXACT, Precision, searched_in
from robench.contracts.threat_model import ThreatModel, radius_of
from robench.evidence.card import ComponentRecord, Scalar
from robench.evidence.fingerprint import of_component, same_json
from robench.evidence.stage_ids import CURRENT
from robench.plan.place_labels import labels_of
from robench.plugin.catalog import Offer

#: ``--surrogate self``: the undefended victim is the attacker's model.
SELF = "self"


@dataclass(frozen=True)
class SelectedComponent:
    """Hold one component a request chose, with its parameters resolved, and where it comes from."""

    offer: Offer
    component: Component
    #: The victim's tuning, where there is one: a default, not a change the user made.
    tuning: tuple[tuple[str, Any], ...] = ()
    #: The models that this one is made of, as its ``members`` names them.
    members: tuple[SelectedComponent, ...] = ()
    #: What the user calls the file or folder that it is; empty is the last name of its path.
    label: str = ""

    @property
    def changed(self) -> dict[str, Scalar]:
        """Return the parameters that differ from the defaults, or from the victim's tuning, as they were given."""
        defaults = {name: entry.default for name, entry in parameters_of(type(self.component)).items()}
        defaults.update(self.tuning)
        return {name: value for name, value in self.component.parameters.items() if value != defaults[name]}

    @property
    def typed(self) -> str:
        """Return it as it was typed, folders and files by their paths, which no card holds."""
        inside = ",".join(f"{name}={value}" for name, value in self.changed.items())
        return f"{self.component.name}[{inside}]" if inside else self.component.name

    def record(self) -> ComponentRecord:
        """Return it as the card holds it: with labels in place of paths."""
        labels = labels_of(self)
        # Data that is known by its checksums is the same wherever it lies.
        checked = {name for name, entry in parameters_of(type(self.component)).items() if entry.path == "checked"}
        shown: dict[str, Scalar] = {**self.component.parameters, **labels}
        return ComponentRecord(
            name=self.component.name,
            version=self.component.version,
            parameters=shown,
            changed={name: labels.get(name, value) for name, value in self.changed.items() if name not in checked},
            plugin=self.offer.plugin.label,
            code=self.key["code"],
            files=self.key["files"],
            hashed={name: value for name, value in self.key["parameters"].items() if not same_json(value, shown[name])},
            left_out=sorted({*shown} - {*self.key["parameters"]}),
            members=[member.record() for member in self.members],
            untrained=any(isinstance(part.component, Model) and part.component.untrained() for part in self.family),
        )

    @cached_property
    def key(self) -> dict[str, Any]:
        """Return what enters fingerprints."""
        own = of_component(self.component)
        return own if not self.members else {**own, "members": [member.key for member in self.members]}

    @property
    def family(self) -> tuple[SelectedComponent, ...]:
        """Return it and all that it is made of."""
        return (self, *(part for member in self.members for part in member.family))


@dataclass(frozen=True)
class Cell:
    """Fix one (dataset, victim, defense, attack, threat model, surrogate, seed): one card."""

    dataset: SelectedComponent
    victim: SelectedComponent
    defense: SelectedComponent
    attack: SelectedComponent
    surrogate: SelectedComponent | None
    threat: ThreatModel
    seed: int
    n: int | None
    device: str
    #: The models that the defense's fit loads by name.
    loads: tuple[SelectedComponent, ...] = ()
    #: What proves of the defended victim's images that they stand; they enter no id of the cell.
    certificates: tuple[SelectedComponent, ...] = ()
    #: The dataset that is trained on, where it is another one; None too where nothing is trained.
    train: SelectedComponent | None = None
    #: What the model is computed in while adversarial images are searched for.
    precision: Precision = EXACT
    #: True if the request names several datasets, so that a title has to say which.
    several: bool = False

    @cached_property
    def home(self) -> Cell:
        """Return the cell as it would be on the dataset that is trained on: what is trained there is trained so."""
        return self if self.train is None else replace(self, dataset=self.train, n=None, train=None)

    @property
    def trains(self) -> bool:
        """Tell whether the defense, or a model that comes without weights, has to be trained."""
        models = [chosen for chosen in (self.surrogate, *self.loads) if chosen is not None]
        return self.fits or any(_untrained(chosen) for chosen in models)

    @property
    def fits(self) -> bool:
        """Tell whether the defended victim has to be trained: by its defense, or since it comes without weights."""
        return type(type_of(self.defense, Defense)).fit is not Defense.fit or _untrained(self.victim)

    @property
    def borrowed(self) -> list[SelectedComponent]:
        """Return the models that something else in this cell loads by name, each once."""
        made = [part for one in (self.victim, self.surrogate) if one is not None for part in one.family[1:]]
        return list({self.model_id(part): part for part in (*self.loads, *made)}.values())

    @property
    def components(self) -> list[SelectedComponent]:
        """Return every component that it names, and what those are made of."""
        named = (self.dataset, self.victim, self.defense, self.attack, self.surrogate, self.train)
        return [part for one in (*named, *self.loads, *self.certificates) if one is not None for part in one.family]

    @property
    def undefended(self) -> bool:
        """Tell whether this is a cell of the reference row."""
        return bool(type_of(self.defense, Defense).undefended)

    @cached_property
    def weakness(self) -> str:
        """Return what is known to be wrong with the attack as it is asked for; empty for a sound one."""
        return str(type_of(self.attack, Attack).weakness(self.threat))[:200]

    @property
    def by_self(self) -> bool:
        """Tell whether the surrogate is the undefended victim itself."""
        return self.surrogate is self.victim

    @cached_property
    def data_id(self) -> str:
        """Return the fingerprint of the test images."""
        return CURRENT.data(self.dataset.key, self.n)

    def model_id(self, chosen: SelectedComponent) -> str:
        """Return the fingerprint of a victim or surrogate; one that is trained here depends on seed and device."""
        if not _untrained(chosen):
            return CURRENT.loaded(chosen.key, self.dataset.key)
        if self.train is not None:
            return self.home.model_id(chosen)
        return CURRENT.trained(chosen.key, self.dataset.key, self.seed, self._kind)

    @property
    def _kind(self) -> str:
        """Return the kind of device, whichever of several it is."""
        return self.device.partition(":")[0]

    @property
    def fit_loads(self) -> list[int]:
        """Return the places among the borrowed models of those that the defense's fit loads."""
        places = [self.model_id(part) for part in self.borrowed]
        return [places.index(self.model_id(part)) for part in self.loads]

    @cached_property
    def fit_id(self) -> str:
        """Return the fingerprint of the defended victim; one that is fitted elsewhere has that of the fit there."""
        if self.train is not None and self.fits:
            return self.home.fit_id
        loads = [self.model_id(chosen) for chosen in self.loads]
        seed = None if self.undefended else self.seed
        return CURRENT.fit(self.model_id(self.victim), self.defense.key, loads, seed, self._kind)

    @cached_property
    def craft_id(self) -> str:
        """Return the fingerprint of the adversarial set; a transfer set does not depend on the defense."""
        target = self.fit_id if self.surrogate is None else self.model_id(self.surrogate)
        return CURRENT.craft(
            target, self.data_id, self.attack.key, self.threat.norm, self.threat.eps,
            transfer=self.surrogate is not None, seed=self.seed, device=self._kind, weak=bool(self.weakness),
            precision=self.precision,
        )  # fmt: skip

    @cached_property
    def clean_id(self) -> str:
        """Return the fingerprint of the defended victim's outcomes on the clean images."""
        return CURRENT.score(self.fit_id, self.data_id)

    @cached_property
    def score_id(self) -> str:
        """Return the fingerprint of the outcomes on the adversarial images; it identifies the cell."""
        return CURRENT.score(self.fit_id, self.craft_id)

    def certificate_id(self, chosen: SelectedComponent) -> str:
        """Return the fingerprint of what a certificate proves of the defended victim; attacks do not enter it."""
        seed = self.seed if type_of(chosen, Certificate).randomized else None
        return CURRENT.certificate(
            self.fit_id, self.data_id, chosen.key, self.threat.norm, self.threat.eps, seed=seed, device=self._kind
        )

    @cached_property
    def comparison_group(self) -> tuple[Any, ...]:
        """Return what cells share that are judged against each other: all but defense, attack and access."""
        return (
            self.data_id,
            self.model_id(self.victim),
            self.threat.norm,
            self.threat.eps,
            self.seed,
        )

    @property
    def title(self) -> str:
        """Return a short name for progress and messages."""
        return f"{self.subject} at {self.threat.norm} {radius_of(self.threat.eps, self.threat.norm)}, seed {self.seed}"

    @property
    def subject(self) -> str:
        """Return the names of the components, which cells share that differ in radius or seed alone."""
        via = "" if self.surrogate is None else f" via {SELF if self.by_self else self.surrogate.record().label}"
        names = [chosen.record().label for chosen in (self.victim, self.defense, self.attack)]
        if self.train is not None:
            names[1] += f" trained on {self.train.record().label}"
        names = [self.dataset.record().label, *names] if self.several else names
        return f"{' / '.join(names)}{searched_in(self.precision)}{via}"


def _untrained(chosen: SelectedComponent) -> bool:
    return any(type_of(part, Model).untrained() for part in chosen.family)


def type_of(chosen: SelectedComponent, base: type[Any]) -> Any:
    """Return the chosen component, known to be of type ``base``."""
    if not isinstance(chosen.component, base):
        raise TypeError(f"{chosen.component!r} is no {base.__name__}")
    return chosen.component
