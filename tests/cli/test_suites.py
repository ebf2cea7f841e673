"""Suites that come along: listed, printed, run by name, changed by options; a dry run fetches nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robench.errors import SpecError
from robench.plan.suite import shipped, suite_file
from robench.plan.suite_changes import suite_request

SUITES = Path(__file__).resolve().parents[2] / "suites"
#: Places in which nothing of anyone lies.
EMPTY = ("HF_HOME", "HF_HUB_CACHE", "TORCH_HOME", "XDG_CACHE_HOME", "ROBENCH_DATA")


@pytest.fixture
def bare(robench, tmp_path):
    """Return robench on a machine that has downloaded nothing."""

    def run(*words, **environment):
        places = {name: str(tmp_path / "nothing") for name in EMPTY}
        return robench(*words, **{**places, "HF_HUB_OFFLINE": "", **environment})

    return run


def test_they_are_the_files_of_the_folder():
    assert shipped() == {path.stem: path for path in SUITES.glob("*.toml")}


def test_the_list_says_what_each_needs(bare, tmp_path):
    done = bare("suites")
    assert done.code == 0, done.said
    lines = done.out.splitlines()
    assert [line.removeprefix("suite:") for line in lines if line.startswith("suite:")] == list(shipped())
    digits = lines.index("suite:digits")
    assert lines[digits + 2] == "    everything is here"
    report = lines.index("suite:report-000")
    needs = [line for line in lines[report:] if line.startswith("    needs: ")][:3]
    assert needs[0].startswith(f"    needs: cifar10 (170 MB, and 180 MB unpacked): to {tmp_path}/nothing; ")
    assert "https://huggingface.co/openai/clip-vit-base-patch32 (605 MB): to " in needs[1]
    assert needs[2].endswith(f"to {tmp_path}/nothing/hub/checkpoints/cifar10_resnet20-4118986f.pt.")
    assert "    needs: imagenet needs the folder of class folders: pass -p dataset.path=DIR." in lines
    assert not (tmp_path / "nothing").exists()


def test_one_is_printed_to_be_changed(robench):
    assert robench("suites", "digits").out == (SUITES / "digits.toml").read_text(encoding="utf-8")
    assert robench("suites", "suite:digits").out == (SUITES / "digits.toml").read_text(encoding="utf-8")


def test_a_name_is_the_file(robench):
    by_name = robench("run", "suite:digits", "--dry-run", "--defense", "none", "--n", "20")
    assert by_name.code == 0
    assert by_name.out == robench("run", SUITES / "digits.toml", "--dry-run", "--defense", "none", "--n", "20").out


def test_a_name_that_is_none():
    with pytest.raises(SpecError, match=r"No suite 'digit' comes along; did you mean 'digits'\? Known: digits, "):
        suite_file("suite:digit")


def test_a_card_records_what_was_changed(robench, tmp_path):
    (tmp_path / "mine.toml").write_text('attack = "pgd"\nn = 500\neps = "8/255"\n')
    done = robench("run", "mine.toml", "--attack", "fgsm", "--n", "20", "--gate", "quick", "--no-gallery")
    assert done.code == 0, done.said
    (path,) = (tmp_path / "results" / "cards").glob("*.json")
    given = json.loads(path.read_text())["cell"]["given"]
    assert given["suite"] == {"name": "mine.toml", "changed": {"attack": ["fgsm"], "n": 20}}
    assert (given["attack"], given["n"], given["eps"]) == (["fgsm"], 20, ["8/255"])
    assert robench("verify", path).code == 0


def test_parameters_of_a_suite_that_concern_nothing_any_more_are_left_out_and_said(robench, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'defense = ["none", "vpt"]\nattack = "pgd"\nn = 20\nparameters.vpt.epochs = 1\nparameters.attack.steps = 5\n'
    )
    done = robench("run", "mine.toml", "--dry-run", "--defense", "none", "--attack", "fgsm")
    assert done.code == 0
    assert done.err == (
        "warning: With these options nothing of the suite has attack.steps, vpt.epochs; they are left out.\n"
    )
    refused = robench("run", "mine.toml", "--dry-run", "--defense", "none", "-p", "vpt.tokens=3")
    assert refused.code == 2
    assert "-p vpt.tokens: this run has no vpt; " in refused.said


def test_a_parameter_that_one_run_has_is_no_mistake_in_the_others(tmp_path):
    (tmp_path / "two.toml").write_text('n = 20\n[[run]]\nattack = "fgsm"\n[[run]]\nattack = "pgd"\n')
    fgsm, pgd = suite_request(tmp_path / "two.toml", {}, {"attack.steps": "5"}).runs
    assert (fgsm.parameters, pgd.parameters) == ({}, {"attack.steps": "5"})
    assert suite_request(tmp_path / "two.toml").runs[0].suite == {"name": "two.toml"}


def test_a_dry_run_lists_all_that_is_missing_and_fetches_nothing(bare, tmp_path):
    done = bare("run", "suite:report-000", "--dry-run")
    assert done.code == 0, done.said
    plan, _, missing = done.out.partition("\n\nnot here, downloaded at first use:\n")
    assert len(missing.splitlines()) == 3
    assert "cifar10 (170 MB" in missing
    *cells, total = plan.splitlines()
    assert len(cells) == 8
    assert cells[0].endswith("to do: clean, craft, score")
    assert total.endswith(", and what the missing images make of it")
    assert not (tmp_path / "nothing").exists()


def test_offline_what_is_missing_stops_a_dry_run_after_all_is_listed(bare):
    done = bare("run", "suite:report-000", "--dry-run", "--offline")
    assert done.code == 2
    assert "not here, and not downloaded offline:" in done.out
    assert "robench: The run would stop here:\ncifar10 (170 MB" in done.err
    assert done.err.count("huggingface.co/openai/clip-vit-base-patch32") == 1


def test_a_run_of_a_suite_that_cannot_be_planned_hides_nothing_of_the_others(bare, tmp_path):
    (tmp_path / "two.toml").write_text(
        'n = 20\n[[run]]\ndataset = "imagenet"\nvictim = "clip-vit-b32"\n[[run]]\nattack = "fgsm"\n'
    )
    done = bare("run", "two.toml", "--dry-run")
    assert done.code == 2
    assert done.out.startswith("tiny-clip / none / fgsm at Linf 8/255, seed 0: to do: clean 20 forwards")
    assert "The run would stop here:\nimagenet needs the folder of class folders" in done.err
