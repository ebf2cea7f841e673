"""What ``robench run`` shows at its end: the boards, published figures beside measured ones, and what does not pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robench.cli.options import warn

if TYPE_CHECKING:
    from robench.evidence.card import Card
    from robench.plan.suite_changes import SuiteRequest


def check_results(out: Path) -> None:
    """Raise StoreError, before any work, for files in ``out`` that a run would have to overwrite or cannot read."""
    from robench.plan.suites_compared import suites_there
    from robench_leaderboard.render.page_places import check_ours

    suites_there(out)
    check_ours(out)


def compare_with_published(asked: SuiteRequest, cards: list[Card], out: Path) -> None:
    """Print published figures beside the measured ones, and keep the comparison as a page.

    Those of the suite are shown whether they were measured or not; of the rest of the ledger, those that were. The page
    has those of all cards in ``out`` and a part for each suite that was run into it, whatever was run last.
    """
    from rich.console import Console

    from robench.evidence.files import write_whole
    from robench.evidence.row_verdict import judge_together
    from robench.plan.published_ledger import ledger
    from robench.plan.published_rows import beside, pair
    from robench.plan.suites_compared import SuiteFigures, by_title, keep
    from robench_leaderboard import read_cards
    from robench_leaderboard.compare.published_vs_measured import print_published, published_page

    rest = [entry for entry in ledger() if entry not in asked.published]
    pairings = pair(asked.published, cards) + beside(rest, cards)
    if pairings:
        print_published(pairings, Console())
    stated = by_title(keep(out, SuiteFigures(asked.title, asked.name, asked.published)))
    page, folder = out / "PUBLISHED.md", out / "cards"
    there = judge_together(read_cards([folder], lambda text: None)) if folder.is_dir() else cards
    parts = {title: pair(entries, there) for title, entries in stated.items()}
    shown = [entry for entries in stated.values() for entry in entries]
    others = beside([entry for entry in ledger() if entry not in shown], there)
    if any(parts.values()) or others:
        write_whole(page, published_page(parts, others).encode())
        click.echo(f"published beside measured: {page}")


def print_failures(failures: Sequence[tuple[str, str]]) -> None:
    """Say on the error stream which cells failed, by title, and why; nothing if none did."""
    if failures:
        click.echo(f"\n{len(failures)} cells failed; the others stand:", err=True)
    for title, error in failures:
        click.echo(f"  {title}\n    {error}", err=True)


def finish(cards: list[Card], out: Path) -> list[Card]:
    """Write the leaderboard of all cards in ``out``, print the boards that these belong to, and return them as judged.

    Cards of earlier runs that lie there and are of the same images and threat model are in the tables too: a row is
    judged by all of its cards, and is the same here as on the page.
    """
    from rich.console import Console

    from robench.evidence.row_verdict import judge_together
    from robench_leaderboard import print_tables, read_cards, rule_of, same_boards, write_leaderboard

    if not cards:
        return []
    folder = out / "cards"
    there = read_cards([folder], warn)
    page = write_leaderboard(there, out, rule_of(there, [folder], warn=warn), [folder])
    shown, made = same_boards(there, cards), {card.id for card in cards}
    print_tables(shown, Console())
    others = sum(card.id not in made for card in shown)
    if others:
        click.echo(
            f"The tables hold {others} cards of earlier runs in {folder} as well, since they are of these boards."
        )
    click.echo(f"cards: {folder}\nleaderboard: {page}")
    return [card for card in judge_together(shown) if card.id in made]


def failed(failures: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return which cells failed, by title, and why, as JSON values."""
    return {"failures": [{"cell": title, "reason": reason} for title, reason in failures]}


def results_json(cards: list[Card], failures: list[tuple[str, str]], trained: list[Path], out: Path) -> dict[str, Any]:
    """Return what a run made as JSON values: a record a card, as judged, with its file."""
    from robench.api.results import record

    return {
        "cards": [{**record(card), "path": str(out / "cards" / card.file_name)} for card in cards],
        "trainings": list(map(str, trained)),
        **failed(failures),
        "leaderboard": str(out / "LEADERBOARD.md") if cards else None,
    }


def unfit(cards: list[Card], least: str | None, out: Path) -> int:
    """Name the cards whose verdict ``--fail-on`` does not let pass; return how many they are."""
    worst = {None: (), "invalid": ("INVALID",), "suspect": ("INVALID", "SUSPECT")}[least]
    refused = [card for card in cards if card.gate.verdict in worst]
    if refused:
        click.echo(f"\n--fail-on {least}: {len(refused)} of {len(cards)} numbers do not pass:", err=True)
    for card in refused:
        click.echo(f"  {card.gate.verdict}: robench explain {out / 'cards' / card.file_name}", err=True)
    return len(refused)
