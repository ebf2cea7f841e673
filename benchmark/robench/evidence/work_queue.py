"""The store as a queue: processes that share one take what no other works on, and wait for nothing they need not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robench.evidence.store import Store


def free_first(kind: str, keys: Sequence[str], store: Store) -> Iterator[int]:
    """Yield the place of each key once: while nobody else has it, its lock held, and last those that others have.

    Those are helped with, chunk by chunk, or have been finished meanwhile. A lock says what somebody works on and keeps
    nobody out, so that a process waits for none of them and no two can wait for each other.

    Args:
        kind: what is shared out: comparison groups of a run, or the defended victims of one group.
        keys: what names each.
        store: whose locks are taken.
    """
    held = []
    for place, key in enumerate(keys):
        with store.lock_at_once(kind, key) as free:
            if free:
                yield place
                continue
        held.append(place)
    yield from held
