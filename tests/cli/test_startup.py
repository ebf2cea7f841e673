"""What must answer at once imports no torch."""

from __future__ import annotations

import pytest

HEAVY = {"torch", "transformers", "peft", "sklearn", "scipy", "torchvision"}


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("run", "--help"),
        ("list",),
        ("list", "attack"),
        ("show", "pgd"),
        ("show", "tecoa"),
        ("run", "--dry-run", "--n", "20"),
        ("run", "--dry-run", "--n", "20", "--attack", "fgsm,pgd", "--surrogate", "self", "--eps", "4/255,8/255"),
    ],
    ids=" ".join,
)
def test_light_commands(modules, words):
    assert not modules(*words) & HEAVY


def test_a_run_whose_cards_are_stored(modules, real_run):
    assert "torch" not in modules(*real_run.words, store=real_run.store)


def test_explaining_a_card(modules, real_run):
    assert "torch" not in modules("explain", real_run.card("tecoa-pgd"))


def test_the_table_of_cards(modules, real_run, tmp_path):
    assert "torch" not in modules("leaderboard", real_run.out / "cards", "-o", tmp_path)


def test_a_training_that_is_stored(modules, robench, tmp_path):
    words = ("--victim", "linear[epochs=1,size=8]", "--attack", "fgsm", "--n", "20", "--gate", "quick", "--no-gallery")
    assert robench("run", *words).code == 0
    assert not modules("run", *words, "--out", "again") & HEAVY
    (card,) = (tmp_path / "again" / "trainings").glob("*.json")
    assert not modules("explain", card) & HEAVY
