"""``robench explain``."""

from __future__ import annotations

from pathlib import Path

import click

from robench.budget import format_eps
from robench.cli import completers


@click.command("explain")
@click.argument("card", type=click.Path(path_type=Path), shell_complete=completers.cards)
def explain_command(card: Path) -> None:
    """Explain a card's verdict: every check with its value, its threshold and what it means.

    \b
    robench explain results/cards/CARD.json
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from robench.evidence.cardfile import read
    from robench_leaderboard.wording import plain

    found = read(card)
    cell, console = found.cell, Console(highlight=False)
    title = f"{cell.victim.label} / {cell.defense.label} / {cell.attack.label}"
    threat = f"{cell.threat.norm} {format_eps(cell.threat.eps)}, {cell.threat.access}"
    console.print(Text(f"{plain(title, 300)}, {threat}"))
    console.print(f"verdict: {found.gate.verdict}\n")
    table = Table(
        "check", "status", "value", "threshold", "N", "meaning", box=None, header_style="bold", pad_edge=False
    )
    for check in found.gate.checks:
        value = "" if check.value is None else f"{check.value:.4g}"
        words = (check.name, check.status, value, check.threshold, str(check.n or ""), check.meaning)
        # A card may come from anyone: no control characters reach the terminal.
        table.add_row(*(Text(plain(word, 600)) for word in words))
    console.print(table)
