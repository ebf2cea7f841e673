"""The fingerprints of a cell's stages from keys of components: one formula for plans, and for readers of cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robench.contracts.search_precision import EXACT, Precision
from robench.contracts.threat_model import Norm
from robench.evidence.fingerprint import CERTIFIED_CHUNK, STAGES, hashed

#: What a component puts into a fingerprint.
Key = Mapping[str, Any]


@dataclass(frozen=True)
class StageIds:
    """Hash inputs into ids, by stages of these versions: this release's, or those that a card states."""

    versions: Mapping[str, int]

    def data(self, dataset: Key, n: int | None) -> str:
        """Return the fingerprint of test images."""
        return self._hash("load", dataset=dataset, n=n)

    def loaded(self, model: Key, dataset: Key) -> str:
        """Return the fingerprint of a model that comes with weights."""
        return self._hash("load", model=model, dataset=dataset)

    def trained(self, model: Key, dataset: Key, seed: int, device: str) -> str:
        """Return the fingerprint of a model that is trained here, on a kind of device."""
        return self._hash("train", model=model, dataset=dataset, seed=seed, device=device)

    def fit(self, victim: str, defense: Key, loads: Sequence[str], seed: int | None, device: str) -> str:
        """Return the fingerprint of a defended victim; what trains nothing does not depend on the seed."""
        return self._hash("fit", victim=victim, defense=defense, loads=list(loads), seed=seed, device=device)

    def craft(
        self,
        target: str,
        data: str,
        attack: Key,
        norm: Norm,
        eps: float,
        *,
        transfer: bool,
        seed: int,
        device: str,
        weak: bool = False,
        precision: Precision = EXACT,
    ) -> str:
        """Return the fingerprint of an adversarial set; a transfer set does not depend on the defense.

        That an attack is weak as published enters, so that no card can be rid of it, and that its search ran with fewer
        bits than float32; of others nothing is said.
        """
        said = ({"weak": True} if weak else {}) | ({} if precision == EXACT else {"precision": precision})
        return self._hash(
            "craft", target=target, data=data, attack=attack, norm=norm, eps=eps, transfer=transfer, seed=seed,
            device=device, **said,
        )  # fmt: skip

    def chunk(self, craft: str, start: int) -> str:
        """Return the fingerprint of a set's images from number ``start`` on."""
        return self._hash("craft", set=craft, start=start)

    def certificate(
        self, model: str, data: str, certificate: Key, norm: Norm, eps: float, *, seed: int | None, device: str
    ) -> str:
        """Return the fingerprint of what a certificate proves of a defended victim; a proof draws nothing."""
        return self._hash(
            "certify", model=model, data=data, certificate=certificate, norm=norm, eps=eps, seed=seed, device=device
        )

    def certificate_chunks(self, certificate: str, n: int) -> list[str]:
        """Return the fingerprints of its parts for ``n`` images, in order."""
        return [self._hash("certify", set=certificate, start=start) for start in range(0, n, CERTIFIED_CHUNK)]

    def score(self, model: str, images: str) -> str:
        """Return the fingerprint of the outcomes of a defended victim on clean or adversarial images."""
        return self._hash("score", model=model, images=images)

    def _hash(self, stage: str, **inputs: Any) -> str:
        return hashed(stage, self.versions[stage], inputs)


#: Those of this release.
CURRENT = StageIds(STAGES)
