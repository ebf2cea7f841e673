"""Many workers on one store, whose work is to wait: what claiming it costs, and that none is done twice.

A worker waits for ``seconds`` a piece, as for a GPU, and then stores it. It asks for each piece as ``robench.run`` does
for a group of cells: its lock without waiting, what is stored, and, if it is the one that computes, the result.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robench.evidence.store import Store
from robench.evidence.work_queue import free_first

KIND = "piece"


@dataclass(frozen=True)
class Spent:
    """Hold what all workers together spent, and how often each piece was worked on."""

    stages: float
    claims: float
    times: list[int]

    @property
    def share(self) -> float:
        """Return how much of the workers' time went into stages; waiting for the last pieces of others apart."""
        return self.stages / (self.stages + self.claims)


def keys(pieces: int) -> list[str]:
    return [f"{piece:064x}" for piece in range(pieces)]


def work(root: Path, pieces: int, seconds: float, begin: Any, said: Any) -> None:
    """Do what one worker does."""
    store, done, stages = Store(root), [], 0.0
    begin.wait()
    before = time.process_time()
    for place in free_first("group", keys(pieces), store):
        key = keys(pieces)[place]
        if store.get(KIND, key) is not None:
            continue
        with store.lock(KIND, key):
            if store.get(KIND, key) is None:
                began = time.perf_counter()
                time.sleep(seconds)
                stages += time.perf_counter() - began
                store.put(KIND, key, {"place": place})
                done.append(place)
    said.put((stages, time.process_time() - before, done))


def simulate(root: Path, pieces: int, workers: int, seconds: float) -> Spent:
    """Return what ``workers`` processes spent on ``pieces`` pieces of work of ``seconds`` each."""
    context = multiprocessing.get_context("fork")
    begin, said = context.Barrier(workers), context.Queue()
    Store(root)
    started = [context.Process(target=work, args=(root, pieces, seconds, begin, said)) for _ in range(workers)]
    for process in started:
        process.start()
    answers = [said.get() for _ in started]
    for process in started:
        process.join()
    times = [0] * pieces
    for _, _, done in answers:
        for place in done:
            times[place] += 1
    return Spent(sum(stages for stages, _, _ in answers), sum(claims for _, claims, _ in answers), times)
