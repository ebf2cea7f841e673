"""Averages over classes: those of scikit-learn, from the card alone, on the page and in its table."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, precision_recall_fscore_support

from robench.evidence.card import Card, Outcome
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.report import render_report, write_tables
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.statistics.class_averages import averages, both

MakeCard = Callable[..., Card]
replace = msgspec.structs.replace

#: Labels, answers and the number of classes.
CASES: dict[str, tuple[list[int], list[int], int]] = {
    "balanced": ([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], 3),
    "unequal": ([0] * 50 + [1] * 3 + [2] * 7, [0] * 45 + [1] * 5 + [0, 1, 1] + [2] * 2 + [0] * 5, 3),
    "a class never answered": ([0, 1, 1, 2], [0, 0, 0, 2], 3),
    "a class without images that is answered": ([0, 0, 1, 1], [0, 3, 1, 3], 4),
    "a class without images or answers": ([0, 0, 4, 4], [0, 4, 4, 4], 6),
    "all wrong": ([0, 1, 0, 1], [1, 0, 1, 0], 2),
    "all right": ([0, 1, 2, 2], [0, 1, 2, 2], 3),
    "one image a class": ([0, 1, 2, 3, 4], [0, 1, 1, 1, 0], 9),
    "one class": ([1, 1, 1], [1, 0, 1], 2),
}


def answered(like: Outcome, labels: list[int], answers: list[int], classes: int) -> Outcome:
    """Return the outcome as the harness records it, its shares with six digits."""
    columns = precision_recall_fscore_support(labels, answers, labels=range(classes), zero_division=0)
    per_class = [[round(float(value), 6) for value in row] for row in zip(*columns, strict=True)]
    present = [row[2] for row in per_class if row[3] > 0]
    right = sum(label == answer for label, answer in zip(labels, answers, strict=True))
    return replace(like, correct=right, n=len(labels), per_class=per_class, macro_f1=sum(present) / len(present))


def expected(labels: list[int], answers: list[int], average: str, /, **which: Any) -> list[float]:
    found = precision_recall_fscore_support(labels, answers, average=average, zero_division=0, **which)
    return [float(value) for value in found[:3]]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_they_are_those_of_scikit_learn(make_card: MakeCard, case: tuple[list[int], list[int], int]):
    labels, answers, classes = case
    outcome = answered(make_card().robust, labels, answers, classes)
    found = averages(outcome)
    assert found is not None
    # Over the classes that occur among the labels: scikit-learn's own default adds those that are only answered.
    assert found.macro == pytest.approx(expected(labels, answers, "macro", labels=sorted(set(labels))), abs=1e-6)
    assert found.weighted == pytest.approx(expected(labels, answers, "weighted"), abs=1e-6)
    assert found.micro == pytest.approx(expected(labels, answers, "micro"), abs=1e-6)
    assert found.micro == pytest.approx([accuracy_score(labels, answers)] * 3, abs=1e-6)
    assert found.macro[2] == pytest.approx(outcome.macro_f1, abs=1e-6)
    assert found.weighted[1] == pytest.approx(outcome.correct / outcome.n, abs=1e-6)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_balanced_accuracy_is_scikit_learn_s(make_card: MakeCard, case: tuple[list[int], list[int], int]):
    found = averages(answered(make_card().clean, *case))
    assert found is not None
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(case[0], case[1]), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_they_agree_on_drawn_answers(make_card: MakeCard, seed: int):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 40))
    labels = rng.choice(classes, 500, p=rng.dirichlet(np.full(classes, 0.3))).tolist()
    answers = np.where(rng.random(500) < 0.6, labels, rng.integers(0, classes, 500)).tolist()
    found = averages(answered(make_card().robust, labels, answers, classes))
    assert found is not None
    assert found.macro == pytest.approx(expected(labels, answers, "macro", labels=sorted(set(labels))), abs=2e-6)
    assert found.weighted == pytest.approx(expected(labels, answers, "weighted"), abs=2e-6)
    assert found.micro == pytest.approx(expected(labels, answers, "micro"), abs=2e-6)


@pytest.mark.parametrize("rows", [[], [[0.5, 0.5, 0.5]], [[1.0] * 5], [[1.0, 1.0, 1.0, 0.0]], [[1.0] * 4, [1.0]]])
def test_rows_that_are_no_classes_have_none(make_card: MakeCard, rows: list[list[float]]):
    card = make_card()
    assert averages(replace(card.clean, per_class=rows)) is None
    assert both(replace(card, clean=replace(card.clean, per_class=rows))) is None
    assert both(replace(card, robust=replace(card.robust, per_class=rows))) is None
    assert both(card) is not None


# On the page


def example(make_card: MakeCard, **given: Any) -> Card:
    """Return a card of ten images: (0.800, 0.667) recall clean, and most answers wrong under attack."""
    card = make_card([True] * 3 + [False] * 7, **given)
    labels = [0] * 6 + [1] * 4
    clean = answered(card.clean, labels, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1], 2)
    return replace(card, clean=clean, robust=answered(card.robust, labels, [0, 1, 1, 1, 1, 1, 1, 1, 0, 0], 2))


def table(text: str) -> dict[str, list[str]]:
    """Return the rows of the page's only table of averages by their names."""
    (body,) = re.findall(r'<table class="classes averages">.*?<tbody>(.*?)</tbody>', text, flags=re.DOTALL)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', body)
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", cells) for name, cells in rows}


