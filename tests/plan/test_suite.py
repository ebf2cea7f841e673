"""A suite file says the same as a command line, and nothing in it is ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from robench.errors import SpecError
from robench.plan.published_rows import differences
from robench.plan.spec import Spec, plan
from robench.plan.suite import Suite, read_suite

SUITES = sorted((Path(__file__).resolve().parents[2] / "suites").glob("*.toml"))


@pytest.fixture
def write(tmp_path):
    def to(text, name="table.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return to


@pytest.fixture
def refusal(write):
    def of(text):
        path = write(text)
        with pytest.raises(SpecError) as raised:
            read_suite(path)
        return str(raised.value).replace(str(path), "FILE")

    return of


def test_a_file_without_runs_is_one_run(write):
    assert read_suite(write("")) == Suite("table", "", (Spec(),))


def test_every_key_says_what_its_option_says(write):
    suite = read_suite(
        write("""
        title = "Table 1"
        description = "What it reproduces."
        dataset = "digits"
        victim = ["mlp", "cnn"]
        defense = ["none", "tecoa[epochs=5]"]
        attack = ["pgd"]
        surrogate = ["self"]
        eps = ["8/255", 0.03, 1]
        norm = "L2"
        seed = [0, 1]
        n = 50
        baseline = false
        [parameters]
        attack.steps = 20
        attack.restarts = 2
        [parameters.defense]
        eps = "4/255"
        """)
    )
    assert (suite.title, suite.description) == ("Table 1", "What it reproduces.")
    assert suite.runs == (
        Spec(
            dataset="digits",
            victim=("mlp", "cnn"),
            defense=("none", "tecoa[epochs=5]"),
            attack=("pgd",),
            surrogate=("self",),
            eps=("8/255", 0.03, 1),
            norm="L2",
            seed=(0, 1),
            n=50,
            baseline=False,
            parameters={"attack.steps": 20, "attack.restarts": 2, "defense.eps": "4/255"},
        ),
    )


def test_one_value_stands_for_a_list_of_one(write):
    (run,) = read_suite(write('victim = "mlp"\nattack = "pgd"\neps = "8/255"\nseed = 3')).runs
    assert run == Spec(victim=("mlp",), attack=("pgd",), eps=("8/255",), seed=(3,))


def test_the_top_level_holds_the_defaults_of_every_run(write):
    suite = read_suite(
        write("""
        dataset = "digits"
        n = 50
        parameters.attack.steps = 20
        parameters.attack.restarts = 2
        [[run]]
        attack = "pgd"
        [[run]]
        attack = "fgsm"
        n = 10
        parameters.attack.steps = 5
        """)
    )
    common = {"attack.steps": 20, "attack.restarts": 2}
    assert suite.runs == (
        Spec(dataset="digits", n=50, attack=("pgd",), parameters=common),
        Spec(dataset="digits", n=10, attack=("fgsm",), parameters={**common, "attack.steps": 5}),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'atack = "pgd"',
            "suite FILE: 'atack' is no key of a run; did you mean 'attack'? Known: attack, baseline, certificate, "
            "dataset, defense, eps, label, n, norm, parameters, precision, seed, surrogate, train_dataset, victim.",
        ),
        (
            '[[run]]\ntitle = "x"',
            "suite FILE: 'title' is no key of a run; Known: attack, baseline, certificate, "
            "dataset, defense, eps, label, n, norm, parameters, precision, seed, surrogate, train_dataset, victim.",
        ),
        ("n = 1.5", "suite FILE: n must be a whole number, not 1.5."),
        ("n = true", "suite FILE: n must be a whole number, not True."),
        ('n = "5"', "suite FILE: n must be a whole number, not '5'."),
        ("n = [5]", "suite FILE: n must be a whole number, not [5]."),
        ('seed = ["0"]', "suite FILE: seed must be a whole number, not '0'."),
        ("seed = true", "suite FILE: seed must be a whole number, not True."),
        ("seed = [0, 0.5]", "suite FILE: seed must be a whole number, not 0.5."),
        ("dataset = 5", "suite FILE: dataset must be text, not 5."),
        ('dataset = ["digits", 5]', "suite FILE: dataset must be text, not 5."),
        ('train_dataset = ["digits"]', "suite FILE: train_dataset must be text, not ['digits']."),
        ("norm = 2", "suite FILE: norm must be text, not 2."),
        ('attack = ["pgd", 5]', "suite FILE: attack must be text, not 5."),
        ('victim = [["mlp"]]', "suite FILE: victim must be text, not ['mlp']."),
        ("eps = [true]", "suite FILE: eps must be a number, not True."),
        ("eps = [1979-05-27]", "suite FILE: eps must be a number, not datetime.date(1979, 5, 27)."),
        ('baseline = "no"', "suite FILE: baseline must be true or false, not 'no'."),
        ("baseline = 0", "suite FILE: baseline must be true or false, not 0."),
        (
            "parameters = 5",
            "suite FILE: parameters is a table such as [parameters] with attack.steps = 20.",
        ),
        (
            "[parameters]\nsteps = 5",
            "suite FILE: parameter 'steps' names no component; write role.parameter = value.",
        ),
        ("run = 5", "suite FILE: write each run as a [[run]] table."),
        ("run = [5]", "suite FILE: write each run as a [[run]] table."),
        ("[run]\nn = 5", "suite FILE: write each run as a [[run]] table."),
    ],
)
def test_nothing_in_a_suite_is_ignored(refusal, text, sentence):
    assert refusal(text) == sentence


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("n = ", "suite FILE is not TOML: Invalid value (at end of document); mend that place."),
        ("n = 1\nn = 2", "suite FILE is not TOML: Cannot overwrite a value (at end of document); mend that place."),
        (
            b"\xff",
            "suite FILE is not TOML: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte; mend that "
            "place.",
        ),
        (f"n = {'9' * 5000}", "suite FILE is not TOML: Exceeds the limit (4300 digits) for integer string conversion"),
        (f"n = {'[' * 5000}", "suite FILE is not TOML: "),
    ],
)
def test_what_is_no_toml_is_said_to_be_none(refusal, text, start):
    assert refusal(text).startswith(start)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "absent.toml"
    with pytest.raises(SpecError) as raised:
        read_suite(path)
    assert str(raised.value) == (
        f"suite {path} cannot be read (No such file or directory); name a TOML file, or suite:NAME (robench "
        "suites lists them)."
    )


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_shipped_suite_reads_and_says_what_it_is(path):
    suite = read_suite(path)
    assert suite.title != path.stem
    assert suite.description
    assert suite.runs


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_shipped_suite_can_be_planned_and_its_published_rows_are_among_its_cells(path, tmp_path):
    folders = {"plantvillage": "Tomato_healthy", "imagefolder": "rose", "imagenet": "val/n01440764"}
    for dataset, folder in folders.items():
        (tmp_path / dataset / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / dataset / folder / "1.png")
    folders["flickr"] = "."
    (tmp_path / "flickr").mkdir()
    (tmp_path / "flickr" / "captions.txt").write_text("image,caption\n1.png,A rose .\n")
    suite = read_suite(path)
    cells = []
    for run in suite.runs:
        names = [run.dataset] if isinstance(run.dataset, str) else run.dataset
        found = {"dataset.path": str(tmp_path / name)} if (name := names[0].partition("[")[0]) in folders else {}
        cells += plan(replace(run, parameters={**run.parameters, **found}))
    assert cells
    found = [as_measured(cell) for cell in cells]
    for entry in suite.published:
        for figure in entry.figures if "victim" in entry.which else ():
            rows = {rows_of(card) for card in found if differences(entry, figure, card) == []}
            assert len(rows) == (entry.place not in NOT_RUN), (entry, figure)


#: Published rows that a suite does not run: reports' own, by where they are printed.
NOT_RUN: tuple[str, ...] = ()


def as_measured(cell):
    """Return what a card of a cell says of it."""
    roles = ("dataset", "victim", "defense", "attack", "surrogate")
    records = {role: getattr(cell, role).record() if getattr(cell, role) else None for role in roles}
    said = SimpleNamespace(
        **records, surrogate_is_victim=False, trained_on=None, threat=cell.threat, protocol="", precision="float32"
    )
    return SimpleNamespace(cell=said)


def rows_of(card):
    return card.cell.dataset.label, card.cell.victim.label, card.cell.defense.label


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_suite_that_bears_a_reports_name_says_where_it_differs(path):
    assert bool(read_suite(path).differs) == (path.stem.startswith("report-") or path.stem == "fashion-mnist")


def test_differences_are_sentences(refusal):
    assert refusal("differs = 5") == "suite FILE: differs is a list of sentences."
    assert refusal('differs = ["One.", ""]') == "suite FILE: differs is a list of sentences."


def test_each_figure_of_report_001_is_beside_one_row_and_each_row_beside_one_figure():
    suite = read_suite(next(path for path in SUITES if path.stem == "report-001"))
    cards = [as_measured(cell) for cell in plan(suite.runs[0])]
    beside = [
        {rows_of(card)[-1] for card in cards if differences(entry, "robust", card) == []} for entry in suite.published
    ]
    assert [len(labels) for labels in beside] == [1] * 7
    (unpublished,) = {rows_of(card)[-1] for card in cards} - set.union(*beside)
    assert "tokens=20" in unpublished  # the report gives no figures for twenty tokens
