"""``robench store``: what the store holds, whether it is sound, and what of it may go."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robench.cli.options import Names, store_option, warn
from robench.cli.output import answering, json_option, printed_option
from robench.cli.strict import Command
from robench.cli.values import in_bytes, joined, read_age, read_size

if TYPE_CHECKING:
    from robench.evidence.prune import Choice
    from robench.evidence.store import Store
    from robench.evidence.stored_objects import References, StoredObject

#: Folders of the current one whose cards protect what they refer to, as far as they are there.
PROTECTING = ("results", "leaderboard")

cards_option = click.option(
    "--cards",
    "folders",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FOLDER",
    help="Further folders whose cards count [always: results and leaderboard here].",
)


@click.group("store")
def store_command() -> None:
    """Look at the store, check it, and make room in it.

    The store keeps fitted defenses, adversarial images, answers and pictures under what they were computed from, so
    that nothing is computed twice. Whatever is taken away is computed again when it is asked for.

    \b
    robench store info
    robench store check
    robench store prune --older-than 30d --dry-run
    """


def _command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    return store_command.command(name, cls=Command)


@_command("info")
@store_option("Folder of the artifacts [default: the user's cache folder].")
@cards_option
@json_option
@printed_option
def info_command(store: Path | None, folders: tuple[Path, ...], as_json: bool) -> None:
    """Say what lies in the store: objects by kind, their bytes, when they were last used, and what cards refer to."""
    root, objects = _listed(store)
    referred = _references(folders).among(objects)
    if as_json:
        with answering(as_json) as answer:
            kinds = [_kind(kind, same, referred) for kind, same in _by_kind(objects)]
            answer({"store": str(root), **_sizes(objects), "kinds": kinds})
        return
    click.echo(f"{root}: {in_bytes(sum(each.size for each in objects))} in {len(objects):,} objects")
    if not objects:
        return
    click.echo(f"{'kind':14}{'objects':>9}{'size':>11}{'of cards':>10}  last used")
    for kind, same in _by_kind(objects):
        size, cards = sum(each.size for each in same), sum(each.path in referred for each in same)
        days = [(time.time() - each.used) / 86400 for each in same]
        span = f"{_days(max(days))} to {_days(min(days))} ago" if max(days) >= 1 else "today"
        click.echo(f"{kind:14}{len(same):9,}{in_bytes(size):>11}{cards:10,}  {span}")


@_command("check")
@store_option("Folder of the artifacts [default: the user's cache folder].")
@json_option
@printed_option
def check_command(store: Path | None, as_json: bool) -> None:
    """Read every object and compare its checksums; exit code 1 if one is damaged, exchanged or foreign.

    Nothing is changed. A run that meets a damaged object sets it aside and computes it again.
    """
    from robench.evidence.artifact_folder import read_checked
    from robench.evidence.plain_text import plain
    from robench.evidence.stored_objects import DAMAGED, UNFINISHED
    from robench.runtime.progress_bars import terminal

    root, objects = _listed(store)
    stored = [each for each in objects if each.kind not in (UNFINISHED, DAMAGED)]
    bad: list[dict[str, str]] = []
    with answering(as_json) as answer:
        with terminal() as progress:
            for each in progress.track(stored, len(stored), "check"):
                try:
                    read_checked(each.path)
                except (OSError, ValueError) as error:
                    bad.append({"path": str(each.path), "reason": plain(error, 200)})
                    click.echo(f"damaged: {plain(each.path, 600)} ({plain(error, 200)})")
        aside = sum(each.kind == DAMAGED for each in objects)
        if aside:
            click.echo(
                f"{aside} objects were set aside as damaged before; robench store prune --kind damaged removes them."
            )
        if bad:
            click.echo(
                f"{len(bad)} of {len(stored):,} objects in {root} are damaged; a run computes what it needs of them "
                "again."
            )
        else:
            click.echo(f"{len(stored):,} objects in {root} are as they were written.")
        answer({"store": str(root), "objects": len(stored), "damaged": bad, "set_aside": aside})
    if bad:
        raise click.exceptions.Exit(1)


@_command("prune")
@click.option("--older-than", metavar="AGE", help="Only what was not used for so long, such as 30d, 12h or 8w.")
@click.option(
    "--max-size", metavar="SIZE", help="Only until the store has this size, such as 20GB; longest unused first."
)
@click.option(
    "--kind", "kinds", type=Names(), multiple=True, help="Only these kinds, as robench store info names them."
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--even-if-used", is_flag=True, help="Also what cards refer to: these can then not be verified here.")
@store_option("Folder of the artifacts [default: the user's cache folder].")
@cards_option
@json_option
@printed_option
def prune_command(
    older_than: str | None,
    max_size: str | None,
    kinds: tuple[list[str], ...],
    dry_run: bool,
    even_if_used: bool,
    store: Path | None,
    folders: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Remove objects by age, size and kind, the longest unused first, never what a card still refers to.

    The cards that count are those at any depth under results and leaderboard in this folder, and under --cards. A card
    refers to the answers, the adversarial images and the pictures of its cell, to what the gate tried on it, to the
    weights of its model, and to its own copy. What another process works on stays.

    \b
    robench store prune --older-than 30d --dry-run
    robench store prune --max-size 20GB --cards ../other-project/results
    robench store prune --kind damaged,unfinished
    """
    from robench.errors import SpecError
    from robench.evidence.prune import Wish, choose
    from robench.evidence.store import Store

    named = frozenset(joined(kinds))
    wish = Wish(named, read_age(older_than), read_size(max_size))
    if wish == Wish():
        raise SpecError(
            "Say what may go: --older-than 30d, --max-size 20GB, or --kind NAME as robench store info does."
        )
    root, objects = _listed(store)
    _check_kinds(named, objects)
    keep = set() if even_if_used else _references(folders).among(objects)
    choice = choose(objects, keep, wish, time.time())
    stayed = set[Path]()
    if not dry_run and choice.gone:
        stayed = _remove(Store(root, warn), choice.gone)
    with answering(as_json) as answer:
        _report(choice, wish.most, dry_run)
        gone = [each for each in choice.gone if each.path not in stayed]
        by_kind = [{"kind": kind, **_sizes(same)} for kind, same in _by_kind(gone)]
        answer(
            {
                "store": str(root),
                "dry_run": dry_run,
                "gone": by_kind,
                "spared": _sizes(choice.spared),
                "in_use": list(map(str, sorted(stayed))),
                "left": choice.left + sum(each.size for each in choice.gone if each.path in stayed),
            }
        )


