"""robench curve: one command gives curve, brackets and chart; every count is known by hand (test_own_models)."""

from __future__ import annotations

import csv
import json

import pytest

from .test_own_models import desk

__all__ = ["desk"]

WORDS = ("curve", "--victim", "net.py:build", "--dataset", "folder:photos", "--attack", "fgsm", "--gate", "quick",
         "-p", "dataset.size=8", "-p", "dataset.test=1")  # fmt: skip


def test_one_command_gives_the_curve_and_each_image_s_bracket(robench, desk):
    done = robench(*WORDS, "--eps", "4/255,16/255", "--bisect", "2/255")

    assert done.code == 0, done.said
    assert "smallest eps at which they fell (Linf, upper bounds): median" in done.out
    assert "32 of 40 fell" in done.said
    for name in ("curve.csv", "critical-eps.csv", "curve.json", "curve.png", "curve.svg"):
        assert (desk / "results" / name).stat().st_size > 0
    radii = list(csv.DictReader((desk / "results" / "curve.csv").read_text().splitlines()))
    # Level 128 + d survives k levels where 0.5 + d > k.
    assert [(row["radius"], row["standing"]) for row in radii] == [("4/255", "32"), ("16/255", "8")]
    assert {row["missed"] for row in radii} == {"0"}
    images = json.loads((desk / "results" / "curve.json").read_text())["curves"][0]["images"]
    assert len(images) == 40
    for entry in images:
        if entry["fell"] is not None:
            assert 0 < entry["fell"] - entry["held"] <= 2 / 255 + 1e-6
    assert sum(entry["fell"] is None for entry in images) == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "The radii of the curve are missing; name some, such as --eps 1/255,2/255,4/255,8/255."),
        (("--eps", "8/255", "--bisect", "0"), "--bisect 0 is finer than images are held to their ball; give a width"),
        (("--eps", "8/255", "--bisect", "x"), "'x' is no finite number; write one such as 1/255."),
        (("--eps", "1,8", "--norm", "L0", "--bisect", "2"), "--bisect halves radii, and eps of L0 is a whole number;"),
        (("--eps", "8/255,-1"), "eps -1 is not a radius"),
    ],
)
def test_what_is_no_curve_is_refused(robench, words, said):
    done = robench("curve", *words)

    assert done.code == 2
    assert said in done.said
