"""JSON lines: one line a row of the leaderboard, for pandas, DuckDB and the like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from robench import Card, Exporter, leaderboard


class JSONLines(Exporter):
    """Write one JSON object a row, as in leaderboard.json, with the board it is on."""

    name = "jsonl"

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Write the file."""
        lines = []
        for board in leaderboard(cards).boards:
            setting = msgspec.to_builtins(board)
            rows = setting.pop("rows")
            setting.pop("repeated")
            lines += [msgspec.json.encode({"board": setting, **row}) + b"\n" for row in rows]
        target.write_bytes(b"".join(lines))
