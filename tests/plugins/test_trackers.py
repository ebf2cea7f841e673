"""MLflow and Weights & Biases: real runs, read back from the database and the file that they write; one run a card."""

from __future__ import annotations

import getpass
import importlib.util
import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

CARDS = Path(__file__).resolve().parents[2] / "leaderboard" / "cards"
(CARD,) = CARDS.glob("digits-tiny-clip-tecoa-pgd-Linf-4_255-*.json")
(TRANSFER,) = CARDS.glob("digits-tiny-clip-tecoa-pgd-via-self-Linf-4_255-*.json")
RECORD = json.loads(CARD.read_text())

needs_mlflow = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")


@pytest.fixture
def track(tmp_path):
    """Return a function that exports in a process of its own: both libraries start threads, and may not be forked."""

    def run(*words, **environment):
        code = "import sys; sys.argv[0] = 'robench'; from robench.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "export", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "400", **environment},
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def without(site, package):
    """Let the processes of the site find no such package."""
    (site.path / f"{package}.py").write_text("raise ImportError('hidden')\n")
    return site


@pytest.mark.parametrize(("form", "package"), [("mlflow:out", "mlflow"), ("wandb:digits", "wandb")])
def test_a_missing_library_is_named_with_the_extra(site, form, package):
    done = without(site, package).robench("export", str(CARD), "--to", form)
    assert done.code == 2
    assert f"{package} needs the package '{package}'; run: pip install 'robench[{package}]'." in done.said


def test_a_place_in_the_name_and_one_behind_o_are_refused_together_and_no_password_is_shown(site):
    done = site.robench("export", str(CARD), "--to", "mlflow:http://me:secret@127.0.0.1:9", "-o", "out")
    assert done.code == 2
    assert "The exporter 'mlflow' writes to http://127.0.0.1:9; leave -o out out." in done.said


def test_wandb_that_is_switched_off_is_said(site):
    (site.path / "wandb.py").write_text("")
    done = site.robench("export", str(CARD), "--to", "wandb", WANDB_MODE="disabled")
    assert done.code == 2
    assert "$WANDB_MODE is disabled, so nothing would be logged; unset it, or set it to offline." in done.said


@needs_mlflow
def test_mlflow_has_a_run_a_card_however_often_it_is_logged(track, tmp_path):
    for _ in range(2):
        done = track(CARD, TRANSFER, "--to", "mlflow:runs[experiment=digits]")
        assert (done.returncode, done.stdout) == (0, "2 cards: runs\n"), done.stderr
    with sqlite3.connect(tmp_path / "runs" / "mlflow.db") as base:
        ask = lambda text, *values: base.execute(text, values).fetchall()  # noqa: E731 - short, and used here only
        assert ask("select name from experiments where name != 'Default'") == [("digits",)]
        runs = {name: (run, user, source) for run, name, user, source in
                ask("select run_uuid, name, user_id, source_name from runs")}  # fmt: skip
        assert set(runs) == {CARD.stem, TRANSFER.stem}
        run, user, source = runs[CARD.stem]
        assert (user, source) == ("unknown", "")
        given = dict(ask("select key, value from params where run_uuid = ?", run))
        measured = dict(ask("select key, value from latest_metrics where run_uuid = ?", run))
        said = dict(ask("select key, value from tags where run_uuid = ?", run))
        losses = ask("select value from metrics where run_uuid = ? and key = 'training/loss' order by step", run)
        other = dict(ask("select key, value from latest_metrics where run_uuid = ?", runs[TRANSFER.stem][0]))
    base.close()
    shown = {name: given[name] for name in ("defense", "defense.epochs", "attack.steps", "eps", "norm", "seed", "n")}
    assert shown == {"defense": "tecoa", "defense.epochs": "10", "attack.steps": "20", "eps": "4/255", "norm": "Linf",
                     "seed": "0", "n": "500"}  # fmt: skip
    clean, robust = RECORD["clean"], RECORD["robust"]
    assert (measured["clean_accuracy"], measured["robust_accuracy"]) == (
        clean["correct"] / 500,
        robust["correct"] / 500,
    )
    assert (measured["robust_accuracy_low"], measured["robust_top5_accuracy"]) == (robust["low"], robust["top5"] / 500)
    assert measured["craft_seconds"] == RECORD["cost"]["craft"]["seconds"]
    assert [value for (value,) in losses] == [step["loss"] for step in RECORD["training"]["history"]]
    assert "robust_accuracy" not in other
    assert other["transfer_accuracy"] == json.loads(TRANSFER.read_text())["robust"]["correct"] / 500
    assert (said["verdict"], said["card"]) == ("VALID", RECORD["id"])
    (artifact,) = (tmp_path / "runs" / "artifacts" / run).rglob("*.json")
    assert (artifact.name, json.loads(artifact.read_text())["id"]) == (CARD.name, RECORD["id"])


@needs_mlflow
def test_mlflow_writes_a_folder_behind_o_and_a_dead_server_is_a_sentence(track, tmp_path):
    assert track(CARD, "--to", "mlflow", "-o", "there").returncode == 0
    assert (tmp_path / "there" / "mlflow.db").is_file()
    done = track(CARD, "--to", "mlflow:http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert done.returncode == 2
    assert "The exporter 'mlflow' to http://127.0.0.1:9 failed: MlflowException: " in done.stderr


def records(file):
    """Return the records of a run file of W&B: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    raw, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(raw):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = int.from_bytes(raw[place + 4 : place + 6], "little"), raw[place + 6]
        parts += raw[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""


@needs_wandb
def test_wandb_keeps_a_run_a_card_offline_and_says_nothing_of_the_machine(track, tmp_path):
    done = track(CARD, "--to", "wandb:me/digits", WANDB_MODE="offline")
    assert done.returncode == 0, done.stderr
    assert "1 cards: the W&B project me/digits (offline: under wandb; wandb sync sends them)" in done.stdout
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    found = list(records(file))
    (run,) = [record.run for record in found if record.HasField("run")]
    assert (run.entity, run.project, run.run_id) == ("me", "digits", RECORD["id"][:32])
    assert (run.display_name, list(run.tags)) == (CARD.stem, ["VALID"])
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (config["defense"], config["eps"], config["attack.steps"]) == ("tecoa", "4/255", 20)
    summary = {item.key: json.loads(item.value_json) for record in found for item in record.summary.update}
    assert summary["robust_accuracy"] == RECORD["robust"]["correct"] / 500
    losses = [json.loads(item.value_json) for record in found for item in record.history.item
              if "training/loss" in (item.key, *item.nested_key)]  # fmt: skip
    assert losses == [step["loss"] for step in RECORD["training"]["history"]]
    artifacts = [record.request.log_artifact.artifact for record in found] + [record.artifact for record in found]
    assert any(entry.path == CARD.name for artifact in artifacts for entry in artifact.manifest.contents)
    for private in (str(tmp_path), socket.gethostname() * (len(socket.gethostname()) > 3), getpass.getuser() + "@"):
        assert not private or private.encode() not in file.read_bytes()


@needs_wandb
def test_wandb_without_a_key_says_how_to_do_without(track, tmp_path):
    done = track(CARD, "--to", "wandb:digits", WANDB_API_KEY="", HOME=str(tmp_path))
    assert done.returncode == 2
    assert "W&B takes no runs of digits: No API key configured. Use `wandb login` to log in." in done.stderr
    assert "With WANDB_MODE=offline they are kept in this folder." in done.stderr
