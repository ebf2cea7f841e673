"""Recompute a card's numbers from its stored evidence, or from scratch.

Nothing in a card is executed. A card may name code (``file[path=net.py]``); that runs only with ``trust``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from robench.api import choose_device, run
from robench.contracts.parameters import format_value
from robench.contracts.task import Progress
from robench.contracts.threat_model import parse_eps
from robench.errors import CardError, attributed_to
from robench.evidence.adversarial_set import KIND as ADVERSARIAL
from robench.evidence.adversarial_set import whole
from robench.evidence.card import Card, ComponentRecord, Scalar
from robench.evidence.store import Store
from robench.pipeline.stages.score import KIND as OUTCOMES
from robench.pipeline.workbench import Options, Workbench
from robench.plan.cell import SELF, Cell
from robench.plan.local_places import found_again, last_called, put_back
from robench.plan.references import foreign_code, resolve_reference, split_reference
from robench.plan.spec import Spec, plan
from robench.plugin.catalog import Catalog, catalog
from robench.verify.certificates import certified_again
from robench.verify.claims import false_claims
from robench.verify.repetition import Finding as Finding
from robench.verify.repetition import compare
from robench.verify.rescore import against_images, margins_of
from robench.verify.stored_evidence import against_artifacts, chunk_keys


def request_of(card: Card) -> Spec:
    """Return the request that asks for exactly this card's cell; CardError if the card contradicts itself."""
    cell, request = card.cell, card.cell.given
    n = request.get("n")
    if n not in (None, cell.n):
        raise CardError(f"The card counts {cell.n} images, but says that {n} were asked for.")
    parts: dict[str, ComponentRecord] = {
        "dataset": cell.dataset,
        "victim": cell.victim,
        "attack": cell.attack,
        "defense": cell.defense,
    }
    if cell.trained_on is not None:
        parts["train-dataset"] = cell.trained_on
    surrogate: tuple[str, ...] = ()
    if cell.surrogate is not None:
        surrogate = (SELF if cell.surrogate_is_victim else cell.surrogate.name,)
        if not cell.surrogate_is_victim:
            parts["surrogate"] = cell.surrogate
    known = catalog()
    # One that is not installed is told of where it would be asked again.
    offered = [record.certificate for record in card.certificates if _offered(known, record.certificate)]
    by_name = {
        f"{part.name}.{key}": value for part in cell.loads for key, value in _here(known, "surrogate", part).items()
    }
    by_role = {
        f"{role}.{key}": value for role, part in parts.items() for key, value in _here(known, role, part).items()
    }
    return Spec(
        dataset=cell.dataset.name,
        train_dataset=cell.trained_on.name if cell.trained_on is not None else "",
        victim=(cell.victim.name,),
        defense=(cell.defense.name,),
        attack=(cell.attack.name,),
        surrogate=surrogate,
        eps=(parse_eps(cell.threat.eps, cell.threat.norm),),
        norm=cell.threat.norm,
        precision=cell.precision,
        seed=(cell.seed,),
        n=n,
        certificate=tuple(map(_written, offered)),
        parameters={**by_name, **by_role},
    )


def _written(part: ComponentRecord) -> str:
    """Return a certificate as it is typed, with all parameters: one run may have two of one name."""
    values = sorted(part.parameters.items())
    inside = ",".join(
        f"{key}={value!r}" if isinstance(value, float) else f"{key}={format_value(key, value)}" for key, value in values
    )
    return f"{part.name}[{inside}]" if inside else part.name


def _offered(known: Catalog, part: ComponentRecord) -> bool:
    return ("certificate", part.name) in known.offers


def _here(known: Catalog, role: str, part: ComponentRecord) -> Mapping[str, Scalar]:
    """Return a component's parameters as this machine would be given them: with its own paths."""
    offer = known.offers.get((role.removeprefix("train-"), part.name))
    return part.parameters if offer is None else found_again(part, offer.component)


