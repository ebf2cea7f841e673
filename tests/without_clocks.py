"""Cards as JSON values without what may differ between two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec


def without_clocks(card: Any) -> dict[str, Any]:
    """Return a card, or the JSON values of one, without times, memory, energy and environment."""
    values = dict(card) if isinstance(card, dict) else msgspec.to_builtins(card)
    for name in ("created", "environment"):
        values.pop(name)
    for stage in values["cost"].values():
        for clock in ("seconds", "peak_bytes", "joules"):
            stage.pop(clock)
    return values


def cards_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the cards in a folder by file name."""
    return {path.name: without_clocks(json.loads(path.read_text())) for path in folder.glob("*.json")}
