"""No command replaces what another one wrote of other cards, nor a file that robench did not write."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from robench.cli import main
from robench.evidence.card import Card
from robench.evidence.card_file import write

MakeCard = Callable[..., Card]
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Return a function that runs ``robench`` here, and returns the exit code and what was said, in a line."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["robench", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        done = capsys.readouterr()
        return int(stopped.value.code or 0), " ".join((done.out + done.err).split())

    return run


@pytest.fixture
def two(make_card: MakeCard, tmp_path: Path) -> dict[str, list[Card]]:
    """Return two folders of results, each of a card of its own."""
    found = {
        "first": [make_card(), make_card(defense="tecoa")],
        "second": [make_card(victim="vit"), make_card(victim="vit", defense="jpeg")],
    }
    for name, cards in found.items():
        for card in cards:
            write(card, tmp_path / name / "cards")
    return found


def held(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("option", ["--figures", "--tables"])
def test_a_report_replaces_no_figures_or_tables_of_other_cards(
    say: Say, two: dict[str, list[Card]], make_card: MakeCard, tmp_path: Path, option: str
):
    assert say("report", "first", "-o", "a.html", option, "out")[0] == 0
    before = held(tmp_path / "out")
    code, said = say("report", "second", "-o", "b.html", option, "out")
    lost = min(card.id for card in two["first"])[:12]
    assert code == 2
    assert said.endswith(
        f"out has figures or tables of 2 cards not in this report ({lost}, ...), which would be overwritten; name "
        f"another folder with {option}, or empty it."
    )
    assert held(tmp_path / "out") == before
    assert not (tmp_path / "b.html").exists()
    # The same again, and the same with one card more, are its own.
    assert say("report", "first", "-o", "a.html", option, "out")[0] == 0
    assert held(tmp_path / "out") == before
    write(make_card(defense="blur"), tmp_path / "first" / "cards")
    assert say("report", "first", "-o", "a.html", option, "out")[0] == 0
    assert say("report", "first", "second", "-o", "a.html", option, "out")[0] == 0
    code, said = say("report", "first", "-o", "a.html", option, "out")
    assert (code, "out has figures or tables of 2 cards not in this report" in said) == (2, True)


def test_a_report_that_nobody_named_replaces_no_other(say: Say, two: dict[str, list[Card]], tmp_path: Path):
    page = tmp_path / "report.html"
    assert say("report", "first")[0] == 0
    before = page.read_bytes()
    code, said = say("report", "second")
    lost = min(card.id for card in two["first"])[:12]
    assert code == 2
    assert said.endswith(
        f"report.html is the report of 2 cards not in this report ({lost}, ...), and would be overwritten; name "
        "another file with -o, or write -o report.html to replace it."
    )
    assert page.read_bytes() == before
    assert say("report", "first")[0] == 0
    assert say("report", "second", "-o", "report.html")[0] == 0
    assert page.read_bytes() != before
    page.write_text("<title>Annual report</title>")
    code, said = say("report", "second")
    assert code == 2
    assert said.endswith(
        "report.html is no report that robench wrote, and would be overwritten; name another file with -o, or write "
        "-o report.html to replace it."
    )


def test_a_leaderboard_replaces_none_of_other_cards(
    say: Say, two: dict[str, list[Card]], make_card: MakeCard, tmp_path: Path
):
    assert say("leaderboard", "first/cards", "-o", "site")[0] == 0
    before = held(tmp_path / "site")
    code, said = say("leaderboard", "second/cards", "-o", "site")
    assert code == 2
    rows = [
        row["title"] for row in json.loads((tmp_path / "site" / "leaderboard.json").read_text())["boards"][0]["rows"]
    ]
    assert said.endswith(
        f"site has the leaderboard of other cards, of whose rows 2 would be lost, such as {rows[0]} on mlp, digits, "
        "Linf 8/255; name another folder with -o, or remove leaderboard.json there."
    )
    assert held(tmp_path / "site") == before
    # More cards, and another card of a row that is there, lose nothing.
    write(make_card(attack="apgd"), tmp_path / "first" / "cards")
    assert say("leaderboard", "first/cards", "second/cards", "-o", "site")[0] == 0
    # What lies beside its own cards follows them.
    assert say("leaderboard", "first/cards", "-o", "first")[0] == 0
    for path in (tmp_path / "first" / "cards").glob("*tecoa*"):
        path.unlink()
    assert say("leaderboard", "first/cards", "-o", "first")[0] == 0
    assert "tecoa" not in (tmp_path / "first" / "LEADERBOARD.md").read_text()


@pytest.mark.parametrize("name", ["LEADERBOARD.md", "index.html", "leaderboard.json"])
@pytest.mark.parametrize("words", [("leaderboard", "first/cards", "-o", "site"), ("run", "-o", "site", "--n", 20)])
def test_a_page_that_robench_did_not_write_stays(
    say: Say, two: dict[str, list[Card]], tmp_path: Path, name: str, words: tuple[object, ...]
):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / name).write_text("mine")
    code, said = say(*words)
    assert code == 2
    assert said.endswith(
        f"site/{name} is no page that robench wrote, and would be overwritten; name another folder with -o, or move "
        "it away."
    )
    assert held(tmp_path / "site") == {tmp_path / "site" / name: b"mine"}
