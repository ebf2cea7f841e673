"""Read cards, rank them, render them. No model is run here and torch is never imported."""

from robench_leaderboard.ranking.board import Board as Board
from robench_leaderboard.ranking.board import boards as boards
from robench_leaderboard.ranking.board import same_boards as same_boards
from robench_leaderboard.ranking.evidence_rule import EvidenceRule as EvidenceRule
from robench_leaderboard.ranking.evidence_rule import rule_of as rule_of
from robench_leaderboard.ranking.read_cards import read_cards as read_cards
from robench_leaderboard.ranking.row import Row as Row
from robench_leaderboard.render.markdown import render_markdown as render_markdown
from robench_leaderboard.render.pages import check_leaderboard as check_leaderboard
from robench_leaderboard.render.pages import render_pages as render_pages
from robench_leaderboard.render.pages import write_leaderboard as write_leaderboard
from robench_leaderboard.render.terminal import print_tables as print_tables
from robench_leaderboard.render.to_json import publish as publish

__all__ = [
    "Board",
    "EvidenceRule",
    "Row",
    "boards",
    "check_leaderboard",
    "print_tables",
    "publish",
    "read_cards",
    "render_markdown",
    "render_pages",
    "rule_of",
    "same_boards",
    "write_leaderboard",
]
