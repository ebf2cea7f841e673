"""What other tools read: each form loaded back by the tool it is for, or by an independent reader."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from ..identified import identify

ROOT = Path(__file__).resolve().parents[2]
CARDS = ROOT / "leaderboard" / "cards"

TRACKER = '''
"""Log cards to a tracker of experiments."""

from robench import Exporter, hookimpl, leaderboard, parameter


class Tracker(Exporter):
    """Log one run a row."""

    name = "tracker"
    experiment: str = parameter(default="robench", help="name of the experiment")

    def write(self, cards, target):
        import trackinglib

        trackinglib.set_tracking_uri(target.as_uri())
        trackinglib.set_experiment(self.experiment)
        for board in leaderboard(cards).boards:
            for row in board.rows:
                with trackinglib.start_run(run_name=row.title):
                    trackinglib.log_params({"defense": row.defense.label, "eps": board.eps, "seed": row.seed})
                    trackinglib.log_metrics({"clean": row.clean.rate, "robust": row.robust.rate})


@hookimpl
def robench_exporters():
    return [Tracker]
'''

#: Stands for the library, which is not installed here: the calls above, kept as JSON lines.
FAKE_LIBRARY = """
import contextlib, json, pathlib, urllib.parse

state = {}

def set_tracking_uri(uri):
    state["folder"] = pathlib.Path(urllib.parse.urlparse(uri).path)
    state["folder"].mkdir(exist_ok=True)

def set_experiment(name):
    state["experiment"] = name

@contextlib.contextmanager
def start_run(run_name):
    state["run"] = {"experiment": state["experiment"], "run": run_name}
    yield
    with (state["folder"] / "runs.jsonl").open("a") as file:
        file.write(json.dumps(state["run"]) + "\\n")

def log_params(values):
    state["run"].update(values)

def log_metrics(values):
    state["run"].update(values)
