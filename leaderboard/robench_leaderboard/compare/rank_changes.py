"""Say which ranks a set of cards changes against another, and why cards were refused: the comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robench.evidence.attestation import Level
from robench.evidence.card import Card
from robench.evidence.plain_text import plain
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.ranking.evidence_rule import EVERYTHING, EvidenceRule, rule_of
from robench_leaderboard.ranking.read_cards import read_tolerantly
from robench_leaderboard.ranking.row import Row
from robench_leaderboard.render import formatting
from robench_leaderboard.render.markdown import escape

#: GitHub takes comments of 65,536 characters; a reader takes fewer.
_MOST_ROWS, _MOST_CHARACTERS = 60, 60_000


@dataclass(frozen=True)
class Reading:
    """Hold the cards that could be read, and the sentence of each file that could not."""

    cards: tuple[Card, ...]
    refused: tuple[str, ...]
    rule: EvidenceRule = EVERYTHING


def reading_of(paths: Iterable[Path], require: Level = "reported") -> Reading:
    """Read cards as read_cards does, but go on after one that is refused, and what is attested of them."""
    places, told = list(paths), list[str]()
    cards, refused = read_tolerantly(places)
    rule = rule_of(cards, places, require, told.append)
    return Reading(tuple(cards), (*refused, *told), rule)


def render_changes(before: Reading, after: Reading) -> str:
    """Return Markdown: what is new, which ranks change on which board, which rows are not ranked, what was refused."""
    parts = ["## Leaderboard", _counts(before, after)]
    if after.refused:
        parts += ["### Refused", _capped([f"- {escape(sentence, 600)}" for sentence in after.refused])]
    old, new = _rows(before), _rows(after)
    moved = [line for key in sorted({*old, *new}) if (line := _line(key, old.get(key), new.get(key)))]
    if moved:
        head = ["| board | row | rank before | rank now | robust % before | now |", "|:--|:--|--:|--:|--:|--:|"]
        parts += ["### What changes", "\n".join(head) + "\n" + _capped(moved)]
    elif not after.refused:
        parts.append("No rank and no number changes.")
    unranked = [
        f"- {new[key].verdict}: {escape(key[1])}: {escape(reason, 600)}"
        for key in sorted(new)
        if key not in old
        for reason in new[key].reasons
    ]
    if unranked:
        parts += ["### New, but not ranked", _capped(unranked)]
    text = "\n\n".join(parts) + "\n"
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS].rpartition("\n")[0] + "\n\nAnd more.\n"


def _counts(before: Reading, after: Reading) -> str:
    old, new = ({card.id: card for card in reading.cards} for reading in (before, after))
    added, gone = new.keys() - old.keys(), old.keys() - new.keys()
    changed = [key for key in new.keys() & old.keys() if new[key] != old[key]]
    counts = f"{len(added)} new, {len(changed)} changed, {len(gone)} removed, {len(after.refused)} refused"
    return f"{len(new)} cards: {counts}."


Key = tuple[str, str]


def _rows(reading: Reading) -> dict[Key, Row]:
    """Return the rows by board and title; titles tell the rows of a board apart."""
    found = {}
    for board in boards(reading.cards, reading.rule):
        name = f"{board.setting.dataset}: {board.setting.contest} ({board.setting.test[:8]})"
        for row in board.rows:
            found[name, f"{formatting.whole_title(row)} on {plain(row.victim, 80)}"] = row
    return found


def _line(key: Key, old: Row | None, new: Row | None) -> str:
    """Return the table's line for one row; empty if nothing about it changed."""
    ranks = [_rank(row) for row in (old, new)]
    scores = [formatting.NONE if row is None else formatting.percent(row.headline) for row in (old, new)]
    if ranks[0] == ranks[1] and scores[0] == scores[1]:
        return ""
    return "| " + " | ".join(map(escape, (*key, *ranks, *scores))) + " |"


def _rank(row: Row | None) -> str:
    if row is None:
        return formatting.NONE
    return str(row.rank) if row.rank else f"not ranked ({row.verdict})"


def _capped(lines: Sequence[str]) -> str:
    more = [f"\nAnd {len(lines) - _MOST_ROWS} more."] if len(lines) > _MOST_ROWS else []
    return "\n".join([*lines[:_MOST_ROWS], *more])