def _request_here(card: Card) -> dict[str, Any]:
    """Return the request as it was typed, with the paths of this machine where the card has labels."""
    cell, known = card.cell, catalog()
    parts = [("attack", cell.attack), *(("surrogate", part) for part in (cell.surrogate, *cell.loads) if part)]
    places: dict[str, str] = {}
    for role in ("attack", "surrogate"):  # also those that other cells of the run were about
        texts = cell.given.get(role)
        for text in texts if isinstance(texts, list) else ():
            name, implied = resolve_reference(known, role, split_reference(str(text))[0])
            found = {label: last_called(name, parameter, label) for parameter, label in implied.items()}
            places |= {label: place for label, place in found.items() if place is not None}
    for role, part in parts:
        here = _here(known, role, part)
        places |= {str(value): str(here[name]) for name, value in part.parameters.items() if value != here[name]}
    request: dict[str, Any] = put_back(dict(cell.given), places)
    return request


def of_same_model(card: Card) -> Spec:
    """Return the request for the card's defended victim under every attack that was run on it.

    The gate judges a cell together with the other attacks on its model, so these must be computed again too.
    """
    exact, request = request_of(card), _request_here(card)
    try:
        attacks, surrogates = _names(request["attack"]), _names(request["surrogate"])
        typed = {str(key): value for key, value in request["parameters"].items()}
    except (KeyError, TypeError, AttributeError):
        raise CardError("The card does not say with which attacks it was run; only robench's own cards do.") from None
    asked = [*(("attack", text) for text in attacks), *(("surrogate", text) for text in surrogates)]
    named = {resolve_reference(catalog(), role, split_reference(text)[0])[0] for role, text in asked}
    attackers = {key: value for key, value in typed.items() if key.partition(".")[0] in {"attack", "surrogate", *named}}
    fixed = {
        key: value for key, value in exact.parameters.items() if key.partition(".")[0] not in ("attack", "surrogate")
    }
    parameters = {**attackers, **fixed}
    return replace(
        exact, attack=attacks, surrogate=surrogates, parameters=parameters, baseline=request.get("baseline", True),
        precision=request.get("precision", exact.precision),
    )  # fmt: skip


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError
    return tuple(value)


def find_cell(card: Card, device: str) -> Cell | None:
    """Return the card's cell as this installation plans it; None if code, files or versions differ.

    A request stands for several cells (the undefended victim is added): the one that has the card's id is returned,
    and :func:`false_claims` says whether it is the one that the card claims to be.
    """
    cells = plan(request_of(card), device, catalog())
    return next((cell for cell in cells if cell.score_id == card.id), None)


def claimed(card: Card, cell: Cell) -> Finding:
    """Say whether the cell that has a card's id is the one that the card claims to be."""
    wrong = list(false_claims(card, cell))
    if wrong:
        return Finding("cell", False, f"the cell with this id is another than the card claims: {'; '.join(wrong[:4])}")
    return Finding("cell", True, "the cell with this id is the one that the card claims")