def _listed(store: Path | None) -> tuple[Path, list[StoredObject]]:
    from robench.errors import StoreError
    from robench.evidence.store import default_root
    from robench.evidence.stored_objects import stored_objects

    root = store or default_root()
    if not root.is_dir():
        raise StoreError(f"There is no store at {root}; a run makes it. Name another with --store.")
    return root, stored_objects(root)


def _references(folders: Iterable[Path]) -> References:
    from robench.errors import SpecError
    from robench.evidence.card import Card
    from robench.evidence.stored_objects import PROBES, References, cards_below

    for folder in folders:
        if not folder.is_dir():
            raise SpecError(f"--cards {folder} is no folder, so it protects nothing; name a folder of cards.")
    there = [Path(name) for name in PROTECTING if Path(name).is_dir()]
    cards = [*cards_below([*there, *folders], warn)]
    if not cards:
        return References([])
    from robench.verify.stored_probes import probe_keys  # torch takes seconds: only where a card has figures of probes

    named = {(PROBES, key) for card in cards if isinstance(card, Card) for key in probe_keys(card)}
    return References(cards, named)


def _check_kinds(named: Iterable[str], objects: Sequence[StoredObject]) -> None:
    from robench.errors import SpecError, suggestion

    known = {each.kind for each in objects}
    for name in named:
        if name not in known:
            raise SpecError(f"--kind {name} is nothing that this store holds; {suggestion(name, known)}")


def _remove(store: Store, gone: Iterable[StoredObject]) -> set[Path]:
    """Remove objects; return the places of those that another process uses, which stay."""
    from robench.errors import StoreError
    from robench.evidence.stored_objects import DAMAGED, UNFINISHED

    if store.read_only:
        raise StoreError(f"The store at {store.root} cannot be written; nothing was removed.")
    stayed = set[Path]()
    for each in gone:
        if each.kind in (DAMAGED, UNFINISHED):
            store.remove_temporary(each.path)
        elif not store.remove(each.kind, each.key):
            warn(f"{each.path} is in use by another process; it stays.")
            stayed.add(each.path)
    return stayed


def _report(choice: Choice, most: int | None, dry_run: bool) -> None:
    verb = "would go" if dry_run else "removed"
    for kind, same in _by_kind(choice.gone):
        click.echo(f"{kind}: {len(same):,} objects, {in_bytes(sum(each.size for each in same))} {verb}")
    size = sum(each.size for each in choice.spared)
    if choice.spared:
        click.echo(
            f"{len(choice.spared):,} objects ({in_bytes(size)}) stay, since cards refer to them; --even-if-used takes "
            "them too."
        )
    freed = in_bytes(sum(each.size for each in choice.gone))
    over = most is not None and choice.left > most
    above = f", more than --max-size {in_bytes(most or 0)}" if over else ""
    click.echo(f"{freed} {'would be freed' if dry_run else 'freed'}; {in_bytes(choice.left)} left{above}")


def _sizes(objects: Sequence[StoredObject]) -> dict[str, int]:
    return {"objects": len(objects), "bytes": sum(each.size for each in objects)}


def _kind(kind: str, objects: Sequence[StoredObject], referred: Collection[Path]) -> dict[str, Any]:
    """Return a kind of objects as JSON values: how many, their size, what cards refer to, and when they were used."""
    used = [datetime.fromtimestamp(each.used, UTC).isoformat(timespec="seconds") for each in objects]
    cards = sum(each.path in referred for each in objects)
    return {"kind": kind, **_sizes(objects), "of_cards": cards, "first_used": min(used), "last_used": max(used)}


def _by_kind(objects: Iterable[StoredObject]) -> list[tuple[str, list[StoredObject]]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for each in objects:
        found[each.kind].append(each)
    return sorted(found.items())


def _days(count: float) -> str:
    return "0 days" if count < 1 else f"{count:.0f} days"
