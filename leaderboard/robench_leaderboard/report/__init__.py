"""Turn cards and their pictures into one page, and into figures and tables for a paper; no model is run."""

from robench_leaderboard.report.csv_and_latex import write_tables as write_tables
from robench_leaderboard.report.figure_files import write_figures as write_figures
from robench_leaderboard.report.page import render_report as render_report
from robench_leaderboard.report.report_data import Report as Report
from robench_leaderboard.report.report_data import collect as collect

__all__ = ["Report", "collect", "render_report", "write_figures", "write_tables"]
