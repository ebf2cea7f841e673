"""Published figures are put beside the cards that measured the same, and beside no other."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from robench.errors import SpecError
from robench.plan.published_figures import Published, Stated, read_published
from robench.plan.published_ledger import ledger
from robench.plan.published_rows import beside, pair
from robench.plan.suite import read_suite
from robench_leaderboard.compare.published_vs_measured import print_published, published_page
from robench_leaderboard.ranking.published_beside import COLUMNS, LEGEND, lines

WRONG = [True] * 60 + [False] * 40


def stated(clean=90, robust=60, note="", **which):
    figures = {name: value for name, value in (("clean", clean), ("robust", robust)) if value is not None}
    return read_published({**figures, "source": "paper, table 1", "note": note, **which}, "here")


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


def selected(cards, figure="robust", **which):
    found = [pairing for pairing in pair([stated(**which)], cards) if pairing.figure == figure]
    return [cards.index(card) for card in found[0].cards]


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"defense": "none"}, [0]),
        # The bare name is the component as it comes, and no variant of it.
        ({"defense": "tecoa", "eps": 8 / 255}, [1, 5, 6]),
        ({"defense": "tecoa[epochs=5]"}, [2]),
        ({"defense": "tecoa[epochs=1]"}, []),
        ({"defense": "vpt"}, []),
        ({"defense": "vpt[tokens=20]"}, [3]),
        ({"defense": "vpt[tokens=5]"}, []),
        ({"defense": "tecoa", "surrogate": ""}, [1, 4]),
        ({"defense": "tecoa", "surrogate": "resnet20"}, [5]),
        ({"defense": "tecoa", "surrogate": "self"}, [6]),
        ({"eps": 4 / 255}, [4]),
        ({"norm": "L2"}, []),
        ({"dataset": "cifar10"}, []),
        ({"train_dataset": ""}, [0, 1, 2, 3, 4, 5, 6]),
        ({"train_dataset": "cifar100"}, []),
        ({"protocol": "protocol:ttc"}, []),
        ({"protocol": "PGD-7 on normalised images"}, [0, 1, 2, 3, 4, 5, 6]),
        ({"victim": "mlp", "attack": "pgd", "defense": "none"}, [0]),
        ({"second_hand": True}, None),
    ],
)
def test_which_cards_are_beside_it(cards, which, found):
    if found is None:
        assert pair([stated(**which)], cards) == []
    else:
        assert selected(cards, **which) == found


def test_a_clean_figure_depends_on_no_attack_and_is_compared_once(cards):
    # Six cards of three rows: tecoa met three attacks, all with one clean outcome.
    assert selected(cards, "clean", defense="tecoa", eps=0.1, attack="apgd", surrogate="resnet20") == [1]
    assert selected(cards, "clean") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ({"defense": "tecoa", "eps": 0.05}, "not run: eps 8/255 for 0.05"),
        ({"defense": "none", "eps": 0.1, "norm": "L2"}, "not run: norm Linf for L2, eps 8/255 for 0.1"),
        ({"defense": "none", "attack": "apgd"}, "not run: attack pgd for apgd"),
        ({"defense": "none", "surrogate": "resnet20"}, "not run: surrogate none for resnet20"),
        ({"defense": "tecoa[epochs=1]", "eps": 8 / 255, "surrogate": ""}, "not run: defense epochs 5 for 1"),
        ({"defense": "vpt[tokens=10]"}, "not run: defense tokens 20 for 10"),
        ({"defense": "vpt"}, "not run: defense tokens 20, which is not stated"),
        ({"defense": "none", "protocol": "protocol:ttc"}, "not run: protocol none for ttc"),
        ({"defense": "none", "train_dataset": "cifar100"}, "not run: train dataset none for cifar100"),
        ({"defense": "fare"}, "not run"),
    ],
)
def test_what_was_run_instead_is_said(cards, which, said):
    (line,) = lines(pair([stated(None, 50, **which)], cards))
    assert line[4] == said


def test_an_override_leaves_the_clean_figure_where_it_was(make_card):
    # robench run suite:report-003-mnist --eps 0.1
    row = {"victim": "mlp", "defense": "none", "attack": "pgd", "eps": 0.05, "surrogate": ""}
    found = lines(pair([stated(90, 60, **row)], [make_card(WRONG, [True] * 90 + [False] * 10, eps=0.1)]))
    assert [(line[0], line[1], line[4]) for line in found] == [
        ("mlp / none", "clean", "inside"),
        ("mlp, none, pgd", "robust", "not run: eps 0.1 for 0.05"),
    ]


def test_one_epoch_figures_are_never_beside_a_five_epoch_row(make_card):
    """The recipe of report 001's suite, but for the number of epochs and tokens."""
    recipe = {"init": "tecoa", "tokens": 10, "learning_rate": 0.01, "batch_size": 64, "schedule": "constant"}
    recipe |= {"adversary": "transfer", "surrogate": "resnet20", "eps": 8 / 255, "attack_steps": 7}
    recipe |= {"step_size": 2 / 255}
    shared = {
        "dataset": "cifar10", "dataset_changed": {"train": 10000, "val": 5000}, "victim": "clip-vit-b32",
        "attack": "pgd", "attack_changed": {"steps": 7, "step_size": 2 / 255}, "access": "transfer",
        "surrogate": "resnet20", "defense": "vpt",
    }  # fmt: skip
    stated = {}
    for epochs in (1, 5, 10):
        card = make_card(WRONG, [True] * 100, defense_changed={**recipe, "epochs": epochs}, **shared)
        stated[epochs] = [(each.figure, each.published.figures[each.figure]) for each in beside(ledger(), [card])]
    assert stated == {
        1: [("clean", 86.82), ("robust", 64.14)],
        5: [("clean", 88.52), ("robust", 74.02)],
        10: [],
    }
    more = make_card(WRONG, [True] * 100, defense_changed={**recipe, "epochs": 5, "tokens": 20}, **shared)
    assert beside(ledger(), [more]) == []


