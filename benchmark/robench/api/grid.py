"""``robench.run``: a grid of cells, from the store where it has them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.api.device import choose_device, go_offline
from robench.api.results import Results
from robench.contracts.task import Progress
from robench.errors import RobenchError, StoreError
from robench.evidence.card import Card
from robench.evidence.store import Store, default_root
from robench.evidence.training_card import TrainingCard
from robench.evidence.work_queue import free_first
from robench.gate.level import DEFAULT_LEVEL, level_of
from robench.pipeline.card_cache import cached, illustrated, store_cards
from robench.pipeline.training_cards import trainings
from robench.plan import arguments
from robench.plan import flags_and_arguments as wording
from robench.plan import request_values as values
from robench.plan import shard as shards
from robench.plan.asked_precision import precision_notes
from robench.plan.cell import Cell
from robench.plan.local_places import remember
from robench.plan.place_labels import Places
from robench.plan.spec import Spec, plan
from robench.plugin.catalog import Catalog, catalog
from robench.runtime.cell_count import cell_count
from robench.runtime.default_dtype import float32_by_default
from robench.runtime.interruption import contained, watching

if TYPE_CHECKING:
    from robench.gate.level import Level
    from robench.pipeline.flow import Failed
    from robench.pipeline.workbench import Workbench


@dataclass(frozen=True)
class Failure:
    """Name a cell that could not be measured, and why."""

    cell: Cell
    error: RobenchError


class CellsFailed(RobenchError):
    """Report cells that failed after all others were finished.

    Attributes:
        cards: the cards of the cells that stand.
        failures: one entry a failed cell.
    """

    def __init__(self, cards: list[Card], failures: list[Failure]) -> None:
        self.cards = cards
        self.failures = failures
        lines = "\n".join(f"{entry.cell.title}: {entry.error}" for entry in failures)
        super().__init__(f"{len(failures)} of {len(failures) + len(cards)} cells failed; the others stand.\n{lines}")


@float32_by_default()
def run(
    spec: Spec | str | os.PathLike[str] | None = None,
    *,
    store: Path | str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    offline: bool = False,
    compiled: bool = False,
    prepared: bool = True,
    gate: str = DEFAULT_LEVEL,
    gate_images: int | None = None,
    gate_cost: float | None = None,
    timeout: float | None = None,
    progress: Progress | bool | None = None,
    gallery: bool = False,
    keep_images: str = "all",
    shard: str | None = None,
    compute: bool = True,
    known: Catalog | None = None,
    on_card: Callable[[Card], None] = lambda card: None,
    on_training: Callable[[TrainingCard], None] = lambda card: None,
    **request: Any,
) -> Results:
    """Run a request and return its cards; what the store already holds is not computed again.

    Args:
        spec: the request; or give its fields as keywords, such as ``defense=["tecoa"], attack=["pgd"]``, not both.
            A suite, ``"suite:digits"`` or the path of a TOML file, is changed by keywords.
        store: folder of the artifacts; None is the user's cache folder, or ``$ROBENCH_STORE``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu`` or ``auto``, which is ``cuda`` or ``cpu``.
        batch_size: images at once; None chooses by device and resolution.
        offline: never reach for a hub.
        compiled: use torch.compile.
        prepared: merge adapters, fold batch norms and store channels last where the logits agree.
        gate: how hard the harness tries to disprove the numbers: ``quick``, ``standard`` or ``thorough``.
        gate_images: the most images that a dear probe of the gate takes; None is the level's own.
        gate_cost: the most passes the gate may add, as a share of the cell's own; None is the level's own.
        timeout: seconds an attack may take for one batch before its cell fails; None waits.
        progress: shows how far the stages are. None: in a terminal or a notebook; True: always; False: never.
        gallery: keep a few images of each cell in the store, for ``robench report``.
        keep_images: which adversarial images stay in the store once they are scored: ``all``, ``flipped`` (those that
            fell) or ``digests``. What is not there can be counted on, but not asked again.
        shard: the part of the grid to run: ``3/8``, or ``auto``, as Slurm, Kubernetes or torchrun number this process.
            Cells that are judged together stay together. None is the whole.
        compute: False takes what the store has, and reports every other cell as failed.
        known: the components to choose from; None is every installed plugin.
        on_card: called with each card as it is finished.
        on_training: called with the card of each model that had to be trained first, once a model.
        **request: the fields of :class:`robench.plan.spec.Spec`; single names need no list.

    Raises:
        RobenchError: the request cannot be run as written; nothing was computed.
        ArgumentError: an argument that there is not, which is a TypeError too.
        CellsFailed: some cells failed; it carries the cards of the others. If all failed for one reason, that
            reason is raised itself.
    """
    with wording.for_python(), watching():
        asked = arguments.requests(spec, request)
        device, batch_size, timeout = arguments.check_options(device, batch_size, timeout)
        for name, value in (
            ("compiled", compiled), ("prepared", prepared), ("gallery", gallery), ("compute", compute),
        ):  # fmt: skip
            values.truth(name, value)
        part = shards.shard(shard)
        go_offline(values.truth("offline", offline))
        known = known or catalog()
        device = choose_device(device)
        level = level_of(*arguments.check_gate(gate, gate_images, gate_cost))
        keep = values.keep(keep_images)
        specs = [values.checked(one) for one in asked.runs]
        with contained():
            planned = [(one, plan(one, device, known)) for one in specs]
            cells = [cell for _, some in planned for cell in some]
            groups = part.share([(one, group) for one, some in planned for group in comparison_groups(some)])
            remember({id(part): part for cell in cells for part in cell.components}.values())
        root = Path(values.place("store", store)) if store is not None else default_root()
        with _shown(progress) as shown:
            for note in [*asked.notes, *precision_notes([one.precision for one in specs], device)]:
                shown.note(note)
            workbench = cache(
                partial(
                    _workbench, device, store=root, batch_size=batch_size, compiled=compiled, prepared=prepared,
                    gate=level, timeout=timeout, progress=shown, gallery=gallery,
                )
            )  # fmt: skip
            quick = Store(root, warn=shown.note)
            try:
                grid = _Grid(Places(part for cell in cells for part in cell.components), workbench, quick, level, shown)
                return Results(grid.run(groups, gallery, compute, on_card, on_training), root)
            finally:
                if workbench.cache_info().currsize and (said := workbench().beside.said()):
                    shown.note(said)
                if keep != "all":
                    from robench.pipeline.kept_images import reduce_images

                    reduce_images(cells, quick, keep)


@contextmanager
def _shown(progress: Progress | bool | None) -> Iterator[Progress]:
    """Give the progress that was asked for; bars and lines are made only where they are shown."""
    if progress is None or isinstance(progress, bool):
        from robench.runtime.progress_bars import usual

        with usual(progress) as shown:
            yield shown
    else:
        yield progress


@dataclass(frozen=True)
class _Grid:
    """Take the cells of a grid from the store, or measure them."""

    places: Places
    workbench: Callable[[], Workbench]
    store: Store
    level: Level
    progress: Progress

    def run(
        self,
        groups: Sequence[tuple[Spec, list[Cell]]],
        gallery: bool,
        compute: bool,
        on_card: Callable[[Card], None],
        on_training: Callable[[TrainingCard], None],
    ) -> list[Card]:
        """Return the cards of groups of cells, from the store where it has them; CellsFailed after all others."""
        failures: list[Failure] = []
        yielded = set[str]()

        def failed(cell: Cell, error: RobenchError) -> None:
            wording.translate(error)
            failures.append(Failure(cell, error))

        by_group: dict[int, list[Card]] = {}
        cell_count(self.progress).expect(sum(len(group) for _, group in groups))
        for place in free_first("group", [_key(group) for _, group in groups], self.store):
            spec, group = groups[place]
            done = by_group[place] = self._group(spec, group, gallery, compute, failed)
            for training in trainings(group, self.store, self.workbench, self.progress.note, yielded):
                on_training(training)
            for card in done:
                on_card(card)
        cards = [card for place in range(len(groups)) for card in by_group[place]]
        if failures and not cards and len({str(entry.error) for entry in failures}) == 1:
            raise failures[0].error  # one cause, such as a missing folder: say it once
        if failures:
            raise CellsFailed(cards, failures)
        return cards

    def _group(self, spec: Spec, group: list[Cell], gallery: bool, compute: bool, failed: Failed) -> list[Card]:
        """Return the cards of cells that are judged together; those that are missing are reported."""
        request = self.places.request(spec.request())
        done = cached(group, self.store, self.level, request)
        counted = cell_count(self.progress)
        if done is None and not compute:
            for cell in group:
                failed(cell, StoreError(f"It is not in the store {self.store.root}; run it without --no-compute."))
            return []
        if done is None or (gallery and compute and not illustrated(group, self.store)):
            from robench.pipeline.flow import run_group

            made = run_group(group, self.workbench(), request, failed, lambda cell: counted.begin(cell.title))
            done = done or made  # pictures may have been all that was missing
            store_cards(done, self.store, self.level)
        else:
            counted.stored(len(group))
        return done


def _key(group: Sequence[Cell]) -> str:
    """Return what names a group among those of all processes that share the store."""
    return hashlib.sha256("".join(sorted(cell.score_id for cell in group)).encode()).hexdigest()


def _workbench(device: str, **options: Any) -> Workbench:
    from robench.pipeline.workbench import Options, Workbench

    return Workbench(Options(device=device, **options), device)


def comparison_groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells grouped into those that are judged together, in order of appearance."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.comparison_group, []).append(cell)
    return list(groups.values())
