"""Read cards, rank them, render them. No model is run here and torch is never imported."""

from robench_leaderboard.pages import check_leaderboard as check_leaderboard
from robench_leaderboard.pages import render_pages as render_pages
from robench_leaderboard.pages import write_leaderboard as write_leaderboard
from robench_leaderboard.publish import publish as publish
from robench_leaderboard.rank import Board as Board
from robench_leaderboard.rank import boards as boards
from robench_leaderboard.read import read_cards as read_cards
from robench_leaderboard.render import render_markdown as render_markdown
from robench_leaderboard.rows import Row as Row
from robench_leaderboard.table import print_tables as print_tables

__all__ = [
    "Board",
    "Row",
    "boards",
    "check_leaderboard",
    "print_tables",
    "publish",
    "read_cards",
    "render_markdown",
    "render_pages",
    "write_leaderboard",
]
