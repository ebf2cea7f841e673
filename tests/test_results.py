"""What ``robench.run`` returns: a list of cards with a short repr, tables, a chart and pages."""

from __future__ import annotations

import sys

import msgspec
import pytest

import robench
from robench.api.results import Results
from robench.runtime.progress_bars import Terminal, usual

REQUEST = {"attack": ["fgsm", "pgd"], "eps": ["2/255", "8/255"], "n": 20, "gate": "quick", "device": "cpu"}


@pytest.fixture(scope="module")
def results(once):
    store = once("results", lambda root: robench.run(**REQUEST, store=root, gallery=True))
    return robench.run(**REQUEST, store=store)


def test_it_is_a_list_of_cards(results):
    assert isinstance(results, list)
    assert [type(card) for card in results] == [robench.Card] * 4
    assert results == list(results)


def test_its_repr_is_a_line_a_card(results):
    head, *lines = repr(results).splitlines()
    assert head == "Results: 4 cards"
    clean, robust = 100 * results[0].clean.rate, 100 * results[0].robust.rate
    assert lines[0] == (
        f"  none on tiny-clip, digits, fgsm at Linf 2/255, n = 20: clean {clean:.1f} %, "
        f"under attack {robust:.1f} %, {results[0].gate.verdict}"
    )
    assert len(lines) == 4
    assert repr(Results()) == "Results: 0 cards"
    assert repr(Results(results * 6)).endswith("\n  and 4 more")


def test_a_table_that_a_notebook_shows_escapes_what_it_quotes(results):
    html = results._repr_html_()
    assert html.count("<tr>") == 5
    assert f"<td>{results[0].gate.verdict}</td>" in html
    cell = results[0].cell
    named = msgspec.structs.replace(cell, victim=msgspec.structs.replace(cell.victim, name="<script>"))
    odd = Results([msgspec.structs.replace(results[0], cell=named)])._repr_html_()
    assert "<script>" not in odd
    assert "&lt;script&gt;" in odd


def test_records_hold_what_the_cards_say(results):
    (record, *_) = results.to_records()
    card = results[0]
    assert record["robust"] == card.robust.correct / card.robust.n
    assert (record["robust_low"], record["robust_high"]) == (card.robust.low, card.robust.high)
    assert record["robust_top5"] == card.robust.top5 / card.robust.n
    assert (record["radius"], record["surrogate"], record["access"]) == ("2/255", None, "white-box")
    assert record["file"] == card.file_name


def test_a_data_frame_has_a_row_a_card(results):
    pytest.importorskip("pandas")
    frame = results.to_dataframe()
    assert list(frame["attack"]) == [card.cell.attack.name for card in results]
    assert list(frame["robust"]) == [card.robust.rate for card in results]


def test_a_chart_has_a_line_for_each_attack(results):
    pytest.importorskip("matplotlib").use("Agg")
    axes = results.plot()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["none, fgsm", "none, pgd"]
    line = axes.containers[0].lines[0]
    fgsm = [card for card in results if card.cell.attack.name == "fgsm"]
    assert list(line.get_xdata()) == [0, 2 / 255, 8 / 255]
    assert list(line.get_ydata()) == [100 * rate for rate in (fgsm[0].clean.rate, *(card.robust.rate for card in fgsm))]


@pytest.mark.parametrize(("method", "module"), [("to_dataframe", "pandas"), ("plot", "matplotlib")])
def test_without_an_optional_library_a_sentence_says_which(results, monkeypatch, method, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(robench.RobenchError, match=f"needs {module}, which is not installed; run: pip install "):
        getattr(results, method)()


def test_it_ranks_reports_and_saves_itself(results, tmp_path):
    assert len(results.leaderboard().boards) == 2
    page = results.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "data:image/png" in page
    folder = results.save(tmp_path / "out")
    assert {path.name for path in (folder / "cards").iterdir()} == {card.file_name for card in results}
    assert (folder / "LEADERBOARD.md").is_file()


def test_a_suite_by_name_and_by_path_is_changed_by_arguments(results, tmp_path):
    words = {"defense": "none", "surrogate": (), "eps": "8/255", "n": 20, "parameters": {"attack.steps": 2}}
    found = robench.run("suite:digits", **words, store=results.store, gate="quick", device="cpu")
    assert [card.cell.attack.label for card in found] == ["fgsm", "pgd[steps=2]"]
    given = found[-1].cell.given["suite"]
    assert given["name"] == "suite:digits"
    assert given["changed"]["defense"] == ["none"]
    assert given["changed"]["parameters"] == {"attack.steps": 2}
    (tmp_path / "mine.toml").write_text('attack = "fgsm"\neps = "8/255"\n')
    (again,) = robench.run(tmp_path / "mine.toml", n=20, store=results.store, gate="quick", device="cpu")
    assert again.id == found[0].id


@pytest.mark.parametrize(
    ("asked", "words", "sentence"),
    [
        ("suite:digit", {}, "No suite 'digit' comes along; did you mean 'digits'"),
        ("tecoa", {}, "robench.run takes a Spec or a suite first, not 'tecoa'"),
        ("suite:digits", {"atack": "pgd"}, "robench.run has no argument 'atack'; did you mean 'attack'"),
        ("suite:digits", {"suite": "x"}, "robench.run has no argument 'suite'"),
        ("suite:digits", {"parameters": {"pgd.stepz": 5}}, "pgd has no parameter 'stepz'; did you mean 'steps'"),
        ("gone.toml", {}, "suite gone.toml cannot be read (No such file or directory)"),
    ],
)
def test_a_suite_that_cannot_be_run_says_why_in_pythons_words(asked, words, sentence):
    with pytest.raises(robench.SpecError) as raised:
        robench.run(asked, n=20, **words)
    assert str(raised.value).startswith(sentence)


def test_progress_is_shown_where_somebody_looks(monkeypatch):
    with usual(None) as shown:
        assert type(shown).__name__ == "Silent"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with usual(None) as shown:
        assert isinstance(shown, Terminal)
    with usual(False) as shown:
        assert type(shown).__name__ == "Silent"