def page(*cards: Card) -> str:
    return render_report(Report(tuple(boards(cards)), {}))


def test_each_card_has_a_table_clean_and_under_attack(make_card: MakeCard):
    text = page(example(make_card))
    # Clean: class 0 has precision 1, recall 4/6; class 1 precision 4/6, recall 1. Attacked: 1/3, 1/6 and 2/7, 2/4.
    assert table(text) == {
        "macro": ["0.833", "0.833", "0.800", "0.310", "0.333", "0.293"],
        "weighted": ["0.867", "0.800", "0.800", "0.314", "0.300", "0.279"],
        "micro": ["0.800", "0.800", "0.800", "0.300", "0.300", "0.300"],
        "balanced accuracy": ["", "0.833", "", "", "0.333", ""],
    }
    said = " ".join(text.split())
    assert "every image has one label, so that all three are the accuracy." in said
    assert "the mean over the classes that occur among the labels; its recall is the balanced accuracy" in said


def test_the_accuracy_of_a_class_is_no_average_and_is_named_by_what_it_is(make_card: MakeCard):
    card = example(make_card)
    text = page(card)
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", text)
    assert "accuracy" not in {head.lower() for head in heads}
    assert heads.count("1-v-rest") == 2
    assert heads.count("precision") == heads.count("recall") == heads.count("F1") == 4


def test_a_randomized_defense_says_whose_answers_are_averaged(make_card: MakeCard):
    card = example(make_card)
    drawn = replace(card, clean=replace(card.clean, draws=10, hits=[10] * 8 + [0] * 2))
    assert "(here of the answers by the mean logits over 10 draws)." in page(drawn)
    assert "mean logits" not in page(card)


def test_a_card_without_class_rows_has_no_table(make_card: MakeCard):
    card = make_card()
    assert "classes averages" not in page(replace(card, clean=replace(card.clean, per_class=[[1.0], [2.0]])))


# In the table files


def test_there_is_a_line_a_card_and_set_of_images(make_card: MakeCard, tmp_path: Path):
    cards = [example(make_card), example(make_card, defense="tecoa")]
    written = write_tables(Report(tuple(boards(cards)), {}), tmp_path)
    assert tmp_path / "averages.csv" in written
    with (tmp_path / "averages.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(line["card"], line["images"]) for line in lines} == {
        (card.id, images) for card in cards for images in ("clean", "adversarial")
    }
    attacked = next(line for line in lines if line["images"] == "adversarial")
    assert list(attacked)[:6] == ["card", "images", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1"]
    values = {name: float(value) for name, value in attacked.items() if name not in ("card", "images")}
    assert values["balanced_accuracy"] == values["macro_recall"] == pytest.approx(1 / 3, abs=1e-6)
    assert values["weighted_precision"] == pytest.approx(0.6 / 3 + 0.4 * 2 / 7, abs=1e-6)
    assert values["micro_precision"] == values["micro_recall"] == values["micro_f1"] == 0.3


def test_no_torch_is_needed():
    code = "import sys, robench_leaderboard.statistics.class_averages; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
