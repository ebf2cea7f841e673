"""`robench verify` finds a changed number, a changed store, and nothing where nothing is wrong."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def tamper(copied_run):
    """Return a function that changes a card's JSON in place."""

    def change(name, edit):
        card = copied_run.card(name)
        content = json.loads(card.read_text())
        edit(content)
        card.write_text(json.dumps(content))
        return card

    return change


def marks(done):
    """Return what was found, by what was looked at."""
    return {line[12:].partition(":")[0]: line[:12].strip() for line in done.out.splitlines() if ": " in line[12:]}


def test_a_true_card_verifies(robench, real_run):
    done = robench("verify", real_run.card("tecoa-pgd"), "--store", real_run.store)
    assert done.code == 0
    assert set(marks(done).values()) == {"ok"}
    assert {"clean outcomes", "robust outcomes", "weights", "ball and box", "re-score"} <= set(marks(done))
    assert done.out.splitlines()[-1].endswith(".json is identical.")


def test_a_true_card_verifies_from_scratch(robench, real_run):
    # Judged beside fgsm, it is computed again beside fgsm: the same checks with the same values.
    done = robench("verify", real_run.card("tecoa-pgd"), "--rerun", "--no-attest")
    assert done.code == 0, done.said
    assert set(marks(done).values()) == {"ok"}
    assert "rerun, robust" in marks(done)
    assert done.out.splitlines()[-1].endswith(".json is identical.")


def test_without_its_store_a_card_says_so(robench, real_run):
    done = robench("verify", real_run.card("tecoa-pgd"))
    assert done.code == 3
    assert "not at hand" in done.out
    assert "could not be compared with anything; give --store, or compute it again with --rerun." in done.said
    assert "give --store, or recompute with --rerun" in done.said


def test_a_raised_count_contradicts_the_bits(robench, tamper):
    card = tamper("tecoa-pgd", lambda content: content["robust"].update(correct=content["robust"]["correct"] + 1))
    for words, code in ((("verify", card), 2), (("explain", card), 2), (("leaderboard", card.parent), 0)):
        done = robench(*words)
        assert done.code == code
        assert f"{card} contradicts itself: robust counts " in done.said
    assert f"warning: left out: {card} contradicts itself" in done.err


def test_a_narrowed_interval_contradicts_the_counts(robench, tamper):
    card = tamper("tecoa-pgd", lambda content: content["robust"].update(low=content["robust"]["low"] + 0.01))
    done = robench("verify", card)
    assert done.code == 2
    assert "contradicts itself: the robust interval does not follow from its counts." in done.said


def test_outcomes_of_another_cell_are_found_out(robench, tamper, copied_run):
    # Consistent in itself: the clean counts, bits and interval stand where the robust ones should.
    def flatter(content):
        content["robust"] = {**content["clean"], "artifact": content["robust"]["artifact"]}

    done = robench("verify", tamper("tecoa-pgd", flatter), "--store", copied_run.store)
    assert done.code == 2
    assert "contradicts itself: the check 'generalisation gap' weighs robust = " in done.said


def test_a_stated_fingerprint_that_is_not_the_images(robench, tamper, copied_run):
    card = tamper("tecoa-pgd", lambda content: content["data"].update(test="0" * 64))
    done = robench("verify", card, "--store", copied_run.store)
    assert done.code == 1
    assert marks(done)["test images"] == "WRONG"


def test_a_damaged_tensor_is_set_aside_and_said(robench, copied_run):
    card = copied_run.card("tecoa-pgd")
    key = json.loads(card.read_text())["robust"]["artifact"]
    path = copied_run.store / "outcomes" / key[:2] / key / "data.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    done = robench("verify", card, "--store", copied_run.store)
    assert done.code == 0
    assert "is damaged (its tensors do not match their checksum)" in done.said
    assert marks(done)["robust outcomes"] == "not at hand"
    assert "is identical, as far as it is at hand (1 findings are not)." in done.said


def test_a_card_of_components_that_are_not_here(robench, tamper, copied_run):
    card = tamper("tecoa-pgd", lambda content: content["cell"]["attack"].update(name="pgd-nine"))
    done = robench("verify", card, "--store", copied_run.store)
    assert done.code in (1, 2)
    assert "pgd-nine" in done.said


def test_a_card_whose_parameters_make_no_sense(robench, tamper, copied_run):
    card = tamper("tecoa-pgd", lambda content: content["cell"]["attack"]["parameters"].update(steps="many"))
    done = robench("verify", card, "--store", copied_run.store)
    assert done.code == 2
    assert "contradicts itself: pgd is shown with steps = 5, which is not its parameter." in done.said


def test_a_card_that_counts_other_images_than_were_asked_for(robench, tamper):
    card = tamper("tecoa-pgd", lambda content: content["cell"]["given"].update(n=61))
    done = robench("verify", card, "--rerun")
    assert done.code == 2
    assert "contradicts itself: its id is " in done.said


def test_transfer_cards_verify_from_scratch_beside_their_row(robench, tmp_path):
    words = (
        "--defense",
        "tecoa,vpt",
        "--attack",
        "fgsm,pgd",
        "--surrogate",
        "self",
        "--eps",
        "4/255,8/255",
        "--n",
        "20",
    )
    quick = ("-p", "pgd.steps=2", "-p", "defense.epochs=1", "-p", "tecoa.rank=2", "-p", "vpt.prompt_size=2")
    run = robench("run", *words, *quick, "--store", tmp_path / "store", "--out", tmp_path)
    assert run.code == 0, run.said
    for name in ("*tecoa-pgd-via-self-Linf-8*", "*none-fgsm-Linf-4*"):
        (card,) = (tmp_path / "cards").glob(name)
        done = robench("verify", card, "--rerun")
        assert (done.code, set(marks(done).values())) == (0, {"ok"}), done.said


@pytest.mark.parametrize("given", [{}, {"attack": "pgd"}, {"attack": ["pgd"], "surrogate": [], "parameters": 3}])
def test_a_card_that_does_not_say_how_it_was_run_cannot_be_rerun(robench, tamper, given):
    card = tamper("tecoa-pgd", lambda content: content["cell"].update(given={"n": 60, **given}))
    done = robench("verify", card, "--rerun")
    assert (done.code, "Traceback" in done.said) == (2, False)
    assert "does not say with which attacks it was run" in done.said
