"""Carry out what ``robench run`` was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from robench.evidence.card import Card
    from robench.plan.spec import Spec


def perform(
    specs: tuple[Spec, ...], store: Path | None, out: Path, options: dict[str, Any]
) -> tuple[list[Card], list[tuple[str, str]], list[Path]]:
    """Return the cards, each written as soon as it is there, title and reason of each failed cell, and trainings.

    A card keeps what the one in its place holds beyond it: certificates, and what a harder gate found.
    """
    from robench.api import CellsFailed, choose_device, comparison_groups, run
    from robench.errors import RobenchError
    from robench.evidence import training_card_file
    from robench.evidence.files import ready_folder
    from robench.evidence.gallery import write_gallery
    from robench.evidence.kept_card import write_kept
    from robench.evidence.store import Store, default_root
    from robench.plan.shard import shard
    from robench.plan.spec import plan
    from robench.runtime.progress_bars import terminal

    part = shard(options["shard"])
    # Planned before anything is run, so that what cannot be run is refused before.
    groups = [comparison_groups(plan(spec, choose_device(options["device"]))) for spec in specs]
    counts = list(map(len, groups))
    parts = [part.after(sum(counts[:place])) for place in range(len(specs))]
    ready_folder(out)
    stored = Store(store or default_root())
    cards: list[Card] = []
    failures: list[tuple[str, str]] = []
    trained: list[Path] = []
    kept: dict[str, int] = {}

    def write_card(card: Card) -> None:
        card, more = write_kept(card, out / "cards")
        cards.append(card)
        for what in more:
            kept[what] = kept.get(what, 0) + 1
        if not options["no_gallery"]:
            write_gallery(stored, card, out / "gallery")

    with terminal() as progress:
        if sum(counts) < part.part:
            progress.note(f"Part {part} has nothing to do: the grid has {sum(counts)} groups of cells.")
        progress.cells.expect(
            sum(len(one) for some, all_ in zip(parts, groups, strict=True) for one in some.share(all_))
        )
        for place, spec in enumerate(specs, 1):
            try:
                run(
                    spec,
                    on_card=write_card,
                    on_training=lambda card: trained.append(training_card_file.write(card, out / "trainings")),
                    store=store,
                    device=options["device"],
                    batch_size=options["batch_size"],
                    offline=options["offline"],
                    compiled=options["compiled"],
                    prepared=not options["no_prepare"],
                    gate=options["gate"],
                    gate_images=options["gate_images"],
                    gate_cost=options["gate_cost"],
                    timeout=options["timeout"],
                    progress=progress,
                    gallery=not options["no_gallery"],
                    keep_images=options["keep_images"],
                    shard=str(parts[place - 1]),
                    compute=not options["no_compute"],
                )
            except CellsFailed as error:
                failures += [(entry.cell.title, str(entry.error)) for entry in error.failures]
            except RobenchError as error:
                if len(specs) == 1:
                    raise
                failures.append((f"run {place} of the suite", str(error)))
    if kept:
        listed = "; ".join(f"{what} in {count} {'card' if count == 1 else 'cards'}" for what, count in kept.items())
        click.echo(f"kept of earlier runs of the same cells in {out / 'cards'}: {listed}", err=True)
    return cards, failures, trained
