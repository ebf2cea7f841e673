"""Test images against images beside them: gaps known by hand."""

from __future__ import annotations

import pytest
import torch
from statsmodels.stats.proportion import confint_proportions_2indep

from robench import Examples
from robench.evidence.compound_rules import certain_gap, gap_needed, generalises

from ..grey import Greys, attack, checks, corner

KNOWS = attack("knows", corner)


def with_validation(levels, labels):
    """Return the grey dataset with these validation images."""

    class Validated(Greys):
        """Serve validation images of its own."""

        name = "validated"
        default = False

        def load(self, split):
            if split != "val":
                return Greys().load(split)
            images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
            return Examples.from_tensors(images, torch.tensor(labels))

    return "dataset", Validated


@pytest.mark.parametrize(("right", "n", "other", "others"), [(100, 100, 0, 4), (97, 100, 190, 200), (40, 44, 10, 44)])
def test_the_certain_gap_is_newcombes(right, n, other, others):
    expected = confint_proportions_2indep(right, n, other, others, method="newcomb", alpha=0.001)[0]

    assert certain_gap(right, n, other, others) == pytest.approx(expected, abs=1e-9)


def test_validation_images_like_the_test_images_show_no_gap(grey):
    levels = [128 + d for d in range(20)] + [127 - d for d in range(20)]
    made = with_validation(levels, [0] * 20 + [1] * 20)
    (card,) = grey.run(KNOWS, made, dataset="validated", attack="knows", eps="8/255", gate_cost=1000)
    check = checks(card)["generalisation gap"]

    # 40 of 44 against 40 of 40 clean, 24 of 44 against 19 of the 32 that were attacked or so: no gap is certain.
    assert (check.status, check.n) in {("pass", 40), ("pass", 32)}
    assert check.meaning.startswith("Test images are answered no better than validation images")


def test_test_images_that_are_answered_better_are_known_to_the_model(grey):
    made = with_validation([128 + d for d in range(30)], [1] * 30)  # all labelled wrong
    (card,) = grey.run(KNOWS, made, dataset="validated", attack="knows", eps="8/255")
    check = checks(card)["generalisation gap"]

    assert (card.gate.verdict, check.status) == ("INVALID", "invalid")
    assert "40 of 44 test images are right, but 0 of" in check.meaning
    assert "validation images: the model was fitted on the test images, or knows them." in check.meaning


def figures(**more):
    return {"validation": 1, "of": 100, "exact": 1, "clean": 97, "clean_others": 200, "clean_others_right": 195, **more}


@pytest.mark.parametrize(
    ("right", "moved", "status"), [(4, 0, "suspect"), (4, 1, "pass"), (9, 3, "suspect"), (9, 5, "pass")]
)
def test_test_images_that_fall_only_when_moved_are_known(right, moved, status):
    # Certainly more than a quarter: 4 of 4 has a chance of 0.4 % at a quarter, 3 of 4 of 5 %, 6 of 9 of 1 %.
    found = generalises(figures(pairs=right, pairs_right=right, pairs_moved_right=moved))

    assert (found.status, found.by == "moved") == (status, status == "suspect")


@pytest.mark.parametrize(("exact", "status"), [(0, "suspect"), (1, "pass")])
def test_four_images_by_ill_luck_accuse_nobody(exact, status):
    # Of 60 test images 56 stand, of four others one: by chance once in 190 times, and Newcombe's interval is too short.
    figures_of = {"validation": 1, "of": 60, "clean": 57, "clean_others": 200, "clean_others_right": 190}
    found = generalises({**figures_of, "exact": exact, "robust": 56, "robust_others": 4, "robust_others_right": 1})

    assert found.status == status


