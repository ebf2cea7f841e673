"""``robench exam``: attacks are marked by what can fall, an impossible win is said loudly, nothing is done twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from robench import Task
from robench.cli.commands import robench
from robench.contracts.task import Silent
from robench_builtins.certificates.crown import CROWN
from robench_builtins.certificates.interval import Interval
from robench_exam import subjects, table
from robench_exam.candidates import attacks, everything
from robench_exam.comparisons import COMPARISONS, Comparison, Finding, Share, findings
from robench_exam.ground import Subject
from robench_exam.runner import Score, examine, ground_of
from robench_exam.subjects import SUBJECTS, chosen

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exam.md"


def told(folder, *words):
    done = CliRunner().invoke(robench, ["exam", *words, "--store", str(folder)])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Return scores of one step and of the margin's APGD on a linear map, and on the same with its gradients gone."""
    asked = chosen(["linear", "overconfident"])
    found = attacks(["fgsm", "apgd[loss=margin,steps=20]"], asked)
    return examine(found, asked, tmp_path_factory.mktemp("store"), Silent())


def test_an_attack_is_marked_by_what_can_fall(marked):
    by = {(score.attack[:4], score.subject): score for score in marked}
    everywhere = by["apgd", "linear"]
    assert (everywhere.found, everywhere.vulnerable, everywhere.impossible) == (30, 30, ())
    assert by["apgd", "overconfident"].found == 30
    # The cross-entropy's gradient is 0 in float32 where the logits are thousands.
    assert by["fgsm", "overconfident"].found < by["fgsm", "linear"].found < 30
    assert by["fgsm", "linear"].forwards == by["fgsm", "linear"].backwards == 60


def test_a_win_that_is_impossible_is_said_loudly(tmp_path, monkeypatch):
    honest = ground_of(chosen(["linear"])[0])

    def lies(_threat):
        return dataclasses.replace(honest, vulnerable=honest.vulnerable & False)

    liar = dataclasses.replace(chosen(["linear"])[0], name="liar", make=lies)
    assert isinstance(liar, Subject)
    monkeypatch.setattr(subjects, "SUBJECTS", (liar,))
    code, _, said = told(tmp_path, "--attack", "fgsm", "-o", str(tmp_path / "page.md"))
    assert code == 1
    assert "UNSOUND: fgsm on liar: the images" in said
    assert "no point of the ball fools this model there" in said
    assert "UNSOUND: fgsm on liar" in (tmp_path / "page.md").read_text()


def test_a_second_run_computes_nothing_again(tmp_path):
    words = ("--attack", "fgsm", "--only", "linear", "--json")
    first = told(tmp_path, *words)[:2]
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert kept
    assert told(tmp_path, *words)[:2] == first
    assert first[0] == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == kept


def test_an_attack_of_another_norm_is_not_tried_there(tmp_path):
    code, said, _ = told(tmp_path, "--attack", "cw[steps=5,searches=1]", "--only", "linear,linear-l2", "--json")
    scores = json.loads(said)["scores"]
    assert code == 0
    assert [bool(score["untried"]) for score in scores] == [True, False]
    assert scores[0]["untried"] == "cw works in L2, not in Linf; apgd[loss=margin] climbs the same margin there."


def test_what_an_attack_raises_is_a_failure_and_no_robust_image():
    failed = Score("a", "linear", "plain", "Linf", 60, 30, failure="a failed on images 0 to 59.")
    assert table.cell(failed) == "failed"
    assert table.failures([failed]) == ["a on linear: a failed on images 0 to 59."]
    assert table.summaries([failed]) == [("a", "-", "-", "-", "-")]


def scored(attack, subject, group, fell):
    return Score(attack, subject, group, "Linf", 100, 50, found=len(fell), fell=tuple(fell))


