"""What is printed of a training's card: long curves thinned out, strange ones shown, commands that can be typed."""

from __future__ import annotations

import io
import shlex
from itertools import pairwise

import msgspec
import pytest
from rich.console import Console

from robench.cli.training_view import (
    MOST_EPOCHS,
    MOST_METRICS,
    command_to_repeat,
    outcome_lines,
    print_training,
    thinned,
)
from robench.evidence.card import ComponentRecord, Cost, Environment, TrainingRecord
from robench.evidence.training_card import CLOCKS, TrainingCard, TrainingData, reached


def component(name, **changed):
    return ComponentRecord(name=name, version=1, parameters=changed, changed=changed, plugin="tests 0", code="")


def card(history, dataset=None, members=(), **parameters):
    recipe = {"model": "net", **parameters}
    return TrainingCard(
        id="ab" * 32,
        created="2026-01-01T00:00:00+00:00",
        dataset=dataset or component("digits"),
        victim=component("net", **parameters),
        members=list(members),
        seed=5,
        data=TrainingData(shape=(3, 8, 8), classes=["a", "b"], train="cd" * 32, train_n=1200),
        training=TrainingRecord(
            trainable=1234, names=["w"], without_gradient=[], undeclared=[], buffers=[], recipe=recipe,
            history=history, gradient="exact", randomized=False,
        ),
        reached=reached(history, recipe),
        weights="ef" * 32,
        cost=Cost(images=1200, forwards=2400, backwards=2160, seconds=1.25, peak_bytes=1, batch_size=0),
        environment=Environment(
            robench="0.1.0", python="3", platform="any", packages={}, device="cpu (any)", dtype="float32", tf32=False,
            threads=1, revision="", dirty=False,
        ),
        clocks=list(CLOCKS),
    )  # fmt: skip


def epochs(count, best=None):
    """Return curves whose validation loss is lowest in epoch ``best``."""
    return [{"epoch": float(place), "loss": 1 / place, "validation_loss": abs(place - (best or count)) + 0.5}
            for place in range(1, count + 1)]  # fmt: skip


@pytest.fixture
def page():
    """Return a function that gives the printed lines of a card."""

    def lines(shown, width=200):
        console = Console(width=width, highlight=False, file=io.StringIO())
        print_training(shown, console)
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    return lines


def test_what_came_of_it_in_lines():
    history = [{"epoch": 1.0, "loss": 0.5, "accuracy": 0.75, "validation_loss": 0.25, "validation_accuracy": 0.8125}]
    assert outcome_lines(card(history, epochs=3, patience=0)) == [
        "epochs: 1 of 3, stopped early",
        "kept: the weights of epoch 1, the last",
        "validation: accuracy 81.2 %, loss 0.2500",
        "training images, last epoch: accuracy 75.0 %, loss 0.5000",
        "cost: 2,400 forwards + 2,160 backwards, 1.2 s on cpu (any)",
    ]


def test_what_is_not_known_is_not_said():
    assert outcome_lines(card([], epochs=3))[:-1] == [
        "epochs: the curves name none",
        "validation: none that the curves and the recipe tell of",
    ]
    assert outcome_lines(card([{"epoch": 1.0, "loss": 2.0}]))[:-1] == [
        "epochs: 1",
        "validation: none that the curves and the recipe tell of",
        "training images, last epoch: loss 2.0000",
    ]


def test_what_is_no_share_is_not_made_a_percentage():
    history = [{"epoch": 1.0, "accuracy": 93.5}]
    assert "training images, last epoch: accuracy 93.5" in outcome_lines(card(history))


@pytest.mark.parametrize("count", [0, 1, 19, 20])
def test_short_curves_are_shown_whole(count):
    rows = epochs(count)
    assert thinned(rows, 20, []) == rows


@pytest.mark.parametrize("count", [21, 22, 39, 100, 1001])
def test_long_curves_are_thinned_out_evenly(count):
    rows = epochs(count)
    shown = [row["epoch"] for row in thinned(rows, 20, [])]
    assert len(shown) == 20
    assert (shown[0], shown[-1]) == (1, count)
    gaps = {after - before for before, after in pairwise(shown)}
    assert max(gaps) - min(gaps) <= 1


def test_the_epoch_that_was_kept_is_never_thinned_out(page):
    lines = page(card(epochs(100, best=50), epochs=100, patience=60))
    rows = [line.split() for line in lines if line and line.split()[0].isdigit()]
    shown = [int(row[0]) for row in rows if not row[1].isalpha()]
    assert 50 in shown
    assert len(shown) == MOST_EPOCHS + 1
    assert [row[0] for row in rows if row[-1] == "kept"] == ["50"]
    assert f"{MOST_EPOCHS + 1} of 100 epochs are shown" in lines


def test_points_without_epochs_are_numbered(page):
    lines = page(card([{"step": 10.0, "reward": 2.0}, {"step": 20.0, "reward": 3.0}]))
    start = next(place for place, line in enumerate(lines) if line.startswith("point"))
    assert [line.split() for line in lines[start : start + 3]] == [
        ["point", "step", "reward"], ["1", "10", "2"], ["2", "20", "3"],
    ]  # fmt: skip


def test_no_curves_at_all(page):
    assert "epochs: the curves name none" in page(card([]))


def test_a_hostile_card_stays_a_page(page):
    history = [{"epoch": 1.0, **{f"m{place}": 1.0 for place in range(500)}, "[bold]x\x1b[31m": 1.0}]
    strange = card(history, component("digits", path="\x1b]0;title\x07 [red]"), epochs=1)
    lines = page(msgspec.structs.replace(strange, created="\u202eabc"))
    text = "\n".join(lines)
    assert "[red]" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert max(len(line.split()) for line in lines if line.startswith("epoch ")) == 1 + MOST_METRICS


def test_the_command_can_be_typed():
    dataset = component("imagefolder", path="my photos; rm -rf /", test=0.5)
    shown = card([], dataset, [component("part", width=3)], hidden="64,32", eps=8 / 255, size=None, checkpoint="")
    assert shlex.split(command_to_repeat(shown)) == [
        "robench", "train", "net", "--dataset", "imagefolder", "--seed", "5",
        "-p", "dataset.path=my photos; rm -rf /", "-p", "dataset.test=0.5",
        "-p", "victim.hidden=64,32", "-p", "victim.eps=8/255", "-p", "victim.size=none", "-p", "victim.checkpoint=",
        "-p", "part.width=3",
    ]  # fmt: skip
