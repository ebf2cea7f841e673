"""The ledger of published figures: what comes along, where one name has several numbers, and what a file must say."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from robench.errors import SpecError
from robench.plan import published_ledger
from robench.plan.published_ledger import contradictions, files, ledger, of_source, read_ledger, search
from robench.plan.published_rows import differences
from robench.plan.spec import Spec, plan

ROOT = Path(__file__).resolve().parents[2]

GOOD = """
source = "a paper"
dataset = "cifar10"
victim = "vit"
defense = "tecoa"

[[published]]
name = "TeCoA"
place = "table 1"
clean = 90
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "paper.toml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def numbers(source: str, figure: str) -> list[float]:
    return [entry.figures[figure] for entry in of_source(source) if figure in entry.figures]


@pytest.mark.parametrize(
    ("source", "figure", "stated"),
    [
        # Report 003, part I, as its notebook prints them: shares with up to 16 digits.
        ("report-003-digits", "clean", [78.6111111111111, 93.61111111111111, 95, 96.38888888888889, 96.94444444444444,
                                        95.55555555555555, 95.55555555555555, 96.38888888888889]),
        ("report-003-digits", "train", [84.13361169102297, 92.90187891440501, 94.50243562978428, 97.98190675017397,
                                        99.79123173277662, 99.86082115518441, 99.93041057759221, 99.93041057759221]),
        ("report-003-cifar10", "clean", [50.97, 82.72, 64.34, 87.42, 82.81, 35.22]),
        ("report-003-cifar10", "train", [83.58, 99.076, 78.58, 89.762]),
        ("report-003-mnist", "clean", [87.46, 65.88, 83.34]),
        ("report-003-mnist", "robust", [65.65, 77.95, 58.08, 61.26, 70.74, 78.49]),
        ("report-plants", "clean", [99, 96, 93]),
        ("report-plants", "clean_f1", [99, 96, 93]),
        ("report-002", "clean", [52.24]),
        ("report-002", "clean_top5", [88.72]),
        ("report-002", "robust_top5", [72.24]),
        ("report-001", "clean", [87.83, 93.29, 90.08, 88.14, 93.09, 86.82, 88.52]),
        ("report-001", "robust", [54.67, 83.68, 85.28, 86.50, 83.54, 64.14, 74.02]),
        ("report-000", "clean", [87.65, 91.70, 94.85, 88.66, 86.75]),
        ("report-000", "robust", [72.31, 82.08, 90.47, 74.17, 71.50, 81.75, 91.70]),
    ],
)  # fmt: skip
def test_the_figures_of_the_reports_are_there_unrounded(source, figure, stated):
    assert numbers(source, figure) == stated


def test_every_entry_says_whose_figure_it_is_and_where_it_is_printed():
    assert {entry.ledger for entry in ledger()} == set(files())
    for entry in ledger():
        assert entry.name, entry
        assert entry.place, entry
        assert entry.weights, entry
        assert entry.which["dataset"].name, entry


def test_leaves_are_judged_on_validation_images():
    assert {entry.split for entry in of_source("report-plants")} == {"validation"}
    assert "(validation images)" in of_source("report-plants")[0].title("clean")


def test_one_name_with_several_numbers_is_printed():
    (clean,) = [each for each in contradictions(ledger()) if (each.name, each.figure) == ("CLIP ViT-B/32", "clean")
                and each.dataset == "cifar10"]  # fmt: skip
    stated = [(percent, entry.source) for percent, entry in clean.numbers]
    assert stated == sorted(stated)
    assert {(82.81, "report 003, part II"), (87.65, "report 000"), (87.83, "report 001")} <= set(stated)


def test_what_the_field_says_of_one_name():
    found = {(each.name, each.figure, each.eps): each for each in contradictions(ledger())}
    fare = found["FARE1, CLIP ViT-B/32", "robust", 1 / 255]
    assert [(percent, entry.source, entry.second_hand) for percent, entry in fare.numbers] == [
        (18.25, "TGA-ZSR, README", False),
        (38.0, "RobustVLM, README", False),
        (38.36, "an unread source", True),
    ]
    assert [number for number, _ in found["TTC, CLIP ViT-B/32", "robust", 4 / 255].numbers] == [6.8, 21.2, 27.2]
    assert [number for number, _ in found["FARE4, CLIP ViT-B/32", "robust", 4 / 255].numbers] == [1.38, 21.9]


def test_robustbench_is_what_the_table_of_its_models_states():
    with (ROOT / "plugins/robench_builtins/models/shared/robustbench_zoo.csv").open(newline="") as file:
        zoo = [row for row in csv.DictReader(file) if row["autoattack"]]
    stated = [entry for entry in of_source("robustbench") if "victim" in entry.which]
    assert len(stated) == len(zoo) >= 28
    for entry, row in zip(stated, zoo, strict=True):
        said = {"data": "cifar10", "threat": "Linf", **entry.which["victim"].parameters}
        assert said == {name: row["name" if name == "model" else name] for name in ("model", "data", "threat")}
        assert entry.figures.get("clean") == (float(row["clean"]) if row["clean"] else None)
        assert entry.figures["robust"] == float(row["autoattack"])
        assert (entry.norm, entry.eps) == (
            row["threat"], 0.5 if row["threat"] == "L2" else (4 if row["data"] == "imagenet" else 8) / 255,
        )  # fmt: skip