def test_easy_test_images_are_told_by_their_margins(grey):
    # All right with and without attack, but every validation image is nearer to the border than every test image.
    class Chosen(with_validation([128 + d % 4 for d in range(40)], [0] * 40)[1]):
        """Serve the brightest as test images."""

        def load(self, split):
            if split != "test":
                return super().load(split)
            images = torch.tensor([160 + d for d in range(40)], dtype=torch.uint8).view(-1, 1, 1, 1)
            return Examples.from_tensors(images.expand(-1, 1, 4, 4).contiguous(), torch.zeros(40, dtype=torch.long))

    options = {"dataset": "validated", "attack": "steps", "eps": "0.4/255", "gate_cost": 1000}
    (card,) = grey.run(("dataset", Chosen), **options)
    check = checks(card)["generalisation gap"]

    assert (check.status, check.value, check.n, check.threshold) == ("suspect", 1.0, 40, "<= 60% certainly")
    assert (check.figures["compared"], check.figures["easier"]) == (40, 40)
    assert check.figures["robust"] == 40
    assert check.figures["robust_others_right"] == check.figures["robust_others"]
    assert check.meaning == (
        "beside 40 of 40 validation images a test image is the easier one (its label leads by more): the test images "
        "are those that the model is good at. Draw them at random, with --n."
    ).replace("beside", "Beside", 1)


@pytest.mark.parametrize(
    ("easier", "compared", "status"),
    [
        (36, 60, "pass"),  # no more than the limit
        (46, 60, "skipped"),  # a chance of 0.5 % at the limit
        (47, 60, "suspect"),  # of 0.2 %
        (10, 10, "skipped"),
        (11, 11, "suspect"),
        (60, 100, "pass"),
        (72, 100, "skipped"),
        (73, 100, "suspect"),
    ],
)
def test_easier_images_accuse_only_where_the_exact_interval_lies_above_the_limit(easier, compared, status):
    from scipy.stats import binomtest

    low = binomtest(easier, compared).proportion_ci(0.99, "exact").low
    found = generalises(figures(exact=2, easier=easier, compared=compared))

    assert found.status == status
    assert (low > 0.6) == (status == "suspect")


def test_cards_of_before_pass_where_a_gap_is_not_certain():
    few = {"robust": 59, "robust_others": 4, "robust_others_right": 1, "of": 60, "clean": 60}

    assert generalises(figures(exact=1, **few)).status == "pass"
    assert generalises(figures(exact=2, **few))[:2] == ("skipped", pytest.approx(59 / 60 - 1 / 4))


@pytest.mark.parametrize(
    ("by", "more"),
    [
        ("robust", {"robust": 70, "robust_others": 12, "robust_others_right": 6}),
        ("moved", {"pairs": 10, "pairs_right": 9, "pairs_moved_right": 6}),
        ("easier", {"compared": 12, "easier": 9}),
    ],
)
def test_the_number_of_images_that_would_tell_does(by, more):
    seen = figures(exact=2, **more)
    needed = gap_needed(seen, by)
    count = {"robust": "robust_others", "moved": "pairs", "easier": "compared"}[by]
    names = {"robust": ("of", "clean", "robust"), "moved": (), "easier": ()}[by]
    scaled = {name: round(seen[name] * needed / seen[count]) for name in (*more, *names)}

    assert generalises(seen).status == "skipped"
    assert (generalises(seen).by, needed > seen[count]) == (by, True)
    assert generalises({**seen, **scaled}).status == "suspect"


def test_a_gap_on_a_handful_of_images_says_how_many_would_tell(grey):
    # 24 of 44 test images withstand 8/255, and of three validation images 3.5/255 from the border none.
    made = with_validation([131] * 3, [0] * 3)
    (card,) = grey.run(KNOWS, made, dataset="validated", attack="knows", eps="8/255", gate_cost=1000)
    check = checks(card)["generalisation gap"]

    assert (check.status, check.n, card.gate.verdict) == ("skipped", 3, "VALID")
    assert check.meaning == (
        "Not enough images: 24 of 44 test images are right under knows, but 0 of 3 validation images, on so few that "
        "may be chance. About 12 of these would tell (--n or --gate-cost)."
    )


def test_without_validation_images_the_test_images_are_moved(grey):
    # The same images for every split: they are no others, and constant images are as they were after a shift.
    (card,) = grey.run(KNOWS, attack="knows", eps="8/255")
    check = checks(card)["generalisation gap"]

    assert check.status == "pass"
    assert "test images moved by one pixel" in check.meaning
    assert check.meaning.endswith(
        "Whether they were chosen because the model is good at them cannot be told: the dataset has no validation "
        "images to compare margins with."
    )
