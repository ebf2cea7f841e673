"""Published figures are put beside the cards that measured the same, and beside no other."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from robench.errors import SpecError
from robench.plan.published_figures import Published, pair, read_published
from robench.plan.suite import read_suite
from robench_leaderboard.compare.published_vs_measured import COLUMNS, LEGEND, lines, print_published, published_page

WRONG = [True] * 60 + [False] * 40


def stated(clean=0.9, robust=0.6, note="", **which):
    figures = {name: value for name, value in (("clean", clean), ("robust", robust)) if value is not None}
    return Published(which, figures, "paper, table 1", note)


@pytest.fixture
def cards(make_card):
    mask = [True] * 100
    return [
        make_card(WRONG, mask),
        make_card(WRONG, mask, defense="tecoa"),
        make_card(WRONG, mask, defense="tecoa", defense_changed={"epochs": 5}),
        make_card(WRONG, mask, defense="vpt", defense_changed={"tokens": 20}),
        make_card(WRONG, mask, defense="tecoa", eps=4 / 255),
        make_card(WRONG, mask, defense="tecoa", access="transfer", surrogate="resnet20"),
        make_card(WRONG, mask, defense="tecoa", access="transfer", surrogate="mlp", surrogate_is_victim=True),
    ]


def selected(cards, **which):
    (pairing,) = pair([stated(**which)], cards)
    return [cards.index(card) for card in pairing.cards]


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"defense": "none"}, [0]),
        # The bare name is the component as it comes; its variants are asked for by their label.
        ({"defense": "tecoa", "eps": 8 / 255}, [1, 5, 6]),
        ({"defense": "tecoa[epochs=5]"}, [2]),
        ({"defense": "vpt"}, [3]),
        ({"defense": "vpt[tokens=5]"}, []),
        ({"defense": "tecoa", "surrogate": ""}, [1, 4]),
        ({"defense": "tecoa", "surrogate": "resnet20"}, [5]),
        ({"defense": "tecoa", "surrogate": "self"}, [6]),
        ({"eps": 4 / 255}, [4]),
        ({"dataset": "cifar10"}, []),
        ({"victim": "mlp", "attack": "pgd", "defense": "none"}, [0]),
    ],
)
def test_which_cards_are_beside_it(cards, which, found):
    assert selected(cards, **which) == found


def test_a_figure_is_inside_above_or_below_the_interval(make_card):
    card = make_card(WRONG, [True] * 90 + [False] * 10)  # 90 [82.6, 94.5] and 60 [50.2, 69.1]
    found = lines(pair([stated(0.9, 0.6), stated(0.99, 0.3), stated(0.5, 0.7)], [card]))

    assert [(line[1], line[2], line[4]) for line in found] == [
        ("clean", "90.00", "inside"), ("under attack", "60.00", "inside"),
        ("clean", "99.00", "4.5 above"), ("under attack", "30.00", "20.2 below"),
        ("clean", "50.00", "32.6 below"), ("under attack", "70.00", "0.9 above"),
    ]  # fmt: skip
    assert found[0] == (
        "mlp / none / pgd at 8/255", "clean", "90.00", "90.00 [82.6, 94.5]", "inside", "VALID", "paper, table 1",
    )  # fmt: skip


def test_what_was_not_run_is_said(cards):
    found = lines(pair([stated(None, 0.5, defense="fare", surrogate="")], cards))

    assert found == [("fare", "robust", "50.00", "-", "not run", "-", "paper, table 1")]


def test_the_access_is_named(cards):
    kinds = [stated(None, 0.5, surrogate=""), stated(None, 0.5, surrogate="resnet20"), stated(None, 0.5)]
    assert [lines(pair([row], []))[0][1] for row in kinds] == ["robust", "via resnet20", "under attack"]


def test_the_page_is_markdown_that_obeys_nothing(cards):
    row = stated(0.9, None, "wrong <b>std</b>", defense="none")
    page = published_page("A | title", pair([row], cards))

    assert page.startswith("# A &#124; title\n\n| " + " | ".join(COLUMNS) + " |\n")
    assert "| mlp / none / pgd at 8/255 | clean | 90.00 |" in page
    assert "<b>" not in page
    assert page.rstrip().endswith(LEGEND)


def test_the_terminal_shows_the_same(cards):
    out = io.StringIO()
    print_published(pair([stated(0.9, 0.6, "a note", defense="none")], cards), Console(file=out, width=160))

    said = out.getvalue()
    assert "Published beside measured" in said
    assert "90.00" in said
    assert "a note" in said
    assert "inside" in said


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (5, "here: write each published row as a [[published]] table."),
        ({"clean": 50, "sorce": "x"}, "here: 'sorce' is no key of a published row; did you mean 'source'?"),
        ({"clean": "50", "source": "x"}, "here: clean of a published row must be a number in percent, not '50'."),
        ({"clean": True, "source": "x"}, "here: clean of a published row must be a number in percent, not True."),
        ({"clean": 50, "source": 3}, "here: source of a published row must be text, not 3."),
        ({"clean": 50}, "here: a published row needs its source, such as a paper and table."),
        ({"source": "x"}, "here: a published row holds clean, robust, clean_top5 or robust_top5, in percent."),
        ({"clean": 101, "source": "x"}, "here: clean of a published row is in percent, and 101 is not in 0..100."),
        ({"clean": -1, "source": "x"}, "here: clean of a published row is in percent, and -1 is not in 0..100."),
        ({"clean": 5, "source": "x", "eps": "8 of 255"}, "eps '8 of 255' is not a number"),
    ],
)
def test_what_cannot_be_used_is_said(table, sentence):
    with pytest.raises(SpecError) as raised:
        read_published(table, "here")
    assert sentence in str(raised.value)


def test_a_suite_holds_published_rows(tmp_path):
    path = tmp_path / "report.toml"
    path.write_text("""
    title = "Report"
    [[published]]
    defense = "lora-ce"
    surrogate = "resnet20"
    eps = "8/255"
    clean = 91.70
    robust = 82.08
    source = "report 000"
    """)
    (row,) = read_suite(path).published

    assert row == Published(
        {"defense": "lora-ce", "surrogate": "resnet20", "eps": 8 / 255},
        {"clean": 0.917, "robust": pytest.approx(0.8208)},
        "report 000",
    )
    path.write_text("published = 5")
    with pytest.raises(SpecError, match=r"write each published row as a \[\[published\]\] table"):
        read_suite(path)


def test_a_variant_has_the_parameters_in_the_brackets_whatever_else_was_changed(cards, make_card):
    changed = {"tokens": 20, "learning_rate": 0.01, "step_size": 2 / 255}
    other = [*cards, make_card(WRONG, [True] * 100, defense="vpt", defense_changed=changed)]
    assert selected(other, defense="vpt[tokens=20]") == [3]
    assert selected(other, defense="vpt[learning_rate=1e-2]") == [7]
    assert selected(other, defense="vpt[step_size=2/255,tokens=20]") == [7]
    assert selected(other, defense="vpt[tokens=20,epochs=5]") == []


def test_a_figure_stands_as_it_was_published_and_top_five_beside_top_five(make_card):
    card = make_card(WRONG, [True] * 100)
    table = {"clean": 93.6111111111111, "clean_top5": 100, "robust_top5": 88.72, "source": "a report"}
    found = lines(pair([read_published(table, "suite x")], [card]))
    assert [(line[1], line[2]) for line in found] == [
        ("clean", "93.6111"), ("clean, top-5", "100.00"), ("under attack, top-5", "88.72"),
    ]  # fmt: skip
    top5 = card.robust.top5
    assert found[2][3].startswith(f"{100 * top5 / 100:.2f} [" if top5 is not None else "-")
