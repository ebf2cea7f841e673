"""The runner judges as it says, the table says what was judged, and the command ends as it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from robench import ContractError, Control, Detector, Trap
from robench.cli import main
from robench.contracts.task import Silent
from robench.contracts.trap import USUAL, role_of
from robench.errors import SpecError
from robench.evidence.check_rules import OF_A_KIND, WHERE_CERTIFIED
from robench.plugin.catalog import Catalog, Offer, catalog
from robench.plugin.discovery import Plugin
from robench_traps import attacks, honest, models, registry, runner, suite, table
from robench_traps.base import Plain, Robust, Steps
from robench_traps.detectors.autoattack import AutoAttackFlags
from robench_traps.registry import CONTROLS, TRAPS, chosen
from robench_traps.runner import Answer, Result, attempt, claimed, offered
from robench_traps.runs import read_run, run_of
from robench_traps.suite import run_all
from robench_traps.trap import control, summary_of, trap

from ..fork_server import script

HONEST = {"attack": "pgd[steps=5]", "n": 40}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("traps")


def sham(**more):
    """Return an honest evaluation sold as a trap."""
    return Trap(name="sham", story="Do nothing wrong.", parts=(Plain,), **{"request": HONEST, **more})


def test_there_are_enough_of_both_and_each_is_complete():
    assert len(TRAPS) >= 36
    assert len(CONTROLS) >= 14
    everything = [*TRAPS, *CONTROLS]
    assert len({entry.name for entry in everything}) == len(everything)
    for entry in everything:
        assert entry.story.endswith(".")
        assert entry.story.count(". ") == 0
        assert not set(entry.name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")
    for entry in TRAPS:
        assert entry.expected or entry.refusal


def test_expected_checks_are_checks_of_the_gate(store):
    (card,) = runner.run(known=offered(sham()), store=store, device="cpu", **sham().asked())

    known = {check.name for check in card.gate.checks} | {*OF_A_KIND, *WHERE_CERTIFIED}
    assert not {name for entry in TRAPS for name in entry.expected} - known


def test_traps_are_in_no_catalog():
    everything = catalog()

    for entry in TRAPS:
        for part in entry.parts:
            assert everything.offers.get((role_of(part), part.name)) is None


def test_chosen_by_name_in_the_suites_order():
    assert [entry.name for entry in chosen(("honest-mlp", "clean-images"))] == ["clean-images", "honest-mlp"]
    assert len(chosen(())) == len(TRAPS) + len(CONTROLS)
    with pytest.raises(SpecError, match=r"no trap or honest control 'clean-image'; did you mean 'clean-images'\?"):
        chosen(("clean-image",))


def test_a_trap_is_named_and_told_by_the_part_with_the_mistake():
    made = trap(attacks.OneLevelTooFar, "box and ball", alongside=(Plain,), eps="4/255")

    assert (made.name, made.expected) == ("one-level-too-far", ("box and ball",))
    assert made.story == "Leave the ball by a single grey level, as rounding up after the attack does."
    assert made.asked() == {**USUAL, "attack": "one-level-too-far", "victim": "plain", "eps": "4/255"}
    assert summary_of(Robust) == "Serve the same network after adversarial training with PGD."


@pytest.mark.parametrize(
    ("part", "role"),
    [(honest.Few, "dataset"), (Plain, "victim"), (Steps, "attack"), (models.OneHot, "defense")],
)
def test_roles(part, role):
    assert role_of(part) == role


def test_the_first_part_of_a_role_is_the_one_that_is_run():
    assert control(Robust, alongside=(Plain,)).asked()["victim"] == "robust"


def test_an_honest_evaluation_sold_as_a_trap_escapes(store):
    result = attempt(sham(expected=("box and ball",)), store)

    assert (result.outcome, result.verdict, result.good) == ("escaped", "VALID", False)


def test_a_wrong_evaluation_sold_as_honest_is_accused(store):
    made = Control(name="wolf", story="x.", parts=(attacks.OneLevelTooFar, Plain), request={"n": 40})
    result = attempt(made, store)

    assert (result.outcome, result.verdict, result.good) == ("accused", "INVALID", False)
    assert result.caught_by == ("box and ball",)


def test_a_trap_must_be_caught_by_the_check_that_is_made_for_it(store):
    part = attacks.OneLevelTooFar
    right = attempt(trap(part, "box and ball", "eps = 0", alongside=(Plain,), n=40), store)
    wrong = attempt(trap(part, "split leakage", alongside=(Plain,), n=40), store)

    assert (right.outcome, right.good) == ("caught", True)
    assert (wrong.outcome, wrong.good, wrong.verdict) == ("elsewhere", False, "INVALID")


def test_a_refusal_counts_if_it_says_the_right_thing(store):
    right = attempt(trap(attacks.ReportsSuccess, refusal="not tuple", alongside=(Plain,), n=40), store)
    wrong = attempt(trap(attacks.ReportsSuccess, refusal="out of memory", alongside=(Plain,), n=40), store)

    assert (right.outcome, right.verdict) == ("caught", "REFUSED")
    assert right.refusal == "reports-success must return a tensor, not tuple."
    assert (wrong.outcome, wrong.good) == ("elsewhere", False)


def test_a_part_of_the_cells_that_fails_is_a_refusal_too(store):
    made = trap(models.HalfLogits, refusal="must return float32 logits", alongside=(Plain,), **HONEST)

    assert attempt(made, store).outcome == "caught"


def test_what_cannot_be_run_here_is_skipped(store):
    result = attempt(Control(name="far", story="x.", missing=lambda: "no kit"), store)

    assert (result.outcome, result.verdict, result.refusal, result.good) == ("skipped", "-", "no kit", True)


def test_the_claim_is_the_defenses_and_a_control_answers_for_all(store):
    cards = runner.run(
        known=offered(control(models.DetachedBranch, alongside=(Plain,))),
        store=store,
        device="cpu",
        gate="quick",
        **control(models.DetachedBranch, alongside=(Plain,), **HONEST).asked(),
    )

    assert [card.cell.defense.name for card in claimed(cards, trap=True)] == ["detached-branch"]
    assert len(claimed(cards, trap=False)) == 2
    assert len(claimed(cards[:1], trap=True)) == 1


def test_plugins_of_others_do_not_take_part(monkeypatch):
    other = Plugin("others", "others", "1", None)
    wider = Catalog([*catalog().plugins, other], dict(catalog().offers))
    wider.offers["attack", "pgd-of-others"] = Offer("attack", "pgd-of-others", Steps, other)
    monkeypatch.setattr(runner, "catalog", lambda: wider)
    found = offered(sham())

    assert found.offers.get(("attack", "pgd-of-others")) is None
    assert found.find("attack", "pgd").plugin.name == "builtins"
    assert found.find("victim", "plain").component is Plain
    assert found.find("surrogate", "plain").component is Plain


class Counting(Detector):
    """Warn of nothing, and remember what was shown."""

    name = "counting"
    model_only = True
    shown = []

    def warnings(self, evaluated):
        self.shown.append((evaluated.attack.name, len(evaluated.test), float(torch.rand(()))))
        return ()


class Each(Counting):
    """Look at the attack, too."""

    name = "each"
    model_only = False
    shown = []


class Noted(Silent):
    """Keep the lines."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def test_a_model_is_asked_about_once_and_an_attack_each_time(store):
    pair = [trap(attacks.CleanImages, "images moved", alongside=(Plain,), n=40), sham(expected=("eps = 0",))]
    far = Control(name="far", story="x.", missing=lambda: "no kit")
    noted = Noted()
    results = run_all([*pair, far], store, "quick", [Counting(), Each()], noted)

    assert [(name, count) for name, count, _ in Counting.shown] == [("clean-images", 40)]
    assert [(name, count) for name, count, _ in Each.shown] == [("clean-images", 40), ("pgd", 40)]
    # The global generators are seeded for each: the table repeats.
    assert len({draw for _, _, draw in Counting.shown + Each.shown}) == 1
    assert [list(result.answers) for result in results] == [["counting", "each"], ["counting", "each"], []]
    assert noted.lines[0].startswith("1 of 3: clean-images caught, counting missed, each missed (")
    assert noted.lines[2].startswith("3 of 3: far skipped (")


