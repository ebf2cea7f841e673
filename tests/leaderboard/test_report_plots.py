"""What the charts show: points, intervals, fronts and lines, known by hand; and where the marks come to lie."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from robench.evidence.card import Card
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.render.axis_scales import Linear, Logarithmic, compact, nice, scale
from robench_leaderboard.render.chart import CLEAN, ROBUST, Axis, Mark, Plot, Series
from robench_leaderboard.render.svg_drawing import draw, spread, swatch
from robench_leaderboard.report import model_accuracy, plots, training_plots
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.statistics.pareto import front

MakeCard = Callable[..., Card]


def report(*cards: Card) -> Report:
    return Report(tuple(boards(cards)), {})


def mask(right: int, n: int = 100) -> list[bool]:
    return [place < right for place in range(n)]


def logged(card: Card, *history: dict[str, float]) -> Card:
    return msgspec.structs.replace(card, training=msgspec.structs.replace(card.training, history=list(history)))


# Clean against robust


def test_a_board_is_one_plot_with_wilson_intervals(make_card: MakeCard):
    cards = [make_card(mask(40), mask(90)), make_card(mask(70), mask(80), defense="tecoa")]
    (plot,) = plots.trade_offs(report(*cards))
    assert [series.name for series in plot.series] == ["tecoa", "none"]
    (mark,) = plot.series[0].marks
    assert (mark.x, mark.y) == (80.0, 70.0)
    for right, found in ((80, mark.across), (70, mark.upright)):
        assert found == pytest.approx([100 * end for end in proportion_confint(right, 100, method="wilson")])
    assert plot.title == "digits, Linf 8/255, 1x8x8, n = 100"
    assert "Most robust: tecoa, 70.0 % at 80.0 % clean" in plot.says


def test_one_row_is_no_comparison(make_card: MakeCard):
    assert list(plots.trade_offs(report(make_card()))) == []
    assert not any(plots.pareto(report(make_card())).values())


def test_a_transfer_only_row_is_in_no_robust_plot(make_card: MakeCard):
    cards = [make_card(), make_card(defense="hollow", access="transfer", surrogate="cnn"), make_card(defense="jpeg")]
    (plot,) = plots.trade_offs(report(*cards))
    assert {series.name for series in plot.series} == {"none", "jpeg"}


def test_colours_are_the_same_everywhere_and_the_undefended_is_grey(zoo: list[Card]):
    whole = report(*zoo)
    tones = {row.defense: whole.tone(row) for _, row in whole.rows}
    assert tones["none"] == 0
    assert sorted(tones.values()) == list(range(len(tones)))


def test_several_victims_are_named(make_card: MakeCard):
    cards = [make_card(), make_card(victim="vit"), make_card(victim="vit", defense="jpeg", eps=4 / 255)]
    whole = report(*cards)
    names = {whole.name(row, board) for board, row in whole.rows}
    assert names == {"none on mlp", "none on vit", "jpeg"}


def test_parameters_are_left_out_of_a_name_unless_they_tell_two_apart(make_card: MakeCard):
    alone = report(make_card(dataset="photos", dataset_changed={"path": "a/very/long/path"}))
    assert plots.board_title(alone, alone.boards[0]).startswith("photos, Linf")
    cards = [make_card(dataset="photos", dataset_changed={"path": path}, test=path) for path in ("a", "b")]
    both = report(*cards)
    assert {plots.board_title(both, board).partition(",")[0] for board in both.boards} == {
        "photos[path=a]",
        "photos[path=b]",
    }


# Cost


def dominated(point: tuple[float, float], others: list[tuple[float, float]]) -> bool:
    return any(
        other != point
        and other[0] <= point[0]
        and other[1] >= point[1]
        and (other[0] < point[0] or other[1] > point[1])
        for other in others
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_the_front_is_what_nothing_beats(points: list[tuple[float, float]]):
    assert set(front(points)) == {point for point in points if not dominated(point, points)}
    assert list(front(points)) == sorted(front(points))


def test_each_cost_has_a_plot(make_card: MakeCard, make_cost: Callable[..., Any]):
    trained = {"names": ("head.weight",), "trainable": 650, "fit": make_cost(images=10, seconds=12.5, passes=3)}
    none = make_card(mask(10), fit=make_cost(images=0, seconds=0.0), score=make_cost(images=100, seconds=0.2))
    cards = [none, make_card(mask(60), defense="tecoa", score=make_cost(images=100, seconds=0.4), **trained)]
    found = plots.pareto(report(*cards))
    assert set(found) == {"fit time", "fit passes", "ms per image", "parameters"}
    spent = {name: {series.name: series.marks[0].x for series in plot.series} for name, (plot,) in found.items()}
    assert spent["fit time"] == {"tecoa": 12.5, "none": 0.0}
    assert spent["fit passes"] == {"tecoa": 60.0, "none": 0.0}
    assert spent["ms per image"] == pytest.approx({"tecoa": 4.0, "none": 2.0})
    assert spent["parameters"] == {"tecoa": 650.0, "none": 0.0}
    assert found["fit time"][0].front == ((0.0, 10.0), (12.5, 60.0))


# Accuracy against eps


def test_a_line_for_each_defense_and_attack_from_the_clean_accuracy(make_card: MakeCard):
    cards = [
        make_card(mask(right), mask(90), defense=defense, attack=attack, eps=eps)
        for defense, attack, eps, right in (
            ("none", "pgd", 4 / 255, 40), ("none", "pgd", 8 / 255, 5), ("none", "fgsm", 4 / 255, 60),
            ("none", "fgsm", 8 / 255, 30), ("tecoa", "pgd", 4 / 255, 70), ("tecoa", "pgd", 8 / 255, 50),
        )
    ]  # fmt: skip
    (plot,) = plots.curves(report(*cards))
    lines = {series.name: [(mark.x, mark.y) for mark in series.marks] for series in plot.series}
    assert lines == {
        "tecoa, pgd": [(0.0, 90.0), (4 / 255, 70.0), (8 / 255, 50.0)],
        "none, fgsm": [(0.0, 90.0), (4 / 255, 60.0), (8 / 255, 30.0)],
        "none, pgd": [(0.0, 90.0), (4 / 255, 40.0), (8 / 255, 5.0)],
    }
    assert plot.x.names == ((0.0, "0"), (4 / 255, "4/255"), (8 / 255, "8/255"))
    assert {series.name: series.dash for series in plot.series}["none, pgd"] == 1
    assert plot.y.label == "accuracy under attack, %"


def test_lines_that_differ_in_the_seed_alone_have_names_of_their_own_whatever_boards_they_are_on(make_card: MakeCard):
    # At 4/255 there are two seeds, at 8/255 one: on that board nothing says which.
    radii = {0: (4 / 255, 8 / 255), 1: (4 / 255,)}
    cards = [make_card(mask(70 - seed), seed=seed, eps=eps) for seed, several in radii.items() for eps in several]
    (plot,) = plots.curves(report(*cards))
    assert {one.name: len(one.marks) for one in plot.series} == {"none, seed 0, pgd": 3, "none, seed 1, pgd": 2}


def test_a_severity_and_a_number_of_pixels_are_named_as_such(make_card: MakeCard):
    cards = [make_card(norm="L0", eps=eps) for eps in (8.0, 24.0)]
    (plot,) = plots.curves(report(*cards))
    assert [name for _, name in plot.x.names] == ["0", "8 px", "24 px"]
    cards = [make_card(norm="corruption", attack="corruption", eps=eps) for eps in (1.0, 3.0)]
    (plot,) = plots.curves(report(*cards))
    assert [name for _, name in plot.x.names] == ["0", "severity 1", "severity 3"]
    assert (plot.x.label, plot.y.label) == ("severity (0 is the clean accuracy)", "accuracy under corruption, %")
    assert plots.radius(cards[0].cell.threat) == "corruption severity 1"


def test_transfer_has_plots_of_its_own_that_do_not_say_robust(make_card: MakeCard):
    cards = [make_card(eps=eps) for eps in (4 / 255, 8 / 255)]
    cards += [make_card(access="transfer", surrogate="cnn", eps=eps) for eps in (4 / 255, 8 / 255)]
    white, through = plots.curves(report(*cards))
    assert white.title.endswith("white-box")
    assert through.title.endswith("transfer via cnn")
    assert through.y.label == "accuracy under transfer, %"
    assert "robust" not in f"{through.title} {through.y.label} {through.says}".lower()


def test_one_radius_is_no_curve(zoo: list[Card], make_card: MakeCard):
    assert list(plots.curves(report(make_card(), make_card(defense="jpeg")))) == []


# Training


def test_each_quantity_is_a_plot(make_card: MakeCard):
    card = logged(make_card(defense="tecoa"), {"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5, "accuracy": 0.5})
    other = logged(make_card(defense="vpt"), {"epoch": 1, "loss": 3.0})
    found = {plot.title: plot for plot in training_plots.training(report(make_card(), card, other))}
    assert set(found) == {"loss"}  # one accuracy is no curve
    lines = {one.name: [(mark.x, mark.y) for mark in one.marks] for one in found["loss"].series}
    assert lines == {"tecoa": [(1, 2.0), (2, 1.5)], "vpt": [(1, 3.0)]}
    assert found["loss"].x.label == "epoch"
    assert "tecoa ends at 1.5" in found["loss"].says


def test_fits_of_two_seeds_on_boards_of_their_own_have_names_of_their_own(make_card: MakeCard):
    history = ({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5})
    cards = [
        logged(make_card(defense="tecoa", seed=seed, weights=f"w{seed}", eps=eps), *history)
        for seed, eps in ((0, 4 / 255), (1, 8 / 255))
    ]
    (plot,) = training_plots.training(report(*cards))
    assert [one.name for one in plot.series] == ["tecoa, seed 0", "tecoa, seed 1"]
    cards[1] = logged(make_card(defense="tecoa", weights="w1", eps=8 / 255), *history)
    (plot,) = training_plots.training(report(*cards))
    assert [one.name for one in plot.series] == [f"tecoa (weights {card.model.defended[:8]})" for card in cards]


def test_validation_stands_beside_training(make_card: MakeCard):
    second = {"epoch": 2, "loss": 1.0, "validation_loss": 2.5, "validation_top5": 0.6}
    first = {"epoch": 1, "loss": 2.0, "validation_loss": 3.0, "validation_top5": 0.5}
    card = logged(make_card(defense="tecoa"), first, second)
    found = {plot.title: plot for plot in training_plots.training(report(make_card(), card))}
    assert set(found) == {"loss", "validation top5"}  # it has nothing to stand beside
    one, other = found["loss"].series
    assert (one.name, one.dash, [mark.y for mark in one.marks]) == ("tecoa", 0, [2.0, 1.0])
    assert (other.name, other.dash, [mark.y for mark in other.marks]) == ("tecoa, validation", 1, [3.0, 2.5])


def test_models_are_compared_by_their_accuracies(make_card: MakeCard):
    cards = []
    for place, (name, right) in enumerate((("mlp", 90), ("linear", 80), ("cnn", 70))):
        card = make_card(mask(right - 50), victim=name, clean=mask(right))
        card = msgspec.structs.replace(card, created=f"2026-01-01T00:00:0{place}Z")
        history = [{"epoch": 1, "accuracy": 0.5}, {"epoch": 2, "accuracy": (right + 5) / 100}]
        own = msgspec.structs.replace(card.training, history=history)
        cards.append(msgspec.structs.replace(card, model=msgspec.structs.replace(card.model, training=own)))
    (plot,) = model_accuracy.model_accuracy(report(*cards))
    found = {one.name: [(mark.x, mark.y) for mark in one.marks] for one in plot.series}
    assert found["test images"] == [(1, 90.0), (2, 80.0), (3, 70.0)]
    assert found["training images, in the last epoch"] == [(1, 95.0), (2, 85.0), (3, 75.0)]
    assert found["under attack, Linf 8/255"] == [(1, 40.0), (2, 30.0), (3, 20.0)]
    assert plot.x.spelled == ((1.0, "mlp"), (2.0, "linear"), (3.0, "cnn"))
    assert plot.title.endswith("1 mlp, 2 linear, 3 cnn")
    assert list(model_accuracy.model_accuracy(report(*cards[:2]))) == []


#: Model -> per seed, of 100 images those that are right, those that stand at 8/255, and the share of training images.
TWO_SEEDS = {"mlp": ((90, 40, 0.95), (80, 20, 0.85)), "linear": ((70, 10, 0.75),), "cnn": ((60, 5, 0.65),)}


def of_seed(make_card: MakeCard, victim: str, seed: int, **change: Any) -> Card:
    right, standing, trained = TWO_SEEDS[victim][seed]
    asked = {"robust": mask(standing), "weights": f"w{seed}", **change}
    card = make_card(victim=victim, clean=mask(right), seed=seed, **asked)
    card = msgspec.structs.replace(card, created=f"2026-01-01T00:00:0{list(TWO_SEEDS).index(victim)}Z")
    own = msgspec.structs.replace(card.training, history=[{"epoch": 1, "accuracy": trained}])
    return msgspec.structs.replace(card, model=msgspec.structs.replace(card.model, training=own))


def by_model(*cards: Card) -> tuple[dict[str, list[tuple[float, float]]], Plot]:
    (plot,) = model_accuracy.model_accuracy(report(*cards))
    return {one.name: [(mark.x, round(mark.y, 6)) for mark in one.marks] for one in plot.series}, plot


@pytest.fixture
def two_seeds(make_card: MakeCard) -> list[Card]:
    return [of_seed(make_card, victim, seed) for victim, seeds in TWO_SEEDS.items() for seed in range(len(seeds))]


@pytest.mark.parametrize("turn", [1, -1])
def test_all_accuracies_of_a_model_are_means_over_the_same_seeds(two_seeds: list[Card], turn: int):
    found, plot = by_model(*two_seeds[::turn])
    assert found == {
        "training images, in the last epoch": [(1, 90.0), (2, 75.0), (3, 65.0)],
        "test images": [(1, 85.0), (2, 70.0), (3, 60.0)],
        "under attack, Linf 8/255": [(1, 30.0), (2, 10.0), (3, 5.0)],
    }
    assert plot.x.spelled == ((1.0, "mlp (mean of seeds 0, 1)"), (2.0, "linear"), (3.0, "cnn"))
    assert plot.title == "digits: 1 mlp (mean of seeds 0, 1), 2 linear, 3 cnn"
    assert "test images: 85.0 %, 70.0 %, 60.0 %; under attack, Linf 8/255: 30.0 %, 10.0 %, 5.0 %." in plot.says


def test_the_intervals_are_those_of_the_tables_for_several_seeds(make_card: MakeCard, two_seeds: list[Card]):
    cards = [of_seed(make_card, "mlp", seed, weights="w0") for seed in (0, 1)] + two_seeds[2:]
    _, plot = by_model(*cards)
    (table,) = boards(cards)[0].repeated
    for series, several in zip(plot.series[1:], (table.clean, table.robust), strict=True):
        assert series.marks[0].upright == (100 * several.low, 100 * several.high)
    alone = [100 * end for end in proportion_confint(10, 100, method="wilson")]
    assert plot.series[2].marks[1].upright == pytest.approx(alone)


def test_seeds_that_were_not_measured_alike_are_not_mixed(make_card: MakeCard, two_seeds: list[Card]):
    # At 4/255 there is seed 0 alone, so that clean and all radii are of it.
    found, plot = by_model(*two_seeds, of_seed(make_card, "mlp", 0, robust=mask(60), eps=4 / 255))
    assert (found["test images"][0], found["training images, in the last epoch"][0]) == ((1, 90.0), (1, 95.0))
    assert (found["under attack, Linf 8/255"][0], found["under attack, Linf 4/255"]) == ((1, 40.0), [(1, 60.0)])
    assert plot.x.spelled[0] == (1.0, "mlp (seed 0)")
    # Seed 1 met one attack more, which seed 0 did not: what is left of the two is no mean.
    found, plot = by_model(*two_seeds, of_seed(make_card, "mlp", 1, robust=mask(15), attack="apgd"))
    assert (found["test images"][0], found["under attack, Linf 8/255"][0]) == ((1, 90.0), (1, 40.0))
    assert plot.x.spelled[0] == (1.0, "mlp (seed 0)")


def test_a_seed_that_is_not_ranked_is_in_no_mean_of_models(make_card: MakeCard, two_seeds: list[Card]):
    bad = {"verdict": "INVALID", "checks": [("ball", "invalid", "It left.")]}
    found, plot = by_model(of_seed(make_card, "mlp", 0, **bad), *two_seeds[1:])
    assert (found["test images"][0], found["under attack, Linf 8/255"][0]) == ((1, 80.0), (1, 20.0))
    assert plot.x.spelled[0] == (1.0, "mlp (seed 1)")


def test_protocols_have_lines_of_their_own(make_card: MakeCard, two_seeds: list[Card]):
    other = [of_seed(make_card, "mlp", seed, protocol="p", robust=mask(50), test="test") for seed in (0, 1)]
    other = [msgspec.structs.replace(card, id=card.id[::-1]) for card in other]
    found, _ = by_model(*two_seeds, *other)
    assert found["under attack, Linf 8/255"][0] == (1, 30.0)
    assert found["under attack, Linf 8/255, protocol p"] == [(1, 50.0)]


def test_costs_that_are_all_alike_are_no_chart(make_card: MakeCard):
    found = plots.pareto(report(make_card(trainable=7), make_card(defense="jpeg", trainable=7)))
    assert found["parameters"] == []


def test_logs_without_epochs_are_counted(make_card: MakeCard):
    (plot,) = training_plots.training(report(logged(make_card(defense="x"), {"loss": 3.0}, {"loss": 2.0})))
    assert [mark.x for mark in plot.series[0].marks] == [1.0, 2.0]
    assert plot.x.label == "logged point"


# Scales


@pytest.mark.parametrize(
    ("rough", "expected"), [(0.9, 1), (1.0, 1), (1.1, 2), (2.2, 2.5), (3, 5), (7, 10), (70, 100), (0.003, 0.005)]
)
def test_nice_steps(rough: float, expected: float):
    assert nice(rough) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (40, "40"), (20_000, "20k"), (3_500_000, "3.5M"), (2e9, "2G")]
)
def test_ticks_are_short(value: float, text: str):
    assert compact(value) == text


finite = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


@given(st.lists(finite, min_size=1, max_size=8), st.booleans(), st.booleans())
def test_every_value_and_tick_is_on_the_paper(values: list[float], zero: bool, cost: bool):
    if cost:
        values = [abs(value) for value in values]
    found = scale(Axis("x", zero=zero, cost=cost), values)
    places = [found(value) for value in (*values, *(tick for tick, _ in found.ticks))]
    assert all(-1e-6 <= place <= 1 + 1e-6 for place in places)
    assert len(found.ticks) <= 14
    ordered = sorted(values)
    assert [found(value) for value in ordered] == sorted(found(value) for value in ordered)


def test_percentages_end_at_a_hundred():
    found = scale(Axis("x", percent=True), [88.0, 99.9])
    assert isinstance(found, Linear)
    assert found.high == 100.0


def test_orders_of_magnitude_get_a_logarithmic_axis_with_room_for_nothing():
    found = scale(Axis("x", cost=True), [0.0, 10.0, 1000.0])
    assert isinstance(found, Logarithmic)
    assert found(0.0) == 0.0
    assert found(100.0) - found(10.0) == pytest.approx(found(1000.0) - found(100.0))
    assert found(10.0) > 0.1
    assert ("0") in [name for _, name in found.ticks]
    assert isinstance(scale(Axis("x", cost=True), [10.0, 15.0]), Linear)


def test_names_of_radii_do_not_stand_on_each_other():
    names = tuple((value, str(value)) for value in (0.0, 0.5, 1.0, 2.0, 8.0))
    found = scale(Axis("eps", names=names), [0.0, 8.0])
    assert [name for _, name in found.ticks] == ["0.0", "2.0", "8.0"]


@given(st.lists(st.floats(20, 240), max_size=12).map(sorted))
def test_labels_are_moved_apart(places: list[float]):
    moved = spread(places, 13, 18, 244)
    assert all(math.isclose(b - a, 13, abs_tol=1e-6) or b - a > 13 for a, b in pairwise(moved))
    assert all(place <= 244 + 1e-6 for place in moved)


def test_labels_with_room_stay_where_they_are():
    assert spread([20.0, 60.0, 100.0], 13, 18, 244) == [20.0, 60.0, 100.0]


# SVG


def parsed(plot: Plot) -> ElementTree.Element:
    return ElementTree.fromstring(str(draw(plot)))  # noqa: S314 - our own


def example(**change: Any) -> Plot:
    series = (
        Series("none", 0, (Mark(90.0, 10.0, (88.0, 92.0), (5.0, 15.0)),)),
        Series("tecoa", 1, (Mark(94.0, 60.0, (92.0, 96.0), (55.0, 65.0)),)),
    )
    plot = Plot("key", "Clean against robust", "a title", "what it says", CLEAN, ROBUST, series)
    return plot.__class__(**{**vars(plot), **change})


def test_marks_lie_where_their_axes_say():
    root = parsed(example())
    circles = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in root.iter("circle")]
    ticks = [one for one in root.iter("line") if one.get("class") == "tick"]
    labels = {one.text: float(one.get("x", "")) for one in root.iter("text") if one.get("text-anchor") == "middle"}
    assert len(ticks) >= 3
    # 90 % lies on its tick, and up is up.
    assert circles[0][0] == pytest.approx(labels["90"], abs=0.11)
    assert circles[1][1] < circles[0][1]


def test_it_has_a_title_and_a_description():
    root = parsed(example())
    assert root.get("role") == "img"
    told = {one.get("id"): one.text for one in root if one.tag in ("title", "desc")}
    assert told == {"key-title": "Clean against robust: a title", "key-desc": "what it says"}
    assert root.get("aria-labelledby") == "key-title"
    assert root.get("aria-describedby") == "key-desc"


@pytest.mark.parametrize("evil", ["<script>x</script>", '"><b>', "&amp;", "a & b", "\u202eabc", "x" * 500])
def test_names_cannot_leave_the_drawing(evil: str):
    series = (Series(evil, 0, (Mark(1.0, 2.0),)), Series("b", 1, (Mark(2.0, 3.0),)))
    root = parsed(example(title=evil, says=evil, x=Axis(evil), y=Axis(evil), series=series))
    assert {one.tag for one in root.iter()} <= {"svg", "title", "desc", "g", "line", "text", "circle", "path"}
    assert "\u202e" not in str(draw(example(title=evil, says=evil, series=series)))


def test_many_colours_are_told_apart_by_hollow_marks():
    assert 'class="series t1 d0"' in swatch(Series("a", 1, ()))
    assert 'class="series t1 d2 hollow"' in swatch(Series("a", 9, (), dash=2))


def test_the_page_and_the_figures_share_their_colours():
    from robench_leaderboard.render.svg_drawing import TONES
    from robench_leaderboard.report.figure_files import INKS

    style = Path(plots.__file__).parents[1] / "render" / "templates" / "shared.css"
    css = style.read_text()
    assert len(INKS) == TONES
    for tone, ink in enumerate(INKS):
        assert f".t{tone}{{--c:light-dark({ink}," in css