def test_where_a_folder_lies_does_not_matter(make_card):
    card = make_card(WRONG, [True] * 100, dataset="imagefolder", dataset_changed={"path": "/data/a"})
    found = {"dataset": "imagefolder", "victim": "mlp", "defense": "none"}
    assert lines(pair([stated(90, None, **found)], [card]))[0][4].startswith("not run: dataset path")
    hashed = msgspec.structs.replace(card.cell.dataset, hashed={"path": "sha256 of the images"})
    card = msgspec.structs.replace(card, cell=msgspec.structs.replace(card.cell, dataset=hashed))
    assert lines(pair([stated(90, None, **found)], [card]))[0][0] == "mlp / none"


def test_a_figure_is_inside_above_or_below_the_interval(make_card):
    card = make_card(WRONG, [True] * 90 + [False] * 10)  # 90 [82.6, 94.5] and 60 [50.2, 69.1]
    found = lines(pair([stated(90, 60), stated(99, 30), stated(50, 70)], [card]))

    assert [(line[1], line[2], line[4]) for line in found] == [
        ("clean", "90.00", "inside"), ("under attack", "60.00", "inside"),
        ("clean", "99.00", "4.5 above"), ("under attack", "30.00", "20.2 below"),
        ("clean", "50.00", "32.6 below"), ("under attack", "70.00", "0.9 above"),
    ]  # fmt: skip
    assert found[0] == (
        "mlp / none", "clean", "90.00", "90.00 [82.6, 94.5]", "inside", "VALID", "paper, table 1",
    )  # fmt: skip


def test_what_was_not_run_is_said(cards):
    found = lines(pair([stated(None, 50, defense="fare", surrogate="")], cards))

    assert found == [("fare", "robust", "50.00", "-", "not run", "-", "paper, table 1")]


def test_the_access_is_named(cards):
    kinds = [stated(None, 50, surrogate=""), stated(None, 50, surrogate="resnet20"), stated(None, 50)]
    assert [lines(pair([row], []))[0][1] for row in kinds] == ["robust", "via resnet20", "under attack"]


