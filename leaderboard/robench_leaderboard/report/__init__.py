"""Turn cards and their pictures into one page, and into figures and tables for a paper; no model is run."""

from robench_leaderboard.report.collect import Report as Report
from robench_leaderboard.report.collect import collect as collect
from robench_leaderboard.report.figures import write_figures as write_figures
from robench_leaderboard.report.page import render_report as render_report
from robench_leaderboard.report.tables import write_tables as write_tables

__all__ = ["Report", "collect", "render_report", "write_figures", "write_tables"]
