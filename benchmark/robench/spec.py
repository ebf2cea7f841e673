"""A request, as typed, and the cells it stands for. Planning imports no torch and loads nothing."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, cast, get_args

from robench.budget import Access, Norm, ThreatModel, format_eps, parse_eps
from robench.contracts import Attack, Component, Dataset, Defense, Model
from robench.errors import SpecError, suggestion
from robench.evidence.card import ComponentRecord, Scalar
from robench.evidence.fingerprint import fingerprint, of_component
from robench.parameters import parameters_of
from robench.plugin.catalog import Catalog, Offer, catalog

#: ``--surrogate self``: the undefended victim is the attacker's model.
SELF = "self"
DEFAULT_EPS = "8/255"
_REFERENCE = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<inside>.*)\])?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Hold one request, exactly as the command line, a suite file or ``robench.run`` states it.

    Component names may carry parameters in brackets: ``tecoa[epochs=5,trainable=full]``.

    Attributes:
        parameters: ``role.name`` or ``component.name`` -> value, for every component it applies to.
        n: number of test images; None takes the whole test split.
        baseline: add the undefended victim, with which defenses are compared.
    """

    dataset: str = ""
    victim: Sequence[str] = ()
    defense: Sequence[str] = ("none",)
    attack: Sequence[str] = ("pgd",)
    surrogate: Sequence[str] = ()
    eps: Sequence[str | float] = (DEFAULT_EPS,)
    norm: Norm = "Linf"
    seed: Sequence[int] = (0,)
    n: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = True

    def given(self) -> dict[str, Any]:
        """Return the request as JSON values, for the card."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        }


@dataclass(frozen=True)
class Chosen:
    """Hold one component a request chose, with its parameters resolved, and where it comes from."""

    offer: Offer
    component: Component
    #: The victim's tuning, where there is one: a default, not a change the user made.
    tuning: tuple[tuple[str, Any], ...] = ()

    def record(self) -> ComponentRecord:
        """Return it as the card holds it."""
        defaults = {name: entry.default for name, entry in parameters_of(type(self.component)).items()}
        defaults.update(self.tuning)
        values: dict[str, Scalar] = dict(self.component.parameters)
        return ComponentRecord(
            name=self.component.name,
            version=self.component.version,
            parameters=values,
            changed={name: value for name, value in values.items() if value != defaults[name]},
            plugin=self.offer.plugin.label,
            code=self.key["code"],
            files=self.key["files"],
        )

    @cached_property
    def key(self) -> dict[str, Any]:
        """Return what enters fingerprints."""
        return of_component(self.component)


@dataclass(frozen=True)
class Cell:
    """Fix one (dataset, victim, defense, attack, threat model, surrogate, seed): one card."""

    dataset: Chosen
    victim: Chosen
    defense: Chosen
    attack: Chosen
    surrogate: Chosen | None
    threat: ThreatModel
    seed: int
    n: int | None
    device: str

    @property
    def undefended(self) -> bool:
        """Tell whether this is a cell of the reference row."""
        return bool(type_of(self.defense, Defense).undefended)

    @property
    def by_self(self) -> bool:
        """Tell whether the surrogate is the undefended victim itself."""
        return self.surrogate is self.victim

    @cached_property
    def data_id(self) -> str:
        """Return the fingerprint of the test images."""
        return fingerprint("load", dataset=self.dataset.key, n=self.n)

    @cached_property
    def fit_id(self) -> str:
        """Return the fingerprint of the defended victim."""
        return fingerprint(
            "fit",
            victim=self.victim.key,
            dataset=self.dataset.key,
            defense=self.defense.key,
            # What trains nothing does not depend on the seed.
            seed=None if self.undefended else self.seed,
            device=self.device.partition(":")[0],
        )

    @cached_property
    def craft_id(self) -> str:
        """Return the fingerprint of the adversarial set; a transfer set does not depend on the defense."""
        target = self.fit_id if self.surrogate is None else fingerprint("load", model=self.surrogate.key)
        return fingerprint(
            "craft",
            target=target,
            data=self.data_id,
            attack=self.attack.key,
            norm=self.threat.norm,
            eps=self.threat.eps,
            transfer=self.surrogate is not None,
            seed=self.seed,
            device=self.device.partition(":")[0],
        )

    @cached_property
    def clean_id(self) -> str:
        """Return the fingerprint of the defended victim's outcomes on the clean images."""
        return fingerprint("score", model=self.fit_id, images=self.data_id)

    @cached_property
    def score_id(self) -> str:
        """Return the fingerprint of the outcomes on the adversarial images; it identifies the cell."""
        return fingerprint("score", model=self.fit_id, images=self.craft_id)

    @cached_property
    def ring(self) -> tuple[Any, ...]:
        """Return what cells share that are judged against each other: all but defense, attack and access."""
        return (
            self.data_id,
            fingerprint("load", model=self.victim.key),
            self.threat.norm,
            self.threat.eps,
            self.seed,
        )

    @property
    def title(self) -> str:
        """Return a short name for progress and messages."""
        via = "" if self.surrogate is None else f" via {SELF if self.by_self else self.surrogate.record().label}"
        names = [chosen.record().label for chosen in (self.victim, self.defense, self.attack)]
        return f"{' / '.join(names)}{via} at {self.threat.norm} {format_eps(self.threat.eps)}, seed {self.seed}"