"""


def rows():
    found = json.loads((ROOT / "leaderboard" / "leaderboard.json").read_text())
    return [(board, row) for board in found["boards"] for row in board["rows"]]


def tecoa_at_4():
    return next(row for board, row in rows() if row["title"] == "tecoa" and board["eps"] == 4 / 255)


@pytest.fixture
def export(site):
    def run(form, *words, cards=CARDS):
        return site.robench("export", str(cards), "--to", form, *words)

    return run


def hostile_card(folder, **changes):
    """Write a card of the repository with other names; what a stranger might send."""
    raw = json.loads(next(CARDS.glob("digits-tiny-clip-none-pgd-Linf-4*")).read_text())
    for role, name in changes.items():
        raw["cell"][role]["name"] = name
    identify(raw)
    folder.mkdir(exist_ok=True)
    (folder / "card.json").write_text(json.dumps(raw))
    return folder


def test_csv_is_read_by_pandas_with_the_numbers_of_the_leaderboard(export, tmp_path):
    done = export("csv", "-o", str(tmp_path / "new" / "x.csv"))
    assert (done.code, done.out) == (0, f"40 cards: {tmp_path / 'new' / 'x.csv'}\n")
    table = pandas.read_csv(tmp_path / "new" / "x.csv")
    assert len(table) == len(rows())
    for (board, row), (_, line) in zip(rows(), table.iterrows(), strict=True):
        assert (line["defense"], line["eps"], line["rank"]) == (row["defense"]["label"], board["eps"], row["rank"])
        assert (line["robust"], line["robust_low"]) == (row["robust"]["rate"], row["robust"]["low"])
        assert (line["gain"] == row["gain"]["points"]) if row["gain"] else pandas.isna(line["gain"])
        assert line["fit_seconds"] == row["cost"]["fit_seconds"]


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", '"quoted", and comma', "two\nlines"])
def test_a_spreadsheet_runs_nothing(export, tmp_path, name):
    done = export("csv", cards=hostile_card(tmp_path / "cards", defense=name))
    (line,) = csv.DictReader(io.StringIO(done.out))
    shown = " ".join(name.split())
    assert line["defense"] == (f"'{shown}" if shown[0] in "=+-@" else shown)


def test_json_lines_are_the_rows_with_their_board(export):
    lines = [json.loads(line) for line in export("jsonl").out.splitlines()]
    boards = [line.pop("board") for line in lines]
    assert lines == [row for _, row in rows()]
    assert [board["eps"] for board in boards] == [board["eps"] for board, _ in rows()]


def test_latex_has_a_booktabs_table_a_ranking(export):
    text = export("latex").out
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 6
    row = tecoa_at_4()
    robust, gain = row["robust"], row["gain"]
    low, high = (f"{100 * robust[end]:.1f}" for end in ("low", "high"))
    gained = f"${gain['points']:+.1f}$ $[{gain['low']:+.1f}, {gain['high']:+.1f}]$"
    shown = f"${100 * robust['rate']:.1f}$ $[{low}, {high}]$ & {gained} & ${100 * row['clean']['rate']:.1f}$"
    assert f"{row['rank']} & tecoa & tiny-clip & {shown}" in text
    assert r"$\epsilon = 4/255$" in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in lines} == {6}
    assert f"[{low}" not in export("latex[intervals=no]").out


@pytest.mark.parametrize(
    "name", [r"\input{/etc/passwd}", r"\write18{id}", "a%b", "$x$ & y \\\\", "{", "#1 ~ ^ _", "\x00b"]
)
def test_latex_prints_names_and_obeys_none(export, tmp_path, name):
    text = export("latex", cards=hostile_card(tmp_path / "cards", defense=name)).out
    (line,) = [line for line in text.splitlines() if "tiny-clip" in line]
    shown = line.split(" & ", 1)[1].rsplit(" & tiny-clip", 1)[0]
    # Every special character is escaped: what is left after taking the escapes away has none.
    rest = re.sub(r"\\(textbackslash|textasciicircum|textasciitilde|textless|textgreater)\{\}|\\[{}$&#%_]", "", shown)
    assert not set(rest) & set("\\{}$&#%_^~")


def test_the_model_index_is_read_by_hugging_faces_own_loader(export, tmp_path):
    target = tmp_path / "README.md"
    form = "hf-model-index[defense=tecoa,model=me/tecoa,dataset=me/digits,url=https://example.org/cards]"
    assert export(form, "-o", str(target)).code == 0
    target.write_text(target.read_text() + "\n# tecoa\n")
    data = ModelCard.load(target).data
    assert data.model_name == "me/tecoa"
    found = {
        (result.dataset_args["n"], result.metric_type, str(result.metric_args.get("eps"))): result
        for result in data.eval_results
    }
    robust = found[500, "robust_accuracy", str(4 / 255)]
    expected = tecoa_at_4()
    assert robust.metric_value == expected["robust"]["rate"] > 0.5
    assert robust.metric_args["low"] == expected["robust"]["low"]
    assert (robust.task_type, robust.dataset_type, robust.dataset_split) == (
        "image-classification",
        "me/digits",
        "test",
    )
    assert (robust.source_name, robust.source_url, robust.verified) == ("robench", "https://example.org/cards", None)
    assert {result.metric_value for result in data.eval_results if result.metric_type == "accuracy"} == {
        expected["clean"]["rate"]
    }
    assert len(data.eval_results) == 4


def test_the_model_index_goes_through_the_loader_and_back(export):
    text = export("hf-model-index[defense=vpt]").out
    block = yaml.safe_load(text.strip().strip("-"))
    name, results = model_index_to_eval_results(block["model-index"])
    assert name == "vpt on tiny-clip"
    assert len(results) == 4


@pytest.mark.parametrize(
    "name", ["a: b\n- !!python/object/apply:os.system [id]", "---", "*anchor", "\x85x", "null", "{{x}}"]
)
def test_yaml_of_hostile_names_is_text(export, tmp_path, name):
    text = export("hf-model-index", cards=hostile_card(tmp_path / "cards", defense=name, dataset=name)).out
    block = yaml.safe_load(text.strip().removeprefix("---").removesuffix("---"))
    (model,) = block["model-index"]
    assert model["name"] == f"{' '.join(name.split())} on tiny-clip"
    assert [metric["type"] for metric in model["results"][0]["metrics"]] == ["accuracy", "robust_accuracy"]


def test_several_models_in_one_model_card_are_refused(export):
    done = export("hf-model-index")
    assert done.code == 2
    assert "The cards are of 5 models (lora-ce on tiny-clip, " in done.said
    assert "Name one with --to 'hf-model-index[defense=NAME]', or give its cards only." in done.said


def test_numbers_that_are_not_ranked_are_in_no_model_card(export, tmp_path):
    folder = tmp_path / "cards"
    folder.mkdir()
    for card in (ROOT / "leaderboard" / "zero-shot" / "cards").glob("*-tecoa-*"):
        if json.loads(card.read_text())["gate"]["verdict"] != "VALID":
            shutil.copy(card, folder)
    done = export("hf-model-index[defense=tecoa]", cards=folder)
    assert done.code == 2
    assert (
        "The cards have no ranked row of the defense 'tecoa', so there is nothing a model card may state" in done.said
    )


def test_an_unknown_form_is_named_with_the_known(export):
    done = export("cvs")
    assert done.code == 2
    assert (
        "There is no exporter 'cvs'; did you mean 'csv'? Known: csv, hf-model-index, jsonl, latex, mlflow, wandb."
        in done.said
    )


def test_a_mistyped_parameter_is_named(export):
    assert "latex has no parameter 'interval'; did you mean 'intervals'?" in export("latex[interval=no]").said


def test_no_cards_is_said(export, tmp_path):
    (tmp_path / "empty").mkdir()
    done = export("csv", cards=tmp_path / "empty")
    assert done.code == 2
    assert f"There are no cards in {tmp_path / 'empty'}; give files or folders of robench run." in done.said


def test_a_target_that_cannot_be_written_is_said(export, tmp_path):
    done = export("csv", "-o", str(tmp_path))
    assert done.code == 2
    assert f"The exporter 'csv' to {tmp_path} failed: IsADirectoryError" in done.said


def test_exporters_are_listed_and_shown_like_any_component(site):
    assert "hf-model-index" in site.robench("list", "exporter").out
    shown = site.robench("show", "hf-model-index")
    assert "hf-model-index exporter, version 1, from robench" in shown.said
    assert "of several models in the cards, the one with this defense" in shown.said


# Another tool, as a plugin


@pytest.fixture
def with_tracker(site):
    site.install("robench-tracker", TRACKER, entry="tracker")
    (site.path / "trackinglib.py").write_text(FAKE_LIBRARY)
    return site


def test_a_tracker_is_a_plugin_like_any_other(with_tracker, tmp_path):
    assert "exporter tracker Log one run a row. robench-tracker 1.0" in with_tracker.robench("list", "exporter").said
    done = with_tracker.robench(
        "export", str(CARDS), "--to", "tracker[experiment=digits]", "-o", str(tmp_path / "runs")
    )
    assert done.code == 0, done.said
    runs = [json.loads(line) for line in (tmp_path / "runs" / "runs.jsonl").read_text().splitlines()]
    assert [(run["run"], run["robust"]) for run in runs] == [(row["title"], row["robust"]["rate"]) for _, row in rows()]
    assert {run["experiment"] for run in runs} == {"digits"}


def test_an_exporter_that_writes_no_file_needs_a_target(with_tracker):
    done = with_tracker.robench("export", str(CARDS), "--to", "tracker")
    assert done.code == 2
    assert "The exporter 'tracker' writes no single file that could be printed; say where with -o." in done.said


def test_an_exporter_that_raises_is_a_sentence(site):
    site.install("robench-odd", TRACKER.replace("import trackinglib", "raise ValueError('no server')"), entry="odd")
    done = site.robench("export", str(CARDS), "--to", "tracker", "-o", str(site.root / "x"))
    assert done.code == 2
    assert "failed: ValueError: no server." in done.said


def test_an_exporter_of_the_wrong_class_is_a_broken_plugin(site):
    source = TRACKER.replace("return [Tracker]", "return [dict]")
    site.install("robench-odd", source, entry="odd")
    assert "robench_exporters must return a list of Exporter classes, not <class 'dict'>." in site.robench("list").said


def test_exports_need_no_torch():
    code = (
        "import sys, runpy; sys.argv = ['robench', 'export', sys.argv[1], '--to', 'csv']\n"
        "from robench.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(CARDS)], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False"


def test_an_edited_exporter_changes_no_fingerprint():
    import robench_exports
    from robench_builtins.attacks.pgd import PGD
    from robench_exports.csv import CSV

    assert PGD.__module__.partition(".")[0] != CSV.__module__.partition(".")[0] == robench_exports.__name__
