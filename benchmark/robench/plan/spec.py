"""A request, as typed, and the cells it stands for. Planning imports no torch and loads nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from robench.contracts.certificate import Certificate
from robench.contracts.components import Attack, Dataset, Defense, Model
from robench.contracts.parameters import parameters_of
from robench.contracts.search_precision import EXACT, Precision
from robench.contracts.threat_model import Access, Norm, ThreatModel, has_ball, parse_eps
from robench.errors import SpecError, suggestion, unreadable
from robench.plan.asked_precision import precision_of, searches
from robench.plan.cell import SELF, Cell, SelectedComponent, type_of
from robench.plan.place_labels import labelled
from robench.plan.references import resolve_reference, split_reference
from robench.plan.request_values import checked
from robench.plugin.catalog import Catalog, Offer, catalog

DEFAULT_EPS = "8/255"

#: Whose parameters ``-p train-dataset.name=value`` gives.
TRAIN = "train-dataset"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Hold one request, exactly as the command line, a suite file or ``robench.run`` states it.

    Component names may carry parameters in brackets: ``tecoa[epochs=5,trainable=full]``.

    Attributes:
        train_dataset: what defenses, and models that come without weights, are trained on, if not on ``dataset``.
        parameters: ``role.name`` or ``component.name`` -> value, for every component it applies to.
        dataset: what is judged on: one name, or several, each of which is a part of the grid.
        n: number of test images of each dataset; None takes the whole test split.
        baseline: add the undefended victim, with which defenses are compared.
        label: what a dataset or victim given by a path is called: ``NAME``, or ``dataset=NAME``. It enters no id.
        precision: what the model under attack is computed in while adversarial images are searched for: ``float32``,
            ``tf32`` or ``bf16``. All else is float32.
        certificate: what proves of images that they stand, for each defended victim that it speaks of.
        suite: the suite that the request was read from, ``{"name": ..., "changed": {option: value}}``; for the card.
    """

    dataset: str | Sequence[str] = ""
    train_dataset: str = ""
    victim: Sequence[str] = ()
    defense: Sequence[str] = ("none",)
    attack: Sequence[str] = ("pgd",)
    surrogate: Sequence[str] = ()
    eps: Sequence[str | float] = (DEFAULT_EPS,)
    norm: Norm = "Linf"
    precision: Precision = EXACT
    seed: Sequence[int] = (0,)
    n: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = True
    label: Sequence[str] = ()
    certificate: Sequence[str] = ()
    suite: Mapping[str, Any] = field(default_factory=dict)

    def request(self) -> dict[str, Any]:
        """Return the request as JSON values, for the card."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name in ("label", "certificate", "suite"):
            if not values[name]:
                del values[name]
        return {
            name: list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
            if (name != "train_dataset" or value) and (name != "precision" or value != EXACT)
        }


def plan(spec: Spec, device: str = "cpu", known: Catalog | None = None) -> list[Cell]:
    """Return the cells of a request, the undefended ones first; SpecError for what cannot be run as written."""
    cells, chooser = _cells(checked(spec), device, known or catalog())
    chooser.refuse_unused()
    _check_trained(spec, cells)
    _check_searched(spec, cells)
    return _unique(cells)


def unused_parameters(spec: Spec, known: Catalog | None = None) -> list[str]:
    """Return the parameters of a request that none of its components has, for which :func:`plan` refuses it."""
    return _cells(checked(spec), "cpu", known or catalog())[1].unused()


def _cells(spec: Spec, device: str, known: Catalog) -> tuple[list[Cell], _Chooser]:
    """Return the cells of a request, and what chose their components."""
    _check_counts(spec)
    threats = [ThreatModel(spec.norm, parse_eps(eps, spec.norm)) for eps in spec.eps]
    chooser = _Chooser(known, spec.parameters)
    datasets = [chooser.choose("dataset", name) for name in _datasets(spec, known)]
    attacks = list(_attacks(spec.attack, chooser))
    certificates = _certificates(spec, threats, chooser)
    train = chooser.choose(TRAIN, spec.train_dataset) if spec.train_dataset else None
    cells: list[Cell] = []
    for dataset, victim in labelled([*_judged(spec, datasets, chooser)], spec.label):
        defenses = [
            (defense, _loads(defense, chooser)) for defense in _defenses(spec, known, chooser, type_of(victim, Model))
        ]
        surrogates = [victim if name == SELF else chooser.choose("surrogate", name) for name in spec.surrogate]
        blind = any(type_of(defense, Defense).gradient == "none" for defense, _ in defenses)
        search = _queries(known, spec.norm) if blind else None
        for seed, threat, attack, (defense, loads) in itertools.product(spec.seed, threats, attacks, defenses):
            for way, surrogate in _ways(type_of(defense, Defense), attack, victim, surrogates, search):
                access: Access = "transfer" if surrogate is not None else _access(way)
                own = type_of(way, Attack).threat(threat)
                own = ThreatModel(own.norm, own.eps, access)
                _check_norm(type_of(way, Attack), own, known)
                # A bound of a ball says nothing of what is in none.
                known_bounds = certificates if own.ball else []
                proofs = tuple(one for one in known_bounds if type_of(one, Certificate).covers(defense.component))
                cell = Cell(dataset, victim, defense, way, surrogate, own, seed, spec.n, device, loads, proofs)
                precision = precision_of(spec.precision, type_of(way, Attack), own, device)
                cells.append(replace(_trained_on(cell, train), several=len(datasets) > 1, precision=precision))
    _check_covered(certificates, cells)
    return cells, chooser


def _check_norm(attack: Attack, threat: ThreatModel, known: Catalog) -> None:
    """Refuse a threat model that an attack does not know; of a norm, naming attacks that do."""
    try:
        attack.check(threat)
    except SpecError as error:
        others = [offer.name for offer in known.of("attack") if threat.norm in _norms(offer)]
        if threat.norm in attack.norms or not others:
            raise
        raise SpecError(f"{error} In {threat.norm}: {', '.join(others)}.") from None


def _norms(offer: Offer) -> tuple[str, ...]:
    """Return the norms of an attack whatever its parameters; those of a library's depend on its name."""
    kind: Any = offer.component
    return kind.norms if isinstance(kind.norms, tuple) and not kind.made_elsewhere else ()


