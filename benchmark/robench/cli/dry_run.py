"""``robench run --dry-run``: the cells, what the store has, and the work that is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from robench.contracts.components import Attack, Dataset, Defense, Model
from robench.gate.level import Level
from robench.plan.cell import Cell, type_of
from robench.plan.request_values import check_count
from robench.plan.spec import Spec

if TYPE_CHECKING:
    from robench.evidence.store import Store

#: More images than a request can ask for without the dataset being looked at: an impossible number has many chunks.
MANY = 100_000


def print_plan(spec: Spec, store: Path | None, device: str, offline: bool, level: Level) -> None:
    """Print a line a cell and the total of forwards and backwards that are left."""
    from robench.api import choose_device, comparison_groups, go_offline
    from robench.evidence.store import Store, default_root
    from robench.pipeline.card_cache import cached
    from robench.plan.spec import plan

    go_offline(offline)
    cells = plan(spec, choose_device(device))
    stored = Store(store or default_root())
    sizes: dict[str, int] = {}
    left, seen = [0, 0], set[str]()
    for group in comparison_groups(cells):
        done = cached(group, stored, level) is not None
        for cell in group:
            work = [] if done else _missing(cell, stored, sizes, seen)
            left = [total + sum(part[place] for _, part in work) for place, total in enumerate(left)]
            state = "stored" if not work else "to do: " + ", ".join(f"{name} {_passes(*part)}" for name, part in work)
            click.echo(f"{cell.title}: {state}")
    click.echo(f"{len(cells)} cells; at most {_passes(left[0], left[1])} left (the gate's probes and warm-up apart)")


def print_training_plan(cell: Cell, store: Path | None) -> None:
    """Print a line for each model that training a cell's victim trains: stored, or the passes that are left."""
    from robench.evidence.store import Store, default_root
    from robench.pipeline.training_cards import untrained

    stored, sizes = Store(store or default_root()), dict[str, int]()
    for model_id, (_, chosen) in untrained([cell]).items():
        state = "stored"
        if stored.get("fit", model_id) is None:
            size = _size(type_of(cell.dataset, Dataset), "train", sizes)
            state = f"to do: train {_passes(*type_of(chosen, Model).training_passes(size))}"
        click.echo(f"{chosen.record().label} on {cell.dataset.record().label}, seed {cell.seed}: {state}")


def _missing(cell: Cell, store: Store, sizes: dict[str, int], seen: set[str]) -> list[tuple[str, tuple[int, int]]]:
    dataset: Dataset = type_of(cell.dataset, Dataset)
    source: Dataset = type_of(cell.home.dataset, Dataset)
    n = cell.n
    if n is None or n > MANY:
        there = _size(dataset, "test", sizes)
        check_count(dataset.name, n, there)
        n = n or there
    work: list[tuple[str, tuple[int, int]]] = []

    def need(name: str, kind: str, key: str, passes: tuple[int, int]) -> None:
        if key not in seen and store.get(kind, key) is None:
            work.append((name, passes))
        seen.add(key)

    for chosen in dict.fromkeys((cell.victim, *([cell.surrogate] if cell.surrogate is not None else []), *cell.loads)):
        model: Model = type_of(chosen, Model)
        if model.untrained():
            size = _size(source, "train", sizes)
            need("train", "fit", cell.model_id(chosen), model.training_passes(size))
    defense: Defense = type_of(cell.defense, Defense)
    if type(defense).fit is not Defense.fit:
        need("fit", "fit", cell.fit_id, defense.passes(_size(source, "train", sizes)))
    need("clean", "outcomes", cell.clean_id, (n, 0))
    forwards, backwards = type_of(cell.attack, Attack).passes()
    for chunk, size in _chunks(cell.craft_id, n):
        need("craft", "adversarial", chunk, (forwards * size, backwards * size))
    need("score", "outcomes", cell.score_id, (n, 0))
    return _merged(work)


def _chunks(craft_id: str, n: int) -> list[tuple[str, int]]:
    from robench.evidence.adversarial_set import chunk_key
    from robench.evidence.fingerprint import CHUNK

    return [(chunk_key(craft_id, start), min(CHUNK, n - start)) for start in range(0, n, CHUNK)]


def _merged(work: Sequence[tuple[str, tuple[int, int]]]) -> list[tuple[str, tuple[int, int]]]:
    totals: dict[str, tuple[int, int]] = {}
    for name, (forwards, backwards) in work:
        before = totals.get(name, (0, 0))
        totals[name] = (before[0] + forwards, before[1] + backwards)
    return list(totals.items())


def _size(dataset: Dataset, split: str, sizes: dict[str, int]) -> int:
    key = f"{dataset} {split}"
    if key not in sizes:
        sizes[key] = len(dataset.load(split))  # type: ignore[arg-type]  # one of the three split names
    return sizes[key]


def _passes(forwards: int, backwards: int) -> str:
    return f"{forwards:,} forwards + {backwards:,} backwards"
