"""The store as a queue: processes that share one take what no other works on, and wait for nothing they need not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robench.evidence.store import Store

KIND = "group"


def free_first(keys: Sequence[str], store: Store) -> Iterator[int]:
    """Yield the place of each key once: while nobody else has it, its lock held, and last those that others have.

    Those are helped with, chunk by chunk, or have been finished meanwhile.
    """
    held = []
    for place, key in enumerate(keys):
        with store.lock_at_once(KIND, key) as free:
            if free:
                yield place
                continue
        held.append(place)
    yield from held