def _certificates(spec: Spec, threats: Sequence[ThreatModel], chooser: _Chooser) -> list[SelectedComponent]:
    """Return the certificates of a request; SpecError for one that knows no bound of a radius of it."""
    found = list(dict.fromkeys(chooser.choose("certificate", name) for name in spec.certificate))
    for chosen, threat in itertools.product(found, threats):
        type_of(chosen, Certificate).check(threat)
    return found


def _check_covered(certificates: Sequence[SelectedComponent], cells: Sequence[Cell]) -> None:
    """Refuse a certificate that speaks of none of the defended victims."""
    for chosen in certificates:
        if not any(chosen in cell.certificates for cell in cells):
            kind = "by chance" if type_of(chosen, Certificate).randomized else "always alike"
            names = ", ".join(dict.fromkeys(cell.defense.component.name for cell in cells))
            raise SpecError(
                f"{chosen.component.name} certifies what answers {kind}, and none of the defenses of this run does "
                f"({names}); name one that does with --defense, or leave --certificate {chosen.component.name} out."
            )


def _attacks(names: Sequence[str], chooser: _Chooser) -> Iterator[SelectedComponent]:
    """Yield the attacks that are named, and those that a word stands for."""
    for name in names:
        chosen = chooser.choose("attack", name)
        words = type_of(chosen, Attack).stands_for()
        yield from (chooser.choose("attack", word) for word in words) if words else [chosen]


