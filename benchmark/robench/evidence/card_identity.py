"""Hash a card's own statements into the ids of its stages: no component is loaded, nothing is run.

A card's id is a hash of what decides its result. The card states all of that, so whoever edits a component, a
parameter, the surrogate or the seed has another cell, and the id says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from robench.evidence.card import Card, CertificateRecord, ComponentRecord
from robench.evidence.fingerprint import CHUNK, same_json
from robench.evidence.stage_ids import StageIds

#: The stages whose versions enter an id.
NEEDED = ("load", "train", "fit", "craft", "score")


@dataclass(frozen=True)
class CardIds:
    """Give the fingerprints of a card's stages, which are the store's keys of their artifacts."""

    card: Card

    @property
    def stated(self) -> bool:
        """Tell whether the card holds what its id is a hash of; cards of schema 1 and 2 do not."""
        return all(stage in self.card.cell.stages for stage in NEEDED)

    @property
    def device(self) -> str:
        """Return the kind of device that the card was made on."""
        return self.card.environment.device.partition(" ")[0].partition(":")[0]

    @property
    def _ids(self) -> StageIds:
        return StageIds(self.card.cell.stages)

    @cached_property
    def data(self) -> str:
        """Return the fingerprint of the test images."""
        cell = self.card.cell
        return self._ids.data(key_of(cell.dataset), cell.given.get("n"))

    @property
    def _fits_elsewhere(self) -> bool:
        """Tell whether the defended victim was trained on another dataset, where its fit has its id from."""
        cell = self.card.cell
        return cell.trained_on is not None and (cell.victim.untrained or self.card.data.train is not None)

    def model(self, record: ComponentRecord, *, elsewhere: bool = False) -> str:
        """Return the fingerprint of a victim or surrogate, ``elsewhere`` as on the dataset that is trained on."""
        cell = self.card.cell
        home = cell.trained_on or cell.dataset
        dataset = key_of(home if elsewhere or record.untrained else cell.dataset)
        if not record.untrained:
            return self._ids.loaded(key_of(record), dataset)
        return self._ids.trained(key_of(record), dataset, cell.seed, self.device)

    @cached_property
    def fit(self) -> str:
        """Return the fingerprint of the defended victim."""
        cell, elsewhere = self.card.cell, self._fits_elsewhere
        loaded = [cell.loads[place] for place in cell.fit_loads if place < len(cell.loads)]
        loads = [self.model(record, elsewhere=elsewhere) for record in loaded]
        victim = self.model(cell.victim, elsewhere=elsewhere)
        return self._ids.fit(victim, key_of(cell.defense), loads, None if cell.undefended else cell.seed, self.device)

    @cached_property
    def craft(self) -> str:
        """Return the fingerprint of the adversarial set."""
        cell = self.card.cell
        target = self.fit if cell.surrogate is None else self.model(cell.surrogate)
        return self._ids.craft(
            target, self.data, key_of(cell.attack), cell.threat.norm, cell.threat.eps,
            transfer=cell.surrogate is not None, seed=cell.seed, device=self.device, weak=bool(cell.weakness),
            precision=cell.precision,
        )  # fmt: skip

    def certificate(self, record: CertificateRecord) -> str:
        """Return the fingerprint of what a certificate proves of the defended victim."""
        cell = self.card.cell
        seed = cell.seed if record.randomized else None
        return self._ids.certificate(
            self.fit, self.data, key_of(record.certificate), cell.threat.norm, cell.threat.eps,
            seed=seed, device=self.device,
        )  # fmt: skip

    def certificate_chunks(self, record: CertificateRecord) -> list[str]:
        """Return the keys of its stored parts, in order."""
        return self._ids.certificate_chunks(self.certificate(record), record.n)

    @property
    def clean(self) -> str:
        """Return the fingerprint of the outcomes on the clean images."""
        return self._ids.score(self.fit, self.data)

    @property
    def score(self) -> str:
        """Return the fingerprint of the outcomes on the adversarial images: the card's id."""
        return self._ids.score(self.fit, self.craft)

    def chunks(self) -> list[str]:
        """Return the keys of the adversarial images, in order."""
        starts = range(0, self.card.cell.n, CHUNK)
        return [self._ids.chunk(self.craft, start) for start in starts]


def key_of(record: ComponentRecord) -> dict[str, Any]:
    """Return what a component's record puts into a fingerprint."""
    key: dict[str, Any] = {
        "name": record.name,
        "version": record.version,
        "parameters": {
            name: value for name, value in {**record.parameters, **record.hashed}.items() if name not in record.left_out
        },
        "code": record.code,
        "files": record.files,
    }
    return key if not record.members else {**key, "members": [key_of(member) for member in record.members]}


def identity_problems(card: Card) -> Iterator[str]:
    """Yield how the cell that a card claims is not the cell that has its id."""
    cell = card.cell
    yield from _claims(card)
    if card.schema_version < 3:
        return
    ids = CardIds(card)
    if not ids.stated:
        yield "it states no versions of stages, which its id is a hash of."
        return
    if any(place >= len(cell.loads) for place in cell.fit_loads):
        yield "its defense's fit loads a model that it does not name."
    if ids.score != card.id:
        yield (
            f"its id is {card.id[:8]}, but the cell that it claims ({cell.victim.label} / {cell.defense.label} / "
            f"{cell.attack_label}, {cell.threat.access}) has the id {ids.score[:8]}."
        )
        return
    keys = ((card.robust.artifact, ids.score), (card.clean.artifact, ids.clean), (card.adversarial.artifact, ids.craft))
    if any(named != key for named, key in keys):
        yield "it names evidence of another cell than its own."


def _claims(card: Card) -> Iterator[str]:
    """Yield which statements on the attacker contradict each other."""
    cell = card.cell
    for part in (cell.dataset, cell.victim, cell.defense, cell.attack, *filter(None, [cell.surrogate]), *cell.loads):
        for name, value in part.changed.items():
            if name not in part.parameters or not same_json(part.parameters[name], value):
                yield f"{part.name} is shown with {name} = {value}, which is not its parameter."
    if (cell.surrogate is not None) != (cell.threat.access == "transfer"):
        named = "a surrogate" if cell.surrogate is not None else "no surrogate"
        yield f"its access is {cell.threat.access}, but it names {named}."
    if cell.surrogate_is_victim and (cell.surrogate is None or key_of(cell.surrogate) != key_of(cell.victim)):
        yield "its surrogate is said to be the undefended victim, and is another model."
    if cell.threat.access == "black-box" and card.cost.craft.backwards:
        yield f"its access is black-box, but crafting took {card.cost.craft.backwards:,} backwards."
    if cell.undefended and card.training.trainable:
        yield f"it claims an undefended victim with {card.training.trainable:,} trained parameters."
