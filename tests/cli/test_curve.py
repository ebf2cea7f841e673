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


def shown_and_written(robench, out, *words):
    done = robench("curve", "--victim", "linear", "--attack", "pgd", "--gate", "quick", "--n", "40", *words, "-o", out)
    assert done.code == 0, done.said
    return done.out, json.loads((out / "curve.json").read_text()), (out / "curve.svg").read_text()


def test_a_certificate_is_the_lower_end_of_the_bracket_wherever_the_curve_is_shown(robench, tmp_path):
    words = ("--eps", "2/255,8/255,16/255", "--certificate", "crown,interval", "--store", tmp_path / "store")
    text, found, chart = shown_and_written(robench, tmp_path / "out", *words)

    (curve,) = found["curves"]
    assert curve["certificates"] == ["crown", "interval"]
    certified = [row["certified"] for row in curve["radii"]]
    assert certified == sorted(certified, reverse=True)
    assert 0 < certified[-1] < certified[0]
    for row in curve["radii"]:
        assert row["certified"] <= row["standing"] <= row["correct"]
        assert row["certified_low"] < row["certified_rate"] == row["certified"] / 40 < row["certified_high"]
        # What one of the cards of a radius proves is in the curve at that radius.
        assert f"{100 * row['certified_rate']:.1f} [{100 * row['certified_low']:.1f}" in text
    for image in curve["images"]:
        assert image["certified"] in (0, 2 / 255, 8 / 255, 16 / 255)
        assert image["fell"] is None or image["certified"] < image["fell"] or image["fell"] == 0
    proved = [sum(image["certified"] >= eps for image in curve["images"]) for eps in (2 / 255, 8 / 255, 16 / 255)]
    assert proved == certified
    assert "certified %" in text
    assert "largest eps at which they are certified (Linf, lower bounds): median" in text
    assert "linear / none / pgd, certified" in chart
    table = list(csv.DictReader((tmp_path / "out" / "curve.csv").read_text().splitlines()))
    assert [int(row["certified"]) for row in table] == certified
    table = list(csv.DictReader((tmp_path / "out" / "critical-eps.csv").read_text().splitlines()))
    assert [float(row["certified"]) for row in table] == [image["certified"] for image in curve["images"]]


def test_curves_of_two_seeds_have_names_of_their_own(robench, tmp_path):
    words = ("--eps", "2/255,8/255", "--seed", "0,1", "--store", tmp_path / "store")
    text, found, chart = shown_and_written(robench, tmp_path / "out", *words)

    assert [curve["title"] for curve in found["curves"]] == ["seed 0", "seed 1"]
    assert found["shared"] == "linear / none / pgd, digits, Linf, n = 40"
    assert "2 curves; alike in all: linear / none / pgd, digits, Linf, n = 40." in text
    assert "certified" not in text + chart
    for said in (">seed 0<", ">seed 1<", ">linear / none / pgd, digits, Linf, n = 40<"):
        assert said in chart.replace("<!-- ", ">").replace(" -->", "<")
    assert {image["certified"] for curve in found["curves"] for image in curve["images"]} == {None}


def test_files_of_a_curve_that_hold_more_stay(robench, tmp_path):
    out, words = tmp_path / "out", ("--store", tmp_path / "store")
    shown_and_written(robench, out, "--eps", "2/255,8/255", "--bisect", "2/255", "--certificate", "crown", *words)
    first = (out / "curve.json").read_bytes()

    # Fewer radii, and no bisection: what is there holds all of it.
    text, found, _ = shown_and_written(robench, out, "--eps", "8/255", *words)
    assert (out / "curve.json").read_bytes() == first
    (beside,) = out.glob("curve-*.json")
    assert f"written: {beside}" in text
    for name in (
        beside.with_suffix(".csv").name,
        beside.with_suffix(".png").name,
        f"critical-eps-{beside.stem[6:]}.csv",
    ):
        assert (out / name).is_file()
    # The certificate is in the card of that radius, and so in the curve that did not ask for one.
    assert json.loads(beside.read_text())["curves"][0]["certificates"] == ["crown"]
    assert "certified %" in text
    assert found == json.loads(first)

    words = ("--eps", "2/255,8/255,16/255", "--bisect", "1/255", *words)
    _, found, _ = shown_and_written(robench, out, *words)
    assert len(found["curves"][0]["radii"]) == 3
    assert len([*out.glob("curve*.json")]) == 2


def test_a_file_that_is_no_curve_stays(robench, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "curve.json").write_text('{"mine": 1}')
    done = robench(
        "curve", "--victim", "linear", "--attack", "fgsm", "--eps", "2/255", "--n", 20, "--gate", "quick", "--out", out
    )
    assert done.code == 0, done.said
    assert (out / "curve.json").read_text() == '{"mine": 1}'
    assert not (out / "curve.csv").exists()
    assert len([*out.glob("curve-????????.json")]) == 1


def test_brackets_in_a_name_are_shown_and_pixels_are_said_to_be_some(robench, tmp_path):
    words = ("--attack", "sparse-rs", "-p", "attack.queries=20", "--norm", "L0", "--eps", "2,24", "--n", "10")
    done = robench("curve", "--gate", "quick", *words, "--store", tmp_path / "store", "-o", tmp_path / "out")

    assert done.code == 0, done.said
    assert "tiny-clip / none / sparse-rs[queries=20]; digits, L0, n = 10, seed 0" in done.out
    assert "24 px" in done.out
    assert "24/255" not in done.out
    assert "24 px" in (tmp_path / "out" / "curve.svg").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "The radii of the curve are missing; name some, such as --eps 1/255,2/255,4/255,8/255."),
        (("--eps", "8/255", "--bisect", "0"), "--bisect 0 is finer than images are held to their ball; give a width"),
        (("--eps", "8/255", "--bisect", "x"), "'x' is no finite number; write one such as 1/255."),
        (("--eps", "1,8", "--norm", "L0", "--bisect", "2"), "--bisect halves radii, and eps of L0 is a whole number;"),
        (("--eps", "8/255,-1"), "eps -1 is not a radius"),
        (("--eps", "8/255", "--certificate", "crow"), "crown"),
        (("--eps", "1,3", "--norm", "L1", "--certificate", "crown"), "crown"),
    ],
)
def test_what_is_no_curve_is_refused(robench, words, said):
    done = robench("curve", *words)

    assert done.code == 2
    assert said in done.said