def _trained_on(cell: Cell, train: SelectedComponent | None) -> Cell:
    """Return the cell with the dataset that it is trained on, if anything in it is, and that is another one."""
    if train is None or not cell.trains or train.key == cell.dataset.key:
        return cell
    return replace(cell, train=train)


def _check_trained(spec: Spec, cells: Sequence[Cell]) -> None:
    if spec.train_dataset and not any(cell.trains for cell in cells):
        raise SpecError(
            f"--train-dataset '{spec.train_dataset}' is for what is trained, and nothing of this run is; name a "
            "defense that trains, such as --defense tecoa, or leave it out."
        )


def _check_searched(spec: Spec, cells: Sequence[Cell]) -> None:
    if spec.precision != EXACT and not any(searches(type_of(cell.attack, Attack), cell.threat) for cell in cells):
        raise SpecError(
            f"--precision {spec.precision} is for the search for adversarial images, and nothing of this run searches; "
            "name an attack that does, such as --attack pgd, or leave it out."
        )


def plan_dataset(spec: Spec, known: Catalog | None = None) -> SelectedComponent:
    """Return the dataset of a request that names nothing else, as ``robench inspect`` does."""
    known = known or catalog()
    chooser = _Chooser(known, spec.parameters)
    (name,) = _datasets(spec, known)
    dataset = chooser.choose("dataset", name)
    chooser.refuse_unused()
    return dataset


def _datasets(spec: Spec, known: Catalog) -> tuple[str, ...]:
    named = (spec.dataset,) if isinstance(spec.dataset, str) else tuple(spec.dataset)
    return named if any(named) else (known.default_dataset().name,)


def _judged(
    spec: Spec, datasets: Sequence[SelectedComponent], chooser: _Chooser
) -> Iterator[tuple[SelectedComponent, SelectedComponent]]:
    """Yield each dataset with each victim that is judged on it."""
    for dataset in datasets:
        for name in spec.victim or [_default_victim(dataset)]:
            yield dataset, chooser.choose("victim", name)


def _check_counts(spec: Spec) -> None:
    for name in ("defense", "attack", "eps", "seed"):
        if not getattr(spec, name):
            raise SpecError(f"No {name} is named; give at least one with --{name}.")


def _default_victim(dataset: SelectedComponent) -> str:
    name = cast(str, type_of(dataset, Dataset).victim)
    if not name:
        raise SpecError(f"The dataset '{dataset.component.name}' has no usual victim; name one with --victim.")
    return name


def _defenses(spec: Spec, known: Catalog, chooser: _Chooser, victim: Model) -> Iterator[SelectedComponent]:
    chosen = [chooser.choose("defense", name, victim) for name in spec.defense]
    if spec.baseline and not any(type_of(entry, Defense).undefended for entry in chosen):
        marked = [o for o in known.of("defense") if issubclass(o.component, Defense) and o.component.undefended]
        yield from (SelectedComponent(offer, offer.build({})) for offer in marked[:1])
    yield from sorted(chosen, key=lambda entry: not type_of(entry, Defense).undefended)


def _ways(
    defense: Defense,
    attack: SelectedComponent,
    victim: SelectedComponent,
    surrogates: Sequence[SelectedComponent],
    search: SelectedComponent | None,
) -> Iterator[tuple[SelectedComponent, SelectedComponent | None]]:
    """Yield the attacks, and the surrogates they are crafted on, that count for what the defense declares.

    Exact gradients: end to end. An approximate or random forward: also from the undefended victim, as a non-adaptive
    evaluation would have it. No gradients: only so, and by queries (``search``), which the undefended victim has to
    fall to as well. Images from a file, and corruptions, are the same for all of them.
    """
    if type_of(attack, Attack).made_elsewhere or not any(map(has_ball, type_of(attack, Attack).norms)):
        yield attack, None
        return
    asks = bool(type_of(attack, Attack).queries_only)
    if defense.gradient != "none" or asks:
        yield attack, None
    if not asks and search is not None and (defense.gradient == "none" or defense.undefended):
        yield search, None
    plain = defense.gradient == "exact" and not defense.randomized
    extra = [] if plain or asks or any(surrogate is victim for surrogate in surrogates) else [victim]
    for surrogate in [*surrogates, *extra]:
        yield attack, surrogate


