"""The command group; each command is in a file of its own."""

from __future__ import annotations

from importlib.metadata import version

import click

from robench.cli.audit import audit_command
from robench.cli.break_row import break_command
from robench.cli.bundle import bundle_command
from robench.cli.check_plugin import check_plugin_command
from robench.cli.compare import compare_command
from robench.cli.completion import completion_command
from robench.cli.curve import curve_command
from robench.cli.data import data_command
from robench.cli.doctor import doctor_command
from robench.cli.exam import exam_command
from robench.cli.explain import explain_command
from robench.cli.export import export_command
from robench.cli.export_defense import export_defense_command
from robench.cli.inspect import inspect_command
from robench.cli.leaderboard import leaderboard_command
from robench.cli.list_show import list_command, show_command
from robench.cli.new import new_command
from robench.cli.plugins import plugins_command
from robench.cli.predict import predict_command
from robench.cli.protocol import protocol_command
from robench.cli.published import published_command
from robench.cli.push import push_command
from robench.cli.report import report_command
from robench.cli.run import run_command
from robench.cli.store import store_command
from robench.cli.submit import submit_command
from robench.cli.suites import suites_command
from robench.cli.train import train_command
from robench.cli.traps import traps_command
from robench.cli.verify import verify_command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("robench"), prog_name="robench")
def robench() -> None:
    """Measure adversarial robustness, and publish only numbers that hold up.

    \b
    robench run --defense tecoa --attack pgd        the embedded default, offline
    robench suites                                  experiments that come along; robench run suite:digits
    robench list                                    what can be named in a run
    robench show pgd                                parameters, defaults, source
    """


for command in (
    run_command,
    curve_command,
    suites_command,
    protocol_command,
    published_command,
    list_command,
    show_command,
    data_command,
    inspect_command,
    predict_command,
    plugins_command,
    new_command,
    check_plugin_command,
    explain_command,
    audit_command,
    verify_command,
    break_command,
    bundle_command,
    train_command,
    traps_command,
    exam_command,
    leaderboard_command,
    compare_command,
    export_command,
    export_defense_command,
    push_command,
    report_command,
    doctor_command,
    completion_command,
    submit_command,
    store_command,
):
    robench.add_command(command)
