"""``robench run --dry-run``: the cells, what the store has, and the work that is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robench.cli.estimate import Estimate, known_rates, read_rates
from robench.cli.options import warn
from robench.contracts.certificate import Certificate
from robench.contracts.components import Attack, Dataset, Defense, Model
from robench.errors import DataError
from robench.evidence.fingerprint import CERTIFIED_CHUNK
from robench.evidence.stage_ids import CURRENT
from robench.gate.level import Level
from robench.plan import needs
from robench.plan.asked_precision import precision_notes
from robench.plan.cell import Cell, type_of
from robench.plan.needs import missing
from robench.plan.request_values import check_count
from robench.plan.spec import Spec, plan

if TYPE_CHECKING:
    from robench.evidence.store import Store

#: More images than a request can ask for without the dataset being looked at: an impossible number has many chunks.
MANY = 100_000


def print_plan(
    specs: Sequence[Spec],
    store: Path | None,
    level: Level,
    options: Mapping[str, Any],
    answer: Callable[[dict[str, Any]], None],
) -> None:
    """Print a line a cell, the passes that are left, what they cost, and all that is missing; nothing is downloaded.

    Args:
        specs: what is planned.
        store: folder of the artifacts; None is the user's own.
        level: how hard the gate tries.
        options: ``device``, ``offline``, ``rates`` and ``keep_images`` of ``robench run``.
        answer: given the same as JSON values.
    """
    from robench.api import choose_device, go_offline, is_offline
    from robench.evidence.store import Store, default_root

    device, forbidden = choose_device(options["device"]), options["offline"] or is_offline()
    for note in precision_notes([spec.precision for spec in specs], device):
        warn(note)
    go_offline(True)  # whatever a component would fetch to say how large it is
    stored = Store(store or default_root())
    given = read_rates(options["rates"])
    counted = _Count(stored, level)
    errors: list[str] = []
    for spec in specs:
        try:
            counted.cells(plan(spec, device))
        except DataError as error:
            if len(specs) == 1:
                raise
            errors.append(str(error))
    unknown = ", and what the missing images make of it" if counted.unknown else ""
    total = _passes(counted.left[0], counted.left[1])
    click.echo(f"{counted.planned} cells; at most {total} left (the gate's probes and warm-up apart){unknown}")
    estimate: list[str] = []
    if counted.estimate.anything and not counted.unknown:  # without the images that are missing it would be too low
        rates = known_rates(stored, device, given)
        estimate = list(counted.estimate.lines(rates, level.cost, options["keep_images"]))
    for line in estimate:
        click.echo(line)
    lacking, errors = list(dict.fromkeys(counted.missing)), list(dict.fromkeys([*counted.errors, *errors]))
    answer({
        "cells": counted.listed, "forwards": counted.left[0], "backwards": counted.left[1],
        "complete": not counted.unknown, "estimate": estimate, "missing": lacking, "errors": errors,
    })  # fmt: skip
    _print_missing(lacking, errors, forbidden)


def _print_missing(downloads: list[str], errors: list[str], forbidden: bool) -> None:
    """Say what has to come first; DataError where the run could not get it."""
    if downloads:
        click.echo("\nnot here, and not downloaded offline:" if forbidden else "\nnot here, downloaded at first use:")
    for sentence in downloads:
        click.echo(f"  {sentence}")
    if errors or (downloads and forbidden):
        raise DataError("The run would stop here:\n" + "\n".join([*errors, *(downloads if forbidden else [])]))


class _Count:
    """Count what is left of planned cells, in the order of a run, and collect what is missing for it."""

    def __init__(self, store: Store, level: Level) -> None:
        self._store, self._level = store, level
        self._sizes: dict[str, int | None] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.estimate = Estimate()
        self._seen = set[str]()
        self.left = [0, 0]
        self.planned = 0
        self.missing: list[str] = []
        self.errors: list[str] = []
        self.listed: list[dict[str, Any]] = []

    @property
    def unknown(self) -> bool:
        """Tell whether the size of some split is not known."""
        return None in self._sizes.values()

    def cells(self, cells: list[Cell]) -> None:
        """Print a line for each cell, and count it."""
        from robench.api import comparison_groups
        from robench.pipeline.card_cache import cached

        self.planned += len(cells)
        for group in comparison_groups(cells):
            done = cached(group, self._store, self._level) is not None
            self.missing += [] if done else missing(group)
            for cell in group:
                work = [] if done else self._work(cell)
                used = (f"{cell.dataset.component} test", f"{cell.home.dataset.component} train")
                known = None not in (self._sizes.get(key, 0) for key in used)
                self.left = [
                    total + sum(part[place] for _, part in work if known) for place, total in enumerate(self.left)
                ]
                self.estimate.add(cell.victim.component.name, sum(sum(part) for _, part in work if known))
                parts = (f"{name} {_passes(*part)}" if known else name for name, part in work)
                self.listed.append(_as_json(cell.title, not work, work, known))
                click.echo(f"{cell.title}: {'to do: ' + ', '.join(parts) if work else 'stored'}")

    def _work(self, cell: Cell) -> list[tuple[str, tuple[int, int]]]:
        """Return the stages that are left of a cell, and their passes; these say nothing where the size is unknown."""
        dataset: Dataset = type_of(cell.dataset, Dataset)
        source: Dataset = type_of(cell.home.dataset, Dataset)
        n = cell.n
        if n is None or n > MANY:
            there = self._size(dataset, "test")
            if there is not None:
                check_count(dataset.name, n, there)
            n = (there or 1) if n is None else min(n, MANY)
        work: list[tuple[str, tuple[int, int]]] = []

        def need(name: str, kind: str, key: str, passes: tuple[int, int]) -> bool:
            seen = key in self._seen
            self._seen.add(key)
            if self._store.get(kind, key) is not None:
                return False
            if seen:
                self.estimate.shared[name] += 1
            else:
                work.append((name, passes))
            return not seen

        surrogates = [cell.surrogate] if cell.surrogate is not None else []
        for chosen in dict.fromkeys((cell.victim, *surrogates, *cell.loads)):
            model: Model = type_of(chosen, Model)
            if model.untrained():
                need("train", "fit", cell.model_id(chosen), model.training_passes(self._size(source, "train") or 0))
        defense: Defense = type_of(cell.defense, Defense)
        if type(defense).fit is not Defense.fit:
            need("fit", "fit", cell.fit_id, defense.passes(self._size(source, "train") or 0))
        need("clean", "outcomes", cell.clean_id, (n, 0))
        for chosen in cell.certificates:
            most = type_of(chosen, Certificate).passes_in(cell.threat)
            chunks = CURRENT.certificate_chunks(cell.certificate_id(chosen), n)
            for chunk, size in zip(chunks, _sizes(n, CERTIFIED_CHUNK), strict=True):
                need("certify", "certificate", chunk, (most[0] * size, most[1] * size))
        attack: Attack = type_of(cell.attack, Attack)
        forwards, backwards = attack.passes_in(cell.threat)
        once = attack.passes_once()
        for chunk, size in _chunks(cell.craft_id, n):
            if need("craft", "adversarial", chunk, (forwards * size + once[0], backwards * size + once[1])):
                once = (0, 0)
                self.estimate.add_images(size, dataset.name, self._shapes.get(str(dataset)))
        need("score", "outcomes", cell.score_id, (n, 0))
        return _merged(work)

    def _size(self, dataset: Dataset, split: str) -> int | None:
        """Return the images of a split; None where they are not here."""
        key = f"{dataset} {split}"
        if key not in self._sizes:
            self._sizes[key] = None
            if not needs.of(dataset):
                try:
                    images = dataset.load(split)  # type: ignore[arg-type]  # one of the three split names
                    self._sizes[key], self._shapes[str(dataset)] = len(images), tuple(images.shape)
                except DataError as error:
                    self.errors.append(str(error))
        return self._sizes[key]


def _as_json(title: str, stored: bool, work: list[tuple[str, tuple[int, int]]], known: bool) -> dict[str, Any]:
    """Return what is left of a cell; passes are None where the images are not here to be counted."""
    return {
        "title": title,
        "stored": stored,
        "work": [
            {"stage": name, "forwards": part[0] if known else None, "backwards": part[1] if known else None}
            for name, part in work
        ],
    }


def print_training_plan(cell: Cell, store: Path | None) -> None:
    """Print a line for each model that training a cell's victim trains: stored, or the passes that are left."""
    from robench.evidence.store import Store, default_root
    from robench.pipeline.training_cards import untrained

    stored = Store(store or default_root())
    for model_id, (_, chosen) in untrained([cell]).items():
        state = "stored"
        if stored.get("fit", model_id) is None:
            size = _size(type_of(cell.dataset, Dataset), "train")
            state = f"to do: train {_passes(*type_of(chosen, Model).training_passes(size))}"
        click.echo(f"{chosen.record().label} on {cell.dataset.record().label}, seed {cell.seed}: {state}")


def _chunks(craft_id: str, n: int) -> list[tuple[str, int]]:
    from robench.evidence.adversarial_set import chunk_keys
    from robench.evidence.fingerprint import CHUNK

    return list(zip(chunk_keys(craft_id, n), _sizes(n, CHUNK), strict=True))


def _sizes(n: int, most: int) -> list[int]:
    """Return how many of ``n`` images each part holds, with at most ``most``."""
    return [min(most, n - start) for start in range(0, n, most)]


def _merged(work: Sequence[tuple[str, tuple[int, int]]]) -> list[tuple[str, tuple[int, int]]]:
    totals: dict[str, tuple[int, int]] = {}
    for name, (forwards, backwards) in work:
        before = totals.get(name, (0, 0))
        totals[name] = (before[0] + forwards, before[1] + backwards)
    return list(totals.items())


def _size(dataset: Dataset, split: str) -> int:
    return len(dataset.load(split))  # type: ignore[arg-type]  # one of the three split names


def _passes(forwards: int, backwards: int) -> str:
    return f"{forwards:,} forwards + {backwards:,} backwards"