def test_the_model_that_is_warned_about_is_the_one_behind_the_refusal(store):
    made = trap(models.SoftmaxOutput, alongside=(Plain,), **HONEST)
    (answer,) = suite.answers(made, store, [AutoAttackFlags(images=8)], {}).values()

    assert "softmax output" in answer.warnings
    assert answer.outcome(trap=True) == "caught"


def test_no_images_no_warning(store):
    from robench_traps.data import LabelsFromOne

    made = trap(LabelsFromOne, alongside=(Plain,), **HONEST)

    assert suite.answers(made, store, [Counting()], {}) == {"counting": Answer(())}


def test_what_a_detector_raises_is_a_warning_and_is_kept():
    class Raising(Detector):
        """Fail."""

        name = "raising"

        def warnings(self, evaluated):
            raise KeyError("gone")

    answer = suite.ask(Raising(), None)

    assert (answer.warnings, answer.reason) == (("raises",), "KeyError: 'gone'")


@pytest.mark.parametrize("said", ["square", None, [1], [""]])
def test_a_detector_returns_words(said):
    with pytest.raises(ContractError, match=r"counting.warnings must return the names of its warnings, a tuple of tex"):
        suite.checked(Counting(), said)


def test_an_answer_has_the_outcomes_of_the_gate():
    said, nothing = Answer(("square",)), Answer(())

    assert [said.outcome(True), nothing.outcome(True)] == ["caught", "missed"]
    assert [said.outcome(False), nothing.outcome(False)] == ["accused", "cleared"]


