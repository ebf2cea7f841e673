"""`robench submit` takes what can be believed, refuses the rest in a sentence, and changes nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ..identified import identify

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "leaderboard" / "cards"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def tampered(real_run, tmp_path):
    """Return a function that copies a card of the real run, changed, to where it does not belong."""

    def change(edit, name="tecoa-pgd"):
        raw = json.loads(real_run.card(name).read_text())
        edit(raw)
        path = tmp_path / "card of a stranger.json"
        path.write_text(json.dumps(raw))
        return path

    return change


def refused(done, sentence, target):
    assert done.code == 2, done.said
    assert sentence in done.said
    assert "Traceback" not in done.said
    return list(target.iterdir()) == []


def test_a_true_card_is_written_under_its_name_and_nothing_else_changes(robench, real_run, tampered, target, tmp_path):
    path = tampered(lambda raw: None)
    done = robench("submit", path, "--store", real_run.store)
    assert done.code == 0, done.said
    (written,) = target.glob("*.json")
    assert written.name == real_run.card("tecoa-pgd").name
    assert written.read_bytes() == real_run.card("tecoa-pgd").read_bytes()
    (attested,) = (target / "attestations").iterdir()
    assert f"attested: leaderboard/cards/attestations/{attested.name}" in done.out.replace("\\", "/")
    assert sorted(each.name for each in (tmp_path / "leaderboard").iterdir()) == ["cards"]
    assert "ok gate: VALID by " in done.said or "gate: VALID" in done.said
    assert "id: follows from this installation's components" in done.said
    assert "re-score: 0 of 60 images are answered differently" in done.said
    assert "says which ranks the cards change; it runs no model." in done.said


def test_several_cards_at_once(robench, real_run, target):
    done = robench("submit", *real_run.cards, "--store", real_run.store)
    assert done.code == 0, done.said
    assert sorted(path.name for path in target.glob("*.json")) == [path.name for path in real_run.cards]


def test_if_one_is_refused_none_is_written(robench, real_run, tampered, target):
    bad = tampered(lambda raw: raw["cost"]["fit"].update(seconds=0.001), "tecoa-fgsm")
    done = robench("submit", real_run.card("tecoa-pgd"), bad, "--store", real_run.store)
    assert refused(done, f"{bad} is not taken: fit: its cost is another in the store: seconds is 0.001", target)


def test_a_store_that_is_not_there_is_said(robench, real_run, target, tmp_path):
    done = robench("submit", real_run.card("tecoa-pgd"), "--store", tmp_path / "nowhere", "--reported")
    assert done.code == 0, done.said
    assert f"re-score: there is no store at {tmp_path / 'nowhere'}" in done.said
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_check_is_quoted(robench, target):
    # Of eight images, too few to say anything.
    done = robench("submit", GOLDEN / "card-v3.json")
    assert refused(done, "gate: SUSPECT by 'stronger attack': ", target)
    assert "Only VALID cards are taken; robench explain says more." in done.said


def test_a_verdict_without_a_check_is_refused(robench, tampered, target):
    done = robench("submit", tampered(lambda raw: raw["gate"].update(checks=[])))
    assert refused(done, "contradicts itself: its gate lacks the check 'box and ball'.", target)


def test_an_id_that_does_not_follow_is_refused(robench, tampered, target):
    done = robench("submit", tampered(lambda raw: raw.update(id="0" * 64)))
    assert refused(done, "contradicts itself: its id is 00000000, but the cell that it claims", target)


def test_other_source_code_is_named_and_no_refusal(robench, tampered, target):
    def elsewhere(raw):
        raw["cell"]["attack"].update(code="0" * 64, version=7)
        identify(raw)

    done = robench("submit", tampered(elsewhere), "--store", target / "no", "--reported")
    assert done.code == 0, done.said
    assert (
        "where these differ from the card's: the source code of attack 'pgd'; the version of attack 'pgd'" in done.said
    )


def test_a_component_that_is_not_installed_is_named(robench, tampered, target):
    def elsewhere(raw):
        raw["cell"]["attack"].update(name="pgd-nine")
        identify(raw)

    done = robench("submit", tampered(elsewhere), "--store", target / "no", "--reported")
    assert done.code == 0, done.said
    assert "id: it cannot be recomputed here: There is no attack 'pgd-nine'" in done.said


def test_numbers_that_the_store_contradicts_are_refused(robench, real_run, tampered, target):
    def flatter(raw):
        raw["robust"]["top5"] -= 1

    done = robench("submit", tampered(flatter), "--store", real_run.store)
    assert refused(done, "is not taken: robust outcomes: ", target)


def test_a_card_that_contradicts_itself_is_refused(robench, tampered, target):
    done = robench("submit", tampered(lambda raw: raw["robust"].update(correct=raw["robust"]["correct"] + 1)))
    assert refused(done, "contradicts itself: robust counts ", target)


# Duplicates


def test_the_same_card_again_is_named(robench, real_run, target):
    card = real_run.card("tecoa-pgd")
    shutil.copy(card, target)
    done = robench("submit", card, "--store", target / "no", "--reported")
    assert done.code == 2
    assert f"{target.relative_to(target.parents[1]) / card.name} is the same cell already (the same card)" in done.said


def test_another_recording_is_named_and_can_replace(robench, real_run, tampered, target):
    shutil.copy(real_run.card("tecoa-pgd"), target / "under another name.json")
    later = tampered(lambda raw: raw.update(created="2031-01-01T00:00:00+00:00"))
    done = robench("submit", later, "--store", target / "no", "--reported")
    assert done.code == 2
    assert "is the same cell already (the same answers, recorded 20" in done.said
    done = robench("submit", later, "--replace", "--store", target / "no", "--reported")
    assert done.code == 0, done.said
    (written,) = target.iterdir()
    assert written.name == real_run.card("tecoa-pgd").name
    assert json.loads(written.read_text())["created"] == "2031-01-01T00:00:00+00:00"


def test_what_is_no_card_in_the_folder_is_left_alone(robench, real_run, target):
    (target / "notes.json").write_text("{")
    (target / "link.json").symlink_to(real_run.card("tecoa-pgd"))
    assert robench("submit", real_run.card("tecoa-pgd"), "--store", target / "no", "--reported").code == 0
    assert (target / "notes.json").read_text() == "{"
    assert (target / "link.json").is_symlink()


def test_a_folder_that_is_not_there_is_said(robench, real_run, tmp_path):
    done = robench("submit", real_run.card("tecoa-pgd"), "--store", tmp_path / "no")
    assert done.code == 2
    assert (
        "There is no folder leaderboard/cards here; run this in a checkout of the leaderboard's repository" in done.said
    )
