"""``robench published``: listed, searched, as JSON, and where one name has several numbers."""

from __future__ import annotations

import json

import pytest


def test_a_row_is_listed_with_what_it_is_a_figure_of(robench):
    done = robench("published", "epochs=5", "--source", "report-001", COLUMNS="200")
    assert done.code == 0, done.said
    rows = [line.split("  ") for line in done.out.splitlines() if "88.52" in line or "74.02" in line]
    assert [[part.strip() for part in row if part.strip()] for row in rows] == [
        ["CLIP ViT-B/32, visual prompts with TeCoA", "clean", "88.52",
         "cifar10, clip-vit-b32, vpt, pgd, resnet20, Linf 8/255", "report 001, question 2, section 7, five epochs"],
        ["via resnet20", "74.02"],
    ]  # fmt: skip


def test_json_says_all_of_it(robench):
    found = json.loads(robench("published", "--dataset", "mnist", "--attack", "pgd", "--defense", "none", "--json").out)
    (entry,) = found["figures"]
    assert entry["figures"] == {"robust": 77.95}
    assert (entry["eps"], entry["norm"], entry["attack"]["name"]) == (0.05, "Linf", "pgd")
    assert entry["victim"] == {
        "name": "mlp",
        "parameters": {
            "epochs": "20", "batch_size": "512", "optimizer": "sgd", "momentum": "0.0", "learning_rate": "0.01",
            "validation": "0.0", "hidden": "32 16",
        },
    }  # fmt: skip
    assert entry["note"].startswith("Report 003's PGD hands back the attacked image")


def test_contradictions(robench):
    said = robench("published", "--contradictions", "--source", "report-003-digits").out
    assert said == (
        "One name, several numbers: perceptron, cross-entropy, gradient descent, digits, training images: 99.8608 "
        "(report 003, part I, section (e), the list under its figure), 99.9304 (report 003, part I, section (d), as it "
        "was trained).\n"
    )
    said = robench("published", "--contradictions", "--source", "report-003-digits", "--json").out
    (found,) = json.loads(said)["contradictions"]
    assert [number["percent"] for number in found["numbers"]] == [99.86082115518441, 99.93041057759221]
    said = robench("published", "--contradictions", "--source", "report-001").out
    assert said == "None of these names has several numbers.\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dataset", "cifar1"], "no published figure has dataset 'cifar1'; did you mean 'cifar10'? Known: "),
        (["--defense", "teco"], "no published figure has defense 'teco'; did you mean 'tecoa'? Known: fgsm-at, "),
        (["--source", "report-01"], "no published figure has source 'report-01'; did you mean 'report-001'? Known: "),
        (["--figure", "rob"], "--figure 'rob' is no figure; did you mean 'robust'? Known: clean, "),
    ],
)
def test_what_there_is_not_is_said(robench, words, sentence):
    done = robench("published", *words)
    assert done.code == 2
    assert done.said.startswith(f"robench: {sentence}")


def test_nothing_found_is_no_error(robench):
    done = robench("published", "no-such-word")
    assert (done.code, done.out) == (0, "No published figure says all of that.\n")