def type_of(chosen: Chosen, base: type[Any]) -> Any:
    """Return the chosen component, known to be of type ``base``."""
    if not isinstance(chosen.component, base):
        raise TypeError(f"{chosen.component!r} is no {base.__name__}")
    return chosen.component


def plan(spec: Spec, device: str = "cpu", known: Catalog | None = None) -> list[Cell]:
    """Return the cells of a request, the undefended ones first; SpecError for what cannot be run as written."""
    known = known or catalog()
    _check_counts(spec)
    thresholds = [ThreatModel(spec.norm, parse_eps(eps, spec.norm)) for eps in spec.eps]
    chooser = _Chooser(known, spec.parameters)
    dataset = chooser.choose("dataset", spec.dataset or known.default_dataset().name)
    victims = [chooser.choose("victim", name) for name in spec.victim or [_default_victim(dataset)]]
    attacks = [chooser.choose("attack", name) for name in spec.attack]
    cells = []
    for victim in victims:
        defenses = list(_defenses(spec, known, chooser, type_of(victim, Model)))
        surrogates = [
            None,
            *(victim if name == SELF else chooser.choose("surrogate", name) for name in spec.surrogate),
        ]
        for seed, threat, attack, defense, surrogate in itertools.product(
            spec.seed, thresholds, attacks, defenses, surrogates
        ):
            access: Access = "white-box" if surrogate is None else "transfer"
            threat = ThreatModel(threat.norm, threat.eps, access)
            type_of(attack, Attack).check(threat)
            cells.append(Cell(dataset, victim, defense, attack, surrogate, threat, seed, spec.n, device))
    chooser.refuse_unused()
    return _unique(cells)


def _check_counts(spec: Spec) -> None:
    for name in ("defense", "attack", "eps", "seed"):
        if not getattr(spec, name):
            raise SpecError(f"No {name} is named; give at least one with --{name}.")
    if spec.norm not in get_args(Norm):
        raise SpecError(f"norm '{spec.norm}' is unknown; choose {' or '.join(get_args(Norm))}.")
    if spec.n is not None and spec.n < 1:
        raise SpecError(
            f"--n {spec.n} leaves no image to test on; give at least 1, or leave --n out for the whole split."
        )


def _default_victim(dataset: Chosen) -> str:
    name = cast(str, type_of(dataset, Dataset).victim)
    if not name:
        raise SpecError(f"The dataset '{dataset.component.name}' has no usual victim; name one with --victim.")
    return name


def _defenses(spec: Spec, known: Catalog, chooser: _Chooser, victim: Model) -> Iterator[Chosen]:
    chosen = [chooser.choose("defense", name, victim) for name in spec.defense]
    if spec.baseline and not any(type_of(entry, Defense).undefended for entry in chosen):
        marked = [o for o in known.of("defense") if issubclass(o.component, Defense) and o.component.undefended]
        yield from (Chosen(offer, offer.build({})) for offer in marked[:1])
    yield from sorted(chosen, key=lambda entry: not type_of(entry, Defense).undefended)


def _unique(cells: list[Cell]) -> list[Cell]:
    return list({cell.score_id: cell for cell in cells}.values())


def split_reference(text: str) -> tuple[str, dict[str, str]]:
    """Read ``name`` or ``name[key=value,...]``; SpecError if it is neither."""
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"'{text}' is no component; write its name, or name[parameter=value,...].")
    given: dict[str, str] = {}
    for pair in filter(None, (match["inside"] or "").split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise SpecError(f"'{pair}' in '{text}' is no parameter; write parameter=value.")
        given[name.strip()] = value.strip()
    return match["name"].strip(), given


class _Chooser:
    """Turn names into components, handing each ``-p`` to whom it concerns and remembering which were used."""

    def __init__(self, known: Catalog, parameters: Mapping[str, Any]) -> None:
        self._known = known
        self._parameters = parameters
        self._used: set[str] = set()
        self._asked: dict[str, list[Offer]] = {}

    def choose(self, role: str, text: str, victim: Model | None = None) -> Chosen:
        """Return the component ``text`` names: class defaults < the victim's tuning < -p < brackets."""
        name, inside = split_reference(text)
        offer = self._known.find(role, name)
        declared = parameters_of(offer.component)
        tuning = dict(victim.tuning.get(name, {})) if victim is not None else {}
        values: dict[str, Any] = dict(tuning)
        for key, value in self._parameters.items():
            owner, _, parameter = key.partition(".")
            if owner in (role, name):
                self._asked.setdefault(key, []).append(offer)
                if parameter in declared:
                    self._used.add(key)
                    values[parameter] = value
        return Chosen(offer, offer.build({**values, **inside}), tuple(sorted(tuning.items())))

    def refuse_unused(self) -> None:
        """Raise SpecError for a -p that no chosen component has."""
        for key in self._parameters:
            owner, dot, parameter = key.partition(".")
            if not dot:
                raise SpecError(f"-p {key} names no component; write role.parameter=value, such as -p attack.steps=20.")
            if key in self._used:
                continue
            offers = self._asked.get(key, [])
            if not offers:
                raise SpecError(f"-p {key}: this run has no {owner}; {suggestion(owner, self._owners())}")
            declared = sorted({entry for offer in offers for entry in parameters_of(offer.component)})
            names = " or ".join(sorted({offer.name for offer in offers}))
            raise SpecError(f"{names} has no parameter '{parameter}'; {suggestion(parameter, declared)}")

    def _owners(self) -> list[str]:
        return ["dataset", "victim", "surrogate", "attack", "defense"]