@pytest.mark.parametrize("how", [{}, {"protocol": "cifar10-linf"}], ids=["a run", "its protocol"])
def test_a_model_of_robustbench_is_beside_its_figures(how):
    from robench.plan.suite_changes import suite_request

    name = "robustbench:Carmon2019Unlabeled"
    spec = Spec(dataset="cifar10", victim=name, attack="autoattack", eps="8/255")
    (run,) = suite_request("protocol:cifar10-linf", {"victim": name}).runs if how else (spec,)
    (cell,) = [cell for cell in plan(run) if cell.attack.record().name == "autoattack"]
    records = {role: getattr(cell, role).record() for role in ("dataset", "victim", "defense", "attack")}
    said = SimpleNamespace(
        **records, surrogate=None, surrogate_is_victim=False, trained_on=None, threat=cell.threat, protocol="",
        precision="float32",
    )  # fmt: skip
    exact = [entry for entry in ledger() if differences(entry, "robust", SimpleNamespace(cell=said)) == []]
    assert [entry.figures for entry in exact if "victim" in entry.which] == [{"clean": 89.69, "robust": 59.53}]


def test_a_source_contradicts_itself_only_on_one_row():
    # Two training accuracies of one perceptron; but FGSM beside PGD, or three learning rates, are no contradiction.
    (both,) = contradictions(of_source("report-003-digits"))
    assert (both.figure, [percent for percent, _ in both.numbers]) == ("train", [99.86082115518441, 99.93041057759221])
    assert contradictions(of_source("report-003-mnist")) == []
    assert contradictions(of_source("report-001")) == []
    assert contradictions(of_source("report-000")) == []


def test_rounding_is_no_contradiction(write):
    second = GOOD.replace("a paper", "another").replace("clean = 90", "clean = 90.04")
    first = read_ledger(write(GOOD))
    assert contradictions([*first, *read_ledger(write(second))]) == []
    (found,) = contradictions([*first, *read_ledger(write(second.replace("90.04", "90.06")))])
    assert [percent for percent, _ in found.numbers] == [90, 90.06]


def test_searching():
    found = search(ledger(), ["lora"], "robust", "report-001", defense="lora-ce")
    assert [entry.figures["robust"] for entry in found] == [83.68]
    assert search(ledger(), ["EPOCHS=5"], source="report 001")[0].figures["clean"] == 88.52
    assert search(ledger(), ["no such word"]) == []
    with pytest.raises(SpecError, match=r"no published figure has dataset 'cifar1'; did you mean 'cifar10'\?"):
        search(ledger(), dataset="cifar1")
    with pytest.raises(SpecError, match=r"no published figure has source 'report-01'; did you mean 'report-001'\?"):
        search(ledger(), source="report-01")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clean = ", "are not TOML: Invalid value"),
        ("published = 5", "published figures paper.toml: write each published row as a [[published]] table."),
        (GOOD.replace("clean = 90", ""), "paper.toml, row 1: a published row holds clean, robust, train or another"),
        (GOOD.replace("clean = 90", "clean = 901"), "row 1: clean of a published row is in percent, and 901 is not"),
        (GOOD.replace("clean", "claen"), "row 1: 'claen' is no key of a published row; did you mean 'clean'?"),
        (GOOD.replace("source", "sorce"), "paper.toml: 'sorce' is no default of its rows; did you mean 'source'?"),
        ("clean = 5\n" + GOOD, "paper.toml: 'clean' is no default of its rows; Known: attack"),
        (GOOD.replace('place = "table 1"', ""), "row 1: it does not say its place; a figure is one of something."),
        (GOOD.replace("clean = 90", "robust = 9"), "row 1: it does not say its attack and eps; a figure is one of"),
        (GOOD.replace('defense = "tecoa"', ""), "row 1: it does not say its defense; a figure is one of something."),
        (GOOD.replace('"tecoa"', '"tecoa[epochs]"'), "row 1: defense of a published row: 'epochs' in 'tecoa[epochs]'"),
        (GOOD + "split = 'train'", "row 1: split of a published row must be test or validation, not 'train'."),
        (GOOD + "second_hand = 1", "row 1: second_hand of a published row must be true or false, not 1."),
        ("parameters = 5" + GOOD, "paper.toml: parameters is a table such as [parameters] with defense.epochs = 10."),
    ],
)
def test_what_a_file_cannot_say_is_said(write, text, sentence):
    with pytest.raises(SpecError) as raised:
        read_ledger(write(text))
    assert sentence in str(raised.value)


def test_a_suite_names_files_of_the_ledger(write, monkeypatch, tmp_path):
    from robench.plan.suite import read_suite

    suite = write('published = ["report-01"]\ndataset = "digits"', "suite.toml")
    with pytest.raises(SpecError, match=r"suite .*: the ledger has no 'report-01'; did you mean 'report-001'\?"):
        read_suite(suite)
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "mine.toml").write_text(GOOD)
    monkeypatch.setattr(published_ledger, "FOLDERS", (tmp_path / "absent", folder))
    suite.write_text('published = ["mine"]\ndataset = "digits"')
    (entry,) = read_suite(suite).published
    assert (entry.ledger, entry.figures, entry.reference) == ("mine", {"clean": 90.0}, "a paper, table 1")