def test_detectors_are_asked_for_by_name_with_parameters():
    from robench_traps.registry import asked

    notes = []
    assert [detector.name for detector in asked((), notes.append)] == ["art-gradients", "autoattack-flags", "ioaf"]
    assert asked(("none",), notes.append) == []
    (ioaf,) = asked(("ioaf[images=3]",), notes.append)
    assert ioaf.images == 3
    with pytest.raises(SpecError, match=r"There is no detector 'ioef'; did you mean 'ioaf'\?"):
        asked(("ioef",), notes.append)
    with pytest.raises(SpecError, match=r"--detectors names ioaf twice; name it once\."):
        asked(("ioaf", "ioaf[images=3]"), notes.append)
    assert notes == []


def test_a_detector_whose_library_is_absent_is_left_out_in_a_sentence(monkeypatch):
    from robench_traps.registry import asked

    monkeypatch.setattr("robench_traps.detectors.art.find_spec", lambda name: None)
    notes = []
    assert [detector.name for detector in asked((), notes.append)] == ["autoattack-flags", "ioaf"]
    assert notes == [
        "Left out: art-gradients cannot be asked without the package adversarial-robustness-toolbox; install it with "
        "'pip install robench[attacks]'."
    ]
    with pytest.raises(SpecError, match="art-gradients cannot be asked without the package"):
        asked(("art-gradients",), notes.append)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("clean-images", "'clean-images', which is neither a robench.Trap nor a robench.Control"),
        (Control(name="Two Words", story="x."), "'Two Words', which nobody can type after --only"),
        (Control(name="fair", story="Be fair"), "'fair', whose story is not a sentence"),
        (Trap(name="sly", story="x."), "the trap 'sly', which says neither which checks must catch it"),
        (Trap(name="sly", story="x.", expected=("esp = 0",)), "expects the check 'esp = 0'; did you mean 'eps = 0'?"),
        (Trap(name="sly", story="x.", expected=("eps = 0",)), ""),
        (Trap(name="sly", story="x.", refusal="NaN"), ""),
        (Control(name="fair", story="Be fair."), ""),
    ],
)
def test_an_evaluation_of_a_plugin_is_held_to_what_can_be_run(entry, words):
    from robench_traps.registry import fault

    found = fault(entry)

    assert words in found
    assert bool(words) == bool(found)


def said(*warnings):
    return {"flags": Answer(warnings, "", 0.5)}


def results():
    wrong = Trap(name="wrong", story="Do <b>x</b> | y.", case="Some One 2020", expected=("eps = 0",))
    fair = Control(name="fair", story="Be *honest*.")
    return [
        Result(wrong, "caught", "INVALID", ("eps = 0", "box and ball"), "", said("square"), 1.234),
        Result(wrong, "escaped", "VALID", (), "", said()),
        Result(wrong, "caught", "REFUSED", (), "it says | no " + 90 * "x", said("dynamic", "randomised")),
        Result(fair, "cleared", "VALID", (), "", said()),
        Result(fair, "accused", "SUSPECT", ("more steps",), "", said("zero gradient")),
        Result(fair, "skipped", "-", refusal="no kit"),
    ]


def test_a_row_says_what_caught_it():
    rows = [table.cells(result, ["flags"]) for result in results()]

    assert rows[0] == ("wrong", "caught", "INVALID", "eps = 0, box and ball", "square")
    assert rows[1] == ("wrong", "escaped", "VALID", "-", "nothing")
    assert rows[2][3].startswith('"it says | no xxx')
    assert len(rows[2][3]) <= table.SENTENCE + 2
    assert rows[5] == ("fair", "skipped", "-", '"no kit"', "-")


def test_the_summary_counts_what_was_run():
    assert table.summary(results()) == (
        "robench: 2 of 3 traps caught, 1 of 2 honest controls accused.\n"
        "flags: 2 of 3 traps caught, 1 of 2 honest controls accused."
    )
    assert table.summary([Result(results()[0].evaluation, "caught", "INVALID")]) == (
        "robench: 1 of 1 traps caught, 0 of 0 honest controls accused."
    )


