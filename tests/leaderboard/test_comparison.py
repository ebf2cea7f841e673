"""Two cards or two folders, image by image: what flipped, by how much, and whether it could be noise."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console
from statsmodels.stats.contingency_tables import mcnemar

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.gallery import Gallery, Picture
from robench_leaderboard.compare.comparison import Comparison, Flips, compare_cards, compare_sets
from robench_leaderboard.compare.comparison_views import comparison_html, comparison_json, print_comparison
from robench_leaderboard.compare.flipped_pictures import flipped_images
from robench_leaderboard.statistics.paired_difference import tango

MakeCard = Callable[..., Card]
T, F = True, False


def first(correct: int, n: int = 100) -> list[bool]:
    return [place < correct for place in range(n)]


def printed(found: Comparison, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_comparison(found, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_flips_are_named_by_their_place():
    found = Flips.of([T, T, F, F, T], [T, F, T, F, F])
    assert (found.lost, found.won) == ((1, 4), (2,))
    assert (found.first.correct, found.second.correct, found.first.n) == (3, 2, 5)
    assert found.difference.points == pytest.approx(-20)
    assert found.difference.interval == pytest.approx(tuple(100 * end for end in tango(1, 2, 5)))


def test_two_cards(make_card: MakeCard):
    before = make_card([T] * 20 + [F] * 20, [T] * 40)
    after = make_card([T] * 5 + [F] * 15 + [T] * 10 + [F] * 10, [T] * 36 + [F] * 4, defense="jpeg", eps=4 / 255)
    (pair,) = compare_cards(before, after).pairs
    assert pair.title == "none on mlp under pgd -> jpeg on mlp under pgd"
    assert pair.measure == "accuracy under attack (white-box)"
    assert pair.differs[:2] == ("defense: none, jpeg", "eps: Linf 8/255, Linf 4/255")
    assert pair.clean.lost == (36, 37, 38, 39)
    assert pair.robust is not None
    assert (pair.robust.lost, pair.robust.won) == (tuple(range(5, 20)), tuple(range(20, 30)))
    expected = mcnemar([[5, 15], [10, 10]], exact=True).pvalue
    assert pair.robust.difference.p_value == pytest.approx(expected)
    assert not pair.significant


def test_a_transfer_result_is_never_called_robust(make_card: MakeCard):
    via = make_card(access="transfer", surrogate="cnn")
    (pair,) = compare_cards(make_card(), via).pairs
    assert pair.measure == "accuracy under attack (white-box and transfer)"
    assert "access: white-box, transfer via cnn" in pair.differs
    assert "robust accuracy" not in printed(compare_cards(make_card(), via))


@pytest.mark.parametrize("change", [{"test": "others"}, {"shape": (3, 8, 8)}, {"dataset": "letters", "test": "abc"}])
def test_cards_of_other_images_are_refused(make_card: MakeCard, change):
    with pytest.raises(CardError) as raised:
        compare_cards(make_card(), make_card(**change))
    assert str(raised.value).startswith("The two cards are not of the same test images (digits, n = 8, ")
    assert str(raised.value).endswith("run both on one dataset, with the same n.")


def test_a_card_beside_itself_has_no_flip(make_card: MakeCard):
    (pair,) = compare_cards(make_card(), make_card()).pairs
    assert (pair.differs, pair.significant) == ((), False)
    assert pair.robust is not None
    assert (pair.robust.lost, pair.robust.won, pair.robust.difference.points) == ((), (), 0)


def test_folders_are_compared_row_by_row_on_the_worst_case(make_card: MakeCard):
    before = [make_card(first(50)), make_card(first(60), defense="jpeg"), make_card(first(10), defense="gone")]
    after = [
        make_card(first(50)),
        make_card(first(60), defense="jpeg"),
        make_card(first(20), defense="jpeg", attack="apgd"),
        make_card(first(10), defense="new", eps=4 / 255),
    ]
    found = compare_sets(before, after)
    assert {pair.title: pair.significant for pair in found.pairs} == {
        "jpeg on mlp, digits, n = 100, Linf 8/255": True,
        "none on mlp, digits, n = 100, Linf 8/255": False,
    }
    jpeg = next(pair for pair in found.pairs if pair.title.startswith("jpeg"))
    assert jpeg.measure == "robust accuracy"
    assert jpeg.differs == ("attacks: pgd, apgd, pgd",)
    assert jpeg.robust is not None
    assert jpeg.robust.lost == tuple(range(20, 60))
    assert found.only_first == ("gone on mlp, digits, n = 100, Linf 8/255",)
    assert found.only_second == ("new on mlp, digits, n = 100, Linf 4/255",)


def test_the_correction_is_over_all_pairs(make_card: MakeCard):
    # Six images in one direction: p = .031 alone; beside another pair Holm asks for .025.
    before = [make_card(first(50), defense=name) for name in ("a", "b")]
    after = [make_card(first(44), defense="a"), make_card(first(50), defense="b")]
    assert [pair.significant for pair in compare_sets(before[:1], after[:1]).pairs] == [True]
    assert [pair.significant for pair in compare_sets(before, after).pairs] == [False, False]


def test_a_row_without_a_white_box_attack_has_only_clean_numbers(make_card: MakeCard):
    card = make_card(access="transfer", surrogate="cnn")
    found = compare_sets([card], [card])
    assert found.pairs[0].robust is None
    assert "there is no robust accuracy to compare" in printed(found)


@pytest.mark.parametrize("change", [{"test": "others"}, {"eps": 4 / 255}, {"victim": "vit"}, {"seed": 1}])
def test_folders_without_a_common_row_are_refused(make_card: MakeCard, change):
    with pytest.raises(CardError, match="have no row in common: none agrees in test images, norm, eps, victim"):
        compare_sets([make_card()], [make_card(**change)])


# Shown


def test_the_terminal_has_intervals_p_and_images(make_card: MakeCard):
    page = printed(compare_cards(make_card(first(60)), make_card(first(20), defense="jpeg")))
    assert "60.0 [50.2, 69.1]" in page
    assert "-40.0 [" in page
    assert "1.8e-12" in page
    assert "accuracy under attack (white-box), lost: images 20, 21, 22" in page
    assert "The two are told apart in accuracy under attack (white-box) (exact McNemar, Holm over the pairs" in page


def test_many_flips_are_counted_and_the_data_names_all(make_card: MakeCard):
    found = compare_cards(make_card(first(100)), make_card(first(0)))
    assert "59 and 40 more" in printed(found, 400)
    data = json.loads(json.dumps(comparison_json(found)))
    assert data["pairs"][0]["robust"]["lost"] == list(range(100))
    assert data["pairs"][0]["robust"]["difference"]["points"] == -100
    assert data["pairs"][0]["robust"]["first"]["rate"] == 1
    assert data["pairs"][0]["significant"] is True


def test_the_page_is_self_contained_and_says_the_same(make_card: MakeCard):
    page = comparison_html(compare_cards(make_card(first(60)), make_card(first(20), defense="jpeg")))
    assert "60.0 [50.2, 69.1]" in page
    assert "told apart in accuracy under attack" in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_page_shows_the_flipped_images_that_were_kept(make_card: MakeCard):
    before, after = make_card([T, T, F, F]), make_card([F, T, T, F], defense="jpeg")
    grey = np.full((1, 8, 8), 0.5, dtype=np.float32)

    def kept(*answers: tuple[int, int]) -> Gallery:
        return Gallery([Picture(index, 0, (0, answer), (0.9, 0.8), grey, grey / 2, None) for index, answer in answers])

    found = compare_cards(before, after)
    galleries = {before.id: kept((0, 0), (1, 0)), after.id: kept((0, 1), (3, 1))}
    (image,) = flipped_images(found.pairs[0], galleries)  # 2 flipped, too, and no picture of it was kept
    assert (image.index, image.label, image.what) == (0, before.data.classes[0], "lost")
    said = [(tile.name, tile.answer, tile.right) for tile in image.tiles[1:]]
    wrong = f"{before.data.classes[1]} 80 %"
    assert said == [("attacked, first", f"{image.label} 80 %", True), ("attacked, second", wrong, False)]
    page = comparison_html(found, galleries)
    assert "Of 2 images whose answer under attack flipped, those that a card's gallery kept." in page
    assert page.count('<img src="data:image/png;base64,') == 3
    (alone,) = flipped_images(found.pairs[0], {after.id: kept((0, 1))})
    assert alone.tiles[1].answer == "right"
    assert alone.tiles[1].source == ""
    assert "None of these images is among the pictures" in comparison_html(found)


def test_a_heading_names_images_and_n(make_card: MakeCard):
    page = comparison_html(compare_sets([make_card(), make_card(eps=4 / 255)], [make_card(), make_card(eps=4 / 255)]))
    assert '<h2 id="p1">none on mlp, digits, n = 8, Linf 4/255</h2>' in page
    assert '<li><a href="#p2">none on mlp, digits, n = 8, Linf 8/255</a></li>' in page
    assert "<title>Robustness compared, image by image: none on mlp, digits, n = 8, Linf 4/255 and 1 more" in page


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "[bold]x[/bold]", "\x1b[31m", "a\u202eb", "x" * 199])
def test_hostile_names_are_text(make_card: MakeCard, name: str):
    found = compare_cards(make_card(), make_card(defense=name, victim=name, attack=name))
    page, shown = comparison_html(found), printed(found)
    assert "<script" not in page
    assert not set(page + shown) & set("\x1b\u202e")
    assert max(map(len, shown.splitlines())) <= 120 or "images" in shown
    json.loads(json.dumps(comparison_json(found)))


def test_a_folder_without_cards_is_said_to_be_one(make_card):
    for first, second, place in (([], [], "first"), ([], [make_card()], "first"), ([make_card()], [], "second")):
        with pytest.raises(CardError, match=f"^There are no cards in the {place} folder; name folders that"):
            compare_sets(first, second)
