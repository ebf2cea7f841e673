"""Take adversarial images away once they are scored, where the user wants to keep less than all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from robench.evidence.adversarial_set import KEPT, KIND, chunk_key, images_of, whole
from robench.evidence.fingerprint import CHUNK
from robench.evidence.gallery import KIND as GALLERY
from robench.evidence.gallery import gallery_key
from robench.evidence.store import Store
from robench.gate.level import Level
from robench.pipeline.stages.probe import KIND as PROBES
from robench.pipeline.stages.probe import attack_probe_key
from robench.pipeline.stages.score import KIND as OUTCOMES
from robench.pipeline.stages.score import right_of
from robench.plan.cell import Cell
from robench.plan.request_values import Keep


def needs_images(cell: Cell, store: Store, level: Level, gallery: bool) -> bool:
    """Tell whether anything is still to be asked of the adversarial images, of which not all may have been kept."""
    wanted = [(OUTCOMES, cell.score_id), (PROBES, attack_probe_key(cell.score_id, level))]
    wanted += [(GALLERY, gallery_key(cell.score_id))] * gallery
    return any(store.get(kind, key) is None for kind, key in wanted)


def reduce_images(cells: Iterable[Cell], store: Store, keep: Keep) -> None:
    """Keep of the cells' adversarial images what ``keep`` says; counts, measurements and digests stay."""
    if keep == "all" or store.read_only:
        return
    sets: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        sets[cell.craft_id].append(cell)
    for key, sharing in sets.items():
        found = [_fallen(cell, store) for cell in sharing]
        if any(rows is None for rows in found):
            continue  # not scored yet
        fallen = set[int]().union(*(rows or () for rows in found)) if keep == "flipped" else set[int]()
        start = 0
        while store.get(KIND, chunk_key(key, start)) is not None:
            _reduce(store, chunk_key(key, start), [row - start for row in sorted(fallen) if 0 <= row - start < CHUNK])
            start += CHUNK


def _fallen(cell: Cell, store: Store) -> set[int] | None:
    """Return the images that were right clean and wrong under this attack; None if that is not known."""
    right = []
    for key in (cell.clean_id, cell.score_id):
        outcome = store.get(OUTCOMES, key)
        if outcome is None:
            return None
        right.append(right_of(outcome))
    return {*(right[0] & ~right[1]).nonzero().flatten().tolist()}


def _reduce(store: Store, key: str, rows: list[int]) -> None:
    with store.lock(KIND, key):
        chunk = store.get(KIND, key)
        if chunk is None or not whole(chunk):
            return
        images = images_of(chunk)
        store.replace(KIND, key, {**chunk.meta, KEPT: rows}, {"images": images[rows]} if rows else None)