def test_limits_are_compared_with_what_is_won_on_plain_and_masked_models():
    scores = [
        scored("pgd", "linear", "plain", range(40)), scored("fgsm", "linear", "plain", range(41)),
        scored("pgd", "stairs", "masked", []), scored("fgsm", "stairs", "masked", range(30)),
    ]  # fmt: skip
    found = findings(scores)[0]
    assert found.comparison == Comparison("one step <= many steps", "pgd", ("fgsm",))
    assert found.shares == {"plain": Share(1, 100), "masked": Share(30, 100)}
    assert found.limits == (0.01, 0.05)
    # Wilson's intervals: 1 of 100 ends at 5.4 %, 30 of 100 begins at 21.9 %.
    assert found.text == "between 5.4% and 21.9%; today's is lower"
    assert findings(scores[:2])[0].text == "-"
    alike = {"plain": Share(30, 100), "masked": Share(30, 100)}
    assert Finding(found.comparison, found.limits, alike).text == "does not tell masked models from plain ones"


def test_the_page_holds_every_model_and_attack_and_no_impossible_win():
    page = PAGE.read_text(encoding="utf-8")
    assert "No attack felled an image that cannot fall, and no bound proved" in page
    assert "UNSOUND" not in page
    assert all(f"| `{subject.name}` |" in page for subject in SUBJECTS)
    # Whatever is added to the catalog: these are what the gate's limits are compared by, and one of each library.
    named = {name for entry in COMPARISONS for name in (entry.judged, *entry.tried)}
    named |= {"torchattacks:PGD", "foolbox:L2DeepFoolAttack", "art:ProjectedGradientDescent"}
    assert all(f"| `{name}` |" in page for name in named)
    assert named <= {*everything()}


def test_bounds_prove_no_more_than_stands(tmp_path):
    code, said, _ = told(tmp_path, "--attack", "fgsm", "--only", "linear,relu-l2,staircase", "--json")
    bounds = {(one["subject"], one["method"]): one for one in json.loads(said)["bounds"]}
    assert code == 0
    # The bounds of a linear map are exact in Linf; a ridge is no chain, so nothing is proved of it.
    assert bounds["linear", "interval"]["proved"] == bounds["linear", "interval"]["robust"] == 30
    assert {subject for subject, _ in bounds} == {"linear", "relu-l2"}
    assert not any(one["impossible"] for one in bounds.values())
    assert 0 < bounds["relu-l2", "crown"]["proved"] <= bounds["relu-l2", "crown"]["robust"]


def test_a_bound_that_proves_too_much_is_said_loudly(tmp_path, monkeypatch):
    honest = ground_of(chosen(["linear"])[0])

    def lies(_threat):
        return dataclasses.replace(honest, vulnerable=honest.vulnerable | True)

    liar = dataclasses.replace(chosen(["linear"])[0], name="liar", make=lies)
    monkeypatch.setattr(subjects, "SUBJECTS", (liar,))
    code, _, said = told(tmp_path, "--attack", "fgsm")
    assert code == 1
    assert "UNSOUND: the bound crown on liar: it proves that the images" in said


CHAINS = [one for one in SUBJECTS if one.name.startswith(("linear", "relu")) and one.threat.norm in ("Linf", "L2")]


@pytest.mark.parametrize("subject", CHAINS, ids=lambda one: one.name)
def test_no_certificate_certifies_an_image_that_can_fall(subject):
    """Held to the exact truth: closed forms of linear maps, programs and enumeration of networks of ReLUs."""
    if "integer" in subject.truth:
        pytest.skip("its truth takes longer than a test may; robench exam holds the bounds to it")
    ground, task = ground_of(subject), Task(classes=tuple(map(str, range(10))), shape=(1, 1, 1))
    for certificate in (CROWN(), CROWN(intermediate="interval"), Interval()):
        stands = certificate.certify(
            ground.model, ground.images, ground.labels, task.replace(threat_model=subject.threat)
        )
        assert not (stands & ground.vulnerable).any()
