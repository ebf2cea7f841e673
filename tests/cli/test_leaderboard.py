"""`robench leaderboard`: one verdict a defended victim, whatever ran in which order; foreign files cost a warning."""

from __future__ import annotations

import json

RUN = ("run", "--defense", "tecoa", "--n", "40", "--eps", "2/255", "--no-gallery", "-p", "defense.epochs=1")


def rows(folder):
    """Return verdict and rank of each row by its defense."""
    (board,) = json.loads((folder / "leaderboard.json").read_text())["boards"]
    return {row["defense"]["name"]: (row["verdict"], row["rank"]) for row in board["rows"]}


def test_a_weaker_attack_that_is_run_alone_later_changes_no_rank(robench, tmp_path):
    results = tmp_path / "results"
    assert robench(*RUN, "--attack", "fgsm,pgd", "-p", "pgd.steps=10").code == 0
    together = rows(results)
    assert robench(*RUN, "--attack", "fgsm").code == 0
    assert rows(results) == together
    assert robench(*RUN, "--attack", "fgsm,pgd", "-p", "pgd.steps=10").code == 0
    assert rows(results) == together


def test_what_is_no_card_costs_a_warning_but_not_where_pages_are_checked(robench, copied_run):
    cards = copied_run.out / "cards"
    (cards / "foreign.json").write_text("{}")
    words = ("leaderboard", cards, "-o", copied_run.out)

    done = robench(*words)
    assert done.code == 0
    assert f"warning: left out: {cards / 'foreign.json'}" in done.said
    checked = robench(*words, "--check")
    assert (checked.code, "foreign.json" in checked.said) == (2, True)


def test_an_empty_folder_overwrites_no_page(robench, copied_run, tmp_path):
    page = copied_run.out / "LEADERBOARD.md"
    before = page.read_text()
    (tmp_path / "empty").mkdir()
    done = robench("leaderboard", "empty", "-o", copied_run.out)

    assert done.code == 2
    assert "There are no cards in empty, so no page is written; name a folder of cards." in done.said
    assert page.read_text() == before


def test_explain_judges_a_card_among_those_beside_it(robench, copied_run):
    done = robench("explain", copied_run.card("tecoa-fgsm"))
    assert done.code == 0
    assert "Judged together with the 1 other card of this defended victim" in done.said
    alone = copied_run.out / "alone"
    alone.mkdir()
    copied_run.card("tecoa-fgsm").rename(alone / "card.json")
    assert "Judged together" not in robench("explain", alone / "card.json").said