def _queries(known: Catalog, norm: Norm) -> SelectedComponent | None:
    """Return the attack on offer in a norm that asks for most answers and nothing else; None if there is none."""
    built = [SelectedComponent(offer, offer.build({})) for offer in known.of("attack")]
    attacks = [(type_of(chosen, Attack), chosen) for chosen in built]
    asking = [chosen for attack, chosen in attacks if attack.queries_only and norm in attack.norms]
    return max(asking, key=lambda entry: sum(type_of(entry, Attack).passes()), default=None)


def _access(attack: SelectedComponent) -> Access:
    return "black-box" if type_of(attack, Attack).queries_only else "white-box"


def _loads(defense: SelectedComponent, chooser: _Chooser) -> tuple[SelectedComponent, ...]:
    """Return the models that a defense's fit loads by name, with the parameters the request gives them."""
    names = type_of(defense, Defense).surrogates()
    return tuple(chooser.choose("surrogate", name) for name in names if name != SELF)


def _unique(cells: list[Cell]) -> list[Cell]:
    try:
        return list({cell.score_id: cell for cell in cells}.values())
    except OSError as error:  # fingerprints read the files that components name
        raise unreadable(error) from error


class _Chooser:
    """Turn names into components, handing each ``-p`` to whom it concerns and remembering which were used."""

    def __init__(self, known: Catalog, parameters: Mapping[str, Any]) -> None:
        self._known = known
        self._parameters = parameters
        self._used: set[str] = set()
        self._asked: dict[str, list[Offer]] = {}

    def choose(self, role: str, text: str, victim: Model | None = None) -> SelectedComponent:
        """Return the component ``text`` names: class defaults < the victim's tuning < -p < brackets."""
        reference, inside = split_reference(text)
        kind = "dataset" if role == TRAIN else role
        name, implied = resolve_reference(self._known, kind, reference)
        offer = self._known.find(kind, name)
        declared = parameters_of(offer.component)
        tuning = dict(victim.tuning.get(name, {})) if victim is not None else {}
        values: dict[str, Any] = dict(tuning)
        for key, value in self._parameters.items():
            owner, _, parameter = key.partition(".")
            if owner in (role, name):
                self._asked.setdefault(key, []).append(offer)
                if parameter in declared or (owner == name and offer.component.undeclared):
                    self._used.add(key)
                    values[parameter] = value
        component = offer.build({**values, **implied, **inside})
        # A member is what -p makes of it, or its own defaults: brackets do not nest.
        members = component.members() if isinstance(component, Model) else ()
        parts = tuple(self.choose(role, member) for member in members)
        return SelectedComponent(offer, component, tuple(sorted(tuning.items())), parts)

    def unused(self) -> list[str]:
        """Return each -p that no chosen component has."""
        return [key for key in self._parameters if key not in self._used]

    def refuse_unused(self) -> None:
        """Raise SpecError for a -p that no chosen component has."""
        for key in self.unused():
            owner, dot, parameter = key.partition(".")
            if not dot:
                raise SpecError(f"-p {key} names no component; write role.parameter=value, such as -p attack.steps=20.")
            offers = self._asked.get(key, [])
            if not offers:
                raise SpecError(f"-p {key}: this run has no {owner}; {suggestion(owner, self._owners())}")
            declared = sorted({entry for offer in offers for entry in parameters_of(offer.component)})
            names = " or ".join(sorted({offer.name for offer in offers}))
            raise SpecError(f"{names} has no parameter '{parameter}'; {suggestion(parameter, declared)}")

    def _owners(self) -> list[str]:
        return ["dataset", TRAIN, "victim", "surrogate", "attack", "defense", "certificate"]