def test_markdown_is_escaped_and_holds_its_command():
    page = table.markdown(results(), "robench traps -o traps.md")

    assert "    robench traps -o traps.md\n" in page
    assert '| wrong | caught | REFUSED | "it says \\| no xxx' in page
    assert "- `wrong`: Do &lt;b&gt;x&lt;/b&gt; \\| y. (Some One 2020)" in page
    assert "Be \\*honest\\*" in page or "Be *honest*" not in page
    assert all(line.count(" | ") == 4 for line in page.splitlines() if line.startswith("| "))


def test_other_runs_stand_beside_the_table(tmp_path):
    run = run_of(results(), 3)
    (tmp_path / "a.json").write_text(json.dumps(table.as_json(results(), run)))
    page = table.markdown(results(), "robench traps", [run])

    assert read_run(tmp_path / "a.json") == run
    assert run.counts == (2, 3, 1, 2)
    assert run.failed == ("wrong", "fair")
    assert f"- weights 3, {run.kernels} kernels: 2 of 3 traps caught, 1 of 2 honest controls accused. Not as " in page
    with pytest.raises(SpecError, match=r"--beside .*b\.json cannot be read \(No such file or directory\)\."):
        read_run(tmp_path / "b.json")
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(SpecError, match=r"c\.json holds no run of the traps; write one with"):
        read_run(tmp_path / "c.json")


def test_another_set_of_weights_is_another_network():
    from robench_traps import base

    found = []
    for number in (0, 1, 0):
        base.use_weights(number)
        found.append(next(base.seeded(base.mlp).parameters()))

    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_json_holds_every_field():
    records = table.as_json(results(), run_of(results(), 3))["results"]

    assert records[0] == {
        "name": "wrong",
        "kind": "trap",
        "story": "Do <b>x</b> | y.",
        "case": "Some One 2020",
        "outcome": "caught",
        "verdict": "INVALID",
        "caught_by": ["eps = 0", "box and ball"],
        "refusal": "",
        "detectors": {"flags": {"outcome": "caught", "warnings": ["square"], "reason": "", "seconds": 0.5}},
        "seconds": 1.23,
    }
    assert (records[5]["kind"], records[5]["detectors"]) == ("twin", {})


ONLY = "clean-images,one-level-too-far,log-softmax"


def command(*words, folder, code=None, path=None):
    """Run ``robench traps``, or ``code`` in its place, with ``path`` first on the module path."""
    start = [script()] if code is None else [sys.executable, "-c", code]
    paths = os.pathsep.join(filter(None, [path and str(path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*start, "traps", *words], capture_output=True, text=True, cwd=folder, timeout=3600,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def test_the_command_prints_a_table_and_writes_a_page(tmp_path):
    done = command("--only", ONLY, "--detectors", "none", "--gate", "quick", "-o", "docs/traps.md", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "robench: 2 of 2 traps caught, 0 of 1 honest controls accused." in done.stdout
    page = (tmp_path / "docs" / "traps.md").read_text()
    assert "    robench traps --only clean-images,one-level-too-far,log-softmax --gate quick --detectors none" in page
    assert "| one-level-too-far | caught | INVALID | box and ball" in page
    assert "| log-softmax | cleared | VALID | - |\n" in page


def test_the_command_prints_json(tmp_path):
    tools = "autoattack-flags[images=4],ioaf[images=2]"
    done = command("--only", "clean-images", "--json", "--gate", "quick", "--detectors", tools, folder=tmp_path)

    (record,) = json.loads(done.stdout)["results"]
    assert done.returncode == 0
    assert record["outcome"] == "caught"
    assert record["detectors"]["autoattack-flags"]["outcome"] == "missed"
    # The attack climbs, and its result is dropped.
    assert "silent success" in record["detectors"]["ioaf"]["warnings"]
    assert "1 of 1: clean-images caught" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_is_a_sentence(tmp_path):
    done = command("--only", "clean-image", folder=tmp_path)

    assert done.returncode == 2
    assert "robench: There is no trap or honest control 'clean-image'; did you mean 'clean-images'?" in done.stderr


def test_an_escape_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "TRAPS", (sham(expected=("eps = 0",)),))
    monkeypatch.setattr(sys, "argv", ["robench", "traps", "--only", "sham", "--detectors", "none"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main()

    assert end.value.code == 1
    assert "robench: 0 of 1 traps caught, 0 of 0 honest controls accused." in capsys.readouterr().out


def test_help_imports_no_torch(tmp_path):
    code = (
        "import sys\nfrom robench.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('torch' in sys.modules, 'robench_traps' in sys.modules)\n"
    )
    done = command("--help", folder=tmp_path, code=code)

    assert "Try the gate, and other detectors, on evaluations known to be wrong" in done.stdout
    assert done.stdout.endswith("False False\n")
