"""``--json``: one object of the documented shape, nothing else on the standard output, and the numbers of the cards."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from robench.cli.commands import robench as robench_command
from robench.evidence.card_file import read
from robench_exam.lower_ends import Bracket
from robench_exam.runner import Score
from robench_exam.table import as_json as exam_values
from robench_traps.runs import Run
from robench_traps.table import as_json as trap_values

from ..bad_inputs import REAL, ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
#: A card of a row of which report 003 states two figures.
STATED = "digits-linear-none-fgsm-Linf-4_255-seed0-n500-9791b2b1.json"
#: Objects whose keys are those of what they describe.
FREE = {
    *(
        "recipe",
        "history",
        "reached",
        "clean",
        "robust",
        "clean_top5",
        "robust_top5",
        "published",
        "offers",
        "certificates",
        "fixes",
        "tuning",
        "reference",
    ),
    *("suites[].runs[]", "images", "classes[].images"),
    *("figures[].figures", "dataset", "train_dataset", "victim", "defense", "attack", "surrogate"),
}


def documented(name):
    section = PAGE.split(f"<!-- fields: {name} -->")[1].split("<!-- fields:")[0].split("\n#")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return {field for row in rows for field in re.findall(r"`(.+?)`", row)}


def fields(value, place=""):
    free = place in FREE or place.rpartition(".")[2] in FREE
    if isinstance(value, dict) and (not value or not free):
        return {field for key, each in value.items() for field in fields(each, f"{place}.{key}".lstrip("."))}
    if isinstance(value, list) and not free:
        return {field for each in value for field in fields(each, f"{place}[]")} or {f"{place}[]"}
    return {place}


def of_cards(names):
    return {f"cards[].{name}" for name in names}


def shape(name, record=False):
    return documented(name) | (of_cards(documented("record")) if record else set())


def top(found):
    """Return fields, empty lists as the lists of what they would hold."""
    return {field.removesuffix("[]") for field in found} | found


def check(values, expected):
    found = fields(values)
    empty = {field for field in found if field.endswith("[]")}
    missing = {field for field in expected - found if not any(field.startswith(each) for each in empty)}
    assert (found - expected - {each for each in empty if any(f.startswith(each) for f in expected)}, missing) == (
        set(),
        set(),
    )


@pytest.fixture
def parsed(robench):
    def run(*words, code=0):
        done = robench(*words, "--json")
        assert done.code == code, done.said
        values = json.loads(done.out)
        assert values["format"] == 1
        return values

    return run


def test_a_run(parsed, real_run, tmp_path):
    values = parsed(*real_run.words[:-1], tmp_path / "out")
    check(values, shape("run", record=True))
    assert [card["path"] for card in values["cards"]] == [
        str(tmp_path / "out" / "cards" / card["file"]) for card in values["cards"]
    ]
    for card in values["cards"]:
        stated = read(tmp_path / "out" / "cards" / card["file"])
        assert (card["id"], card["robust"], card["n"]) == (stated.id, stated.robust.rate, 60)
    assert {card["file"] for card in values["cards"]} == {card.name for card in real_run.cards}


def test_what_a_run_would_do(parsed):
    values = parsed("run", "--dry-run", "--n", "20", "--attack", "fgsm")
    check(values, shape("dry-run"))
    assert (values["forwards"], values["backwards"], values["complete"]) == (60, 20, True)
    assert [cell["stored"] for cell in values["cells"]] == [False]


def test_a_curve(parsed, tmp_path):
    words = ("curve", "--victim", "linear", "--attack", "fgsm", "--gate", "quick", "--n", "20", "--eps", "2/255,8/255")
    out = tmp_path / "out"
    values = parsed(*words, "--certificate", "interval", "--store", tmp_path / "store", "-o", out)
    check(values, shape("curve"))
    files, failures = values.pop("files"), values.pop("failures")
    assert (str(out / "curve.json") in files, failures) == (True, [])
    assert json.loads((out / "curve.json").read_text()) == values


def test_cells_that_fail_and_what_plugins_print(parsed, tmp_path):
    (tmp_path / "net.py").write_text("def build():\n    print('loud')\n    raise ValueError('no weights')\n")
    values = parsed("run", "--n", "20", "--attack", "fgsm", "--victim", "tiny-clip,net.py:build", code=1)
    assert len(values["cards"]) == 1
    assert "no weights" in values["failures"][0]["reason"]


def test_explanations_of_a_folder(parsed, real_run, tmp_path):
    values = parsed("explain", real_run.out)
    check(values, shape("explain", record=True))
    assert len(values["cards"]) == len(real_run.cards)
    card = read(real_run.card("tecoa-pgd"))
    (said,) = (each for each in values["cards"] if each["id"] == card.id)
    assert {check["name"] for check in said["checks"]} == {check.name for check in card.gate.checks}
    assert said["verdict"] == card.gate.verdict


def test_what_others_state_of_exactly_this_row(robench):
    of_row = ROOT / "leaderboard" / "digits-models" / "cards" / STATED
    (card,) = json.loads(robench("explain", of_row, "--json").out)["cards"]
    stated = {(each["figure"], each["percent"], each["measured"], each["source"]) for each in card["published"]}
    assert stated == {
        ("clean", 96.94444444444444, 0.966, "report 003, part I"),
        ("train", 99.79123173277662, 0.980857, "report 003, part I"),
    }
    said = robench("explain", of_row, COLUMNS="200").out
    assert "Published beside measured" in said
    # No figure is of the real run's row: nothing is said.
    done = robench("explain", REAL)
    assert "ublished" not in done.out
    assert json.loads(robench("explain", REAL, "--json").out)["cards"][0]["published"] == []


def test_several_explanations_in_words(robench, real_run):
    done = robench("explain", real_run.card("tecoa-pgd"), real_run.card("tecoa-fgsm"))
    assert done.code == 0
    assert done.out.count("verdict: ") == 2


def test_what_is_no_card_in_a_folder_is_left_out_with_a_warning(robench, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "notes.json").write_text("{}")
    (folder / REAL.name).write_bytes(REAL.read_bytes())
    done = robench("explain", folder, "--json")
    assert [card["file"] for card in json.loads(done.out)["cards"]] == [REAL.name]
    assert f"{folder / 'notes.json'} does not follow card schema 3" in done.err
    assert done.err.startswith("warning: left out: ")


def test_verified_cards(parsed, real_run):
    values = parsed("verify", real_run.out, "--store", real_run.store)
    check(values, shape("verify"))
    assert {card["outcome"] for card in values["cards"]} == {"identical"}
    assert len(values["cards"]) == len(real_run.cards)


def test_a_card_that_nothing_can_be_compared_with(parsed):
    (card,) = parsed("verify", REAL, code=3)["cards"]
    assert (card["outcome"], card["error"]) == (None, None)


def test_components(parsed):
    values = parsed("list")
    check(values, shape("list"))
    (pgd,) = (each for each in values["components"] if each["name"] == "pgd")
    assert pgd["role"] == "attack"
    assert "steps" in {parameter["name"] for parameter in pgd["parameters"]}
    assert {each["role"] for each in parsed("list", "attack")["components"]} == {"attack"}


def test_compared_cards_and_folders(parsed, real_run):
    none, fgsm, pgd = (real_run.card(name) for name in ("none-pgd", "tecoa-fgsm", "tecoa-pgd"))
    values = parsed("compare", none, fgsm, pgd)
    check(values, shape("compare"))
    assert [pair["paths"] for pair in values["pairs"]] == [[str(none), str(fgsm)], [str(none), str(pgd)]]
    cards = [read(path) for path in (none, pgd)]
    both = values["pairs"][1]["robust"]
    assert [both[side]["correct"] for side in ("first", "second")] == [card.robust.correct for card in cards]
    before, after = (card.robust.mask() for card in cards)
    places = zip(before, after, strict=True)
    assert both["won"] == [place for place, (was, now) in enumerate(places) if now and not was]
    # A folder beside a card stands for its cards; three folders are two comparisons.
    assert len(parsed("compare", none, real_run.out)["pairs"]) == len(real_run.cards) - 1
    rows = parsed("compare", real_run.out, real_run.out)["pairs"]
    assert len(parsed("compare", real_run.out, real_run.out / "cards", real_run.out / "cards")["pairs"]) == len(rows)
    assert len(parsed("compare", real_run.out, real_run.out, real_run.out / "cards")["pairs"]) == 2 * len(rows)


def test_published_figures(parsed):
    values = parsed("published")
    # Of what no entry of the ledger is trained on, none says so.
    check(values, shape("published") - {"figures[].train_dataset"})
    assert {entry["ledger"] for entry in values["figures"]} >= {"report-001", "report-003-digits"}
    (found,) = parsed("published", "--contradictions", "--source", "report-003-digits")["contradictions"]
    assert found["numbers"][0].keys() >= {"percent", "figures", "source"}


def test_plugins(parsed):
    values = parsed("plugins")
    check(values, shape("plugins"))
    assert "pgd" in next(each for each in values["plugins"] if each["name"] == "builtins")["offers"]["attack"]


def test_what_the_doctor_found(parsed):
    values = parsed("doctor", "--offline")
    check(values, shape("doctor"))
    assert {each["status"] for each in values["checks"]} <= {"ok", "warn"}


def test_suites_with_what_they_need_and_ask_for(parsed, robench):
    values = parsed("suites")
    check(values, shape("suites") - {"suites[].text"})
    assert {each["name"] for each in values["suites"]} == set(re.findall(r"^suite:\S+$", robench("suites").out, re.M))
    (digits,) = parsed("suites", "suite:digits")["suites"]
    assert digits["name"] == "suite:digits"
    assert digits["text"] == robench("suites", "digits").out
    assert digits["runs"][0]["defense"] == ["none", "lora-ce", "tecoa", "vpt"]
    assert digits["needs"] == []


def test_protocols(parsed, robench):
    values = parsed("protocol", "list")
    check(values, shape("protocol list"))
    assert "tecoa-16" in {each["name"] for each in values["protocols"]}
    values = parsed("protocol", "show", "tecoa-16")
    check(values, shape("protocol show"))
    assert {"eps", "attack", "prompts"} <= values["datasets"][0]["fixes"].keys()
    values = parsed("protocol", "diff", "tecoa-16", "ttc")
    check(values, shape("protocol diff"))
    assert "prompts" in {each["what"] for each in values["differences"]}
    assert parsed("protocol", "diff", "ttc", "ttc")["differences"] == []
    done = robench("protocol", "show", "ttc", "--file", "--json")
    assert (done.code, done.out) == (2, "")
    assert "--file prints the suite file, which is TOML; leave --file or --json out." in done.err


def test_a_dataset_by_class(parsed, tmp_path):
    values = parsed("data", "digits", "-o", tmp_path / "pictures")
    check(values, shape("data"))
    assert values["images"]["test"] == sum(each["images"]["test"] for each in values["classes"])
    assert [each["label"] for each in values["classes"]] == [*range(10)]
    assert all((tmp_path / "pictures") in Path(name).parents and Path(name).is_file() for name in values["files"])
    assert parsed("data", "digits")["files"] == []


def test_a_component_and_its_layers(parsed):
    # A defense has neither prompts nor stated accuracies.
    check(parsed("show", "tiny-clip"), shape("show"))
    values = parsed("show", "tecoa")
    (tecoa,) = values["components"]
    assert (tecoa["roles"], tecoa["source"][:3]) == (["defense"], "Mao")
    listed = next(each for each in parsed("list")["components"] if each["name"] == "tecoa")
    assert tecoa["parameters"] == listed["parameters"]
    values = parsed("show", "linear", "--layers")
    check(values, shape("layers"))
    assert values["parameters"] == sum(layer["parameters"] for layer in values["layers"] if layer["kind"] == "Linear")
    assert values["layers"][-1]["output"] == [1, 10]


def test_a_store(parsed, real_run, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(real_run.store, store)
    values = parsed("store", "info", "--store", store, "--cards", real_run.out)
    check(values, shape("store info"))
    assert values["objects"] == sum(kind["objects"] for kind in values["kinds"])
    assert values["bytes"] == sum(kind["bytes"] for kind in values["kinds"])
    probes = next(kind for kind in values["kinds"] if kind["kind"] == "probes")
    assert 0 < probes["of_cards"] <= probes["objects"]

    check(parsed("store", "check", "--store", store), shape("store check"))
    victim = next(path for path in store.rglob("*.safetensors") if path.stat().st_size)
    victim.write_bytes(b"x" + victim.read_bytes()[1:])
    values = parsed("store", "check", "--store", store, code=1)
    assert [Path(each["path"]) for each in values["damaged"]] == [victim.parent]

    wanted = ("store", "prune", "--kind", "probes", "--store", store)
    planned = parsed(*wanted, "--dry-run")
    check(planned, shape("store prune"))
    done = parsed(*wanted)
    assert (planned.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert done == planned
    assert done["gone"] == [{"kind": "probes", "objects": probes["objects"], "bytes": probes["bytes"]}]
    assert "probes" not in {kind["kind"] for kind in parsed("store", "info", "--store", store)["kinds"]}


def test_marks_of_attacks_and_of_the_gate():
    score = Score("fgsm", "linear", "plain", "Linf", images=4, vulnerable=2, found=1, fell=(3,), impossible=(3,))
    bound = Bracket("crown", "linear", images=4, robust=2, proved=2, impossible=(1,))
    check(json.loads(json.dumps({"format": 1, **exam_values([score], [bound])})), shape("exam"))
    check({"format": 1, **trap_values([], Run(0, "AVX2", (0, 0, 0, 0)))}, shape("traps"))


def test_every_command_with_json_has_its_fields_on_the_page():
    commands = dict(robench_command.commands)
    for name, group in robench_command.commands.items():
        commands |= {f"{name} {inner}": command for inner, command in getattr(group, "commands", {}).items()}
    named = {name for name, command in commands.items() if "as_json" in {p.name for p in command.params}}
    assert named == set(re.findall(r"<!-- fields: (.+?) -->", PAGE)) - {"dry-run", "record", "layers"}
    section = PAGE.split("## JSON")[1].split("prints")[0]
    assert set(re.findall(r"`(\w[\w ]*)`", section)) - {"of"} == named