def verify(card: Card, store: Path, device: str, progress: Progress, *, trust: bool = False) -> Iterator[Finding]:
    """Yield what the stored adversarial set and outcomes say about a card's numbers.

    Code that the card names runs only with ``trust``; without it, what needs that code is not re-scored.
    """
    device = choose_device(device)
    artifacts = Store(store, warn=progress.note)
    yield weighed_again(card)
    where = f"in the store at {store}; give --store, or recompute with --rerun"
    # A stranger's card may name another set of the store than its own, whose sizes then do not fit together.
    with attributed_to("Comparing the card with the store", CardError):
        yield from against_artifacts(card, artifacts, where)
    chunks = [artifacts.get(ADVERSARIAL, key) for key in chunk_keys(card)]
    if any(chunk is None for chunk in chunks):
        return
    if not all(whole(chunk) for chunk in chunks if chunk):
        why = "not all of its images were kept (--keep-images), so the model cannot be asked about them again"
        yield Finding("re-score", None, f"{why}; recompute with --rerun")
        return
    cell = find_cell(card, device)
    if cell is None:
        why = "this installation's components (code, version or files) are not those of the card"
        yield Finding("re-score", None, f"{why}; install {card.cell.attack.plugin} as it was")
        return
    if not trust and (code := foreign_code([cell])):
        yield Finding("re-score", None, _untrusted(code))
        return
    is_so = claimed(card, cell)
    yield is_so
    if not is_so.good:
        return
    with attributed_to("Comparing the card with the store", CardError):
        answers = artifacts.get(OUTCOMES, card.robust.artifact)
        workbench = Workbench(Options(store=store, progress=progress), device)
        yield from against_images(card, cell, [chunk for chunk in chunks if chunk], answers, workbench)
        yield from certified_again(card, cell, workbench)


def rerun(
    card: Card,
    device: str,
    progress: Progress,
    *,
    trust: bool = False,
    on_again: Callable[[Card], None] = lambda card: None,
) -> Iterator[Finding]:
    """Yield the differences between a card and the same cell computed from scratch in an empty store.

    ``on_again`` is told the card that was computed.

    Raises:
        CardError: the card names code to run, and ``trust`` is not given.
    """
    device = choose_device(device)
    request = of_same_model(card)
    cells = plan(request, device, catalog())
    code = "" if trust else foreign_code(cells)
    if code:
        raise CardError(f"The card was not re-run: {_untrusted(code)}.")
    with tempfile.TemporaryDirectory(prefix="robench-verify-") as empty:
        cards = run(request, store=empty, device=device, progress=progress, **level_of_card(card))
        again = next((found for found in cards if found.id == card.id), None)
        if again is None:
            again = _same_cell(card, cards)
            yield Finding("code", None, f"this installation gives the cell another id: {_otherwise(card, again)}")
        if again is None:
            yield Finding("rerun", False, "this installation plans no such cell")
            return
        on_again(again)
        cell = next(cell for cell in cells if cell.score_id == again.id)
        yield from compare(card, again, margins_of(cell, Options(store=Path(empty)), device))


def weighed_again(card: Card) -> Finding:
    """Say what reading a card has shown already: it raises CardError for one that contradicts itself."""
    if card.schema_version < 3:
        said = "follows the schema; counts and bits agree; of this older schema no check can be weighed again"
        return Finding("card", True, said)
    return Finding(
        "card", True, "follows the schema; counts, costs, id and the verdict follow from the figures that it holds"
    )


def level_of_card(card: Card) -> dict[str, Any]:
    """Return how hard the gate tried, as options of a run; of a card that does not say, the default."""
    if not card.gate.images:
        return {}
    return {"gate": card.gate.level, "gate_images": card.gate.images, "gate_cost": card.gate.limit}


def _untrusted(code: str) -> str:
    return f"it names {code[:200]!r}, which runs code of a file; read that file, and if you trust it add --trust-code"


def _otherwise(card: Card, again: Card | None) -> str:
    """Say why a cell has another id here: another release, if stages have other versions."""
    here = again.cell.stages if again is not None else {}
    stages = [stage for stage, version in card.cell.stages.items() if here.get(stage, version) != version]
    if not stages:
        return "a version, file or plugin differs"
    return (
        f"the release that made the card computed {', '.join(stages)} otherwise (the stages have other versions here), "
        "so what follows compares two releases"
    )


def _same_cell(card: Card, cards: list[Card]) -> Card | None:
    def place(one: Card) -> tuple[Any, ...]:
        cell = one.cell
        via = cell.surrogate.label if cell.surrogate else None
        return (cell.defense.label, cell.attack_label, via, cell.threat, cell.seed)

    return next((found for found in cards if place(found) == place(card)), None)