def test_the_page_is_markdown_that_obeys_nothing(cards):
    row = stated(90, None, "wrong <b>std</b>", defense="none")
    page = published_page({"A | title": pair([row], cards)})

    assert page.startswith("# Published beside measured\n\n## A &#124; title\n\n| " + " | ".join(COLUMNS) + " |\n")
    assert "| mlp / none | clean | 90.00 |" in page
    assert "<b>" not in page
    assert page.rstrip().endswith(LEGEND)


def test_the_page_has_a_part_for_each_suite_and_one_for_all_else(cards):
    of = {clean: pair([stated(clean, None, defense="none")], cards) for clean in (80, 90, 95)}
    page = published_page({"A": of[90], "B": of[80], "none": []}, of[95])
    assert [line for line in page.splitlines() if line.startswith("#") or "| clean |" in line] == [
        "# Published beside measured",
        "## A",
        "| mlp / none | clean | 90.00 | 100.00 \\[96.3, 100.0\\] | 6.3 below | VALID | paper, table 1 |",
        "## B",
        "| mlp / none | clean | 80.00 | 100.00 \\[96.3, 100.0\\] | 16.3 below | VALID | paper, table 1 |",
        "## Other published figures",
        "| mlp / none | clean | 95.00 | 100.00 \\[96.3, 100.0\\] | 1.3 below | VALID | paper, table 1 |",
    ]
    assert page.count(LEGEND) == 1


def test_the_terminal_shows_the_same(cards):
    out = io.StringIO()
    print_published(pair([stated(90, 60, "a note", defense="none")], cards), Console(file=out, width=160))

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
        ({"source": "x"}, "here: a published row holds clean, robust, train or another of its figures, in percent."),
        ({"clean": 101, "source": "x"}, "here: clean of a published row is in percent, and 101 is not in 0..100."),
        ({"clean": -1, "source": "x"}, "here: clean of a published row is in percent, and -1 is not in 0..100."),
        ({"clean": 5, "source": "x", "eps": "8 of 255"}, "eps '8 of 255' is not a number"),
    ],
)
def test_what_cannot_be_used_is_said(table, sentence):
    with pytest.raises(SpecError) as raised:
        read_published(table, "here")
    assert sentence in str(raised.value)


def test_a_suite_holds_published_rows_of_its_own(tmp_path):
    path = tmp_path / "report.toml"
    path.write_text("""
    title = "Report"
    [parameters]
    defense.epochs = 10
    [[published]]
    defense = "lora-ce[dropout=0.1]"
    surrogate = "resnet20"
    eps = "8/255"
    clean = 91.70
    robust = 82.08
    source = "report 000"
    """)
    (row,) = read_suite(path).published

    assert row == Published(
        figures={"clean": 91.70, "robust": 82.08},
        source="report 000",
        which={"defense": Stated("lora-ce", {"dropout": "0.1"}, {"epochs": "10"}), "surrogate": Stated("resnet20")},
        eps=8 / 255,
    )
    path.write_text("published = 5")
    with pytest.raises(SpecError, match=r"write each published row as a \[\[published\]\] table"):
        read_suite(path)


def test_numbers_are_compared_by_what_they_are(make_card):
    changed = {"learning_rate": 0.01, "step_size": 2 / 255, "freeze": False, "targets": "q k", "prefix": ""}
    card = make_card(WRONG, [True] * 100, defense="vpt", defense_changed=changed)
    inside = 'learning_rate=1e-2,step_size=2/255,freeze=false,targets=q k,prefix=""'
    assert selected([card], defense=f"vpt[{inside}]") == [0]
    assert selected([card], defense=f"vpt[{inside},epochs=5]") == []


def test_a_figure_stands_as_it_was_published_and_top_five_beside_top_five(make_card):
    card = make_card(WRONG, [True] * 100)
    table = {"clean": 93.6111111111111, "clean_top5": 100, "robust_top5": 88.72, "source": "a report"}
    found = lines(pair([read_published(table, "suite x")], [card]))
    assert [(line[1], line[2]) for line in found] == [
        ("clean", "93.6111"), ("clean, top-5", "100.00"), ("under attack, top-5", "88.72"),
    ]  # fmt: skip
    top5 = card.robust.top5
    assert found[2][3].startswith(f"{100 * top5 / 100:.2f} [" if top5 is not None else "-")
