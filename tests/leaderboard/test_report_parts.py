"""Pictures, confusions, provenance and sentences of the report: their parts, known by hand."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from robench.evidence.card import Card
from robench.evidence.gallery import Picture
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.render import formatting
from robench_leaderboard.report.confusion_matrices import class_scores, confusion, one_versus_rest, share
from robench_leaderboard.report.pictures import FACTORS, HEAT, SIDE, address, colours, heat, magnification, show
from robench_leaderboard.report.provenance import provenance, repeat_command
from robench_leaderboard.report.report_data import Report
from robench_leaderboard.report.results_table import claims, results, transfer_tables

MakeCard = Callable[..., Card]
replace = msgspec.structs.replace


def opened(source: str) -> Any:
    head, _, body = source.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


def picture(clean: Any, adversarial: Any, saliency: Any = None) -> Picture:
    return Picture(0, 0, (0, 1), (0.9, 0.8), np.float32(clean), np.float32(adversarial), saliency)


# Pictures


def test_pixels_come_out_as_they_went_in():
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 7))
    shown = show(picture(image / 255, image / 255), 1)
    assert np.array_equal(opened(shown.clean), image.transpose(1, 2, 0))
    assert (shown.width, shown.height) == (7, 5)


def test_a_difference_is_magnified_around_grey():
    clean = np.full((3, 2, 2), 0.5)
    moved = clean.copy()
    moved[0, 0, 0] += 8 / 255
    moved[1, 1, 1] -= 8 / 255
    found = opened(show(picture(clean, moved), 10).difference).astype(int)
    assert found[0, 0].tolist() == [round(127.5 + 80), 128, 128]
    assert found[1, 1].tolist() == [128, round(127.5 - 80), 128]
    assert (found[0, 1] == 128).all()


@pytest.mark.parametrize(
    ("eps", "factor"), [(8 / 255, 10), (4 / 255, 20), (0.5 / 255, 200), (0.3, 1), (0.0, 500), (1.0, 1), (0.25, 2)]
)
def test_the_factor_keeps_a_difference_within_half_the_range(eps: float, factor: int):
    pictures = [picture(np.zeros((1, 2, 2)), np.full((1, 2, 2), eps / 2)), picture([[[0.0]]], [[[eps]]])]
    assert magnification(pictures) == factor
    assert factor in FACTORS


def test_one_channel_is_grey_and_more_than_three_show_the_first():
    assert colours(np.full((1, 2, 2), 1.0)).tolist() == [[[255] * 3] * 2] * 2
    assert colours(np.stack([np.full((1, 1), value) for value in (1.0, 0.0, 1.0, 0.5)])).tolist() == [[[255, 0, 255]]]


def test_a_heat_map_is_scaled_to_its_largest_value():
    found = opened(heat(np.array([[0.0, 2.0], [4.0, 4.0]])))
    assert found[0, 0].tolist() == list(HEAT[0])
    assert found[1, 0].tolist() == found[1, 1].tolist() == list(HEAT[-1])
    assert opened(heat(np.zeros((2, 2)))).reshape(-1, 3).tolist() == [list(HEAT[0])] * 4


def test_brighter_is_more_all_along_the_heat_map():
    found = opened(heat(np.arange(256.0).reshape(16, 16))).reshape(-1, 3)
    luminance = found @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) >= -0.5).all()


def test_large_images_are_reduced():
    shown = show(picture(np.zeros((3, 300, 600)), np.zeros((3, 300, 600))), 1)
    assert (shown.width, shown.height) == (SIDE, SIDE // 2)
    assert opened(shown.clean).shape == (SIDE // 2, SIDE, 3)


def test_the_same_pixels_give_the_same_address():
    pixels = np.random.default_rng(1).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    assert address(pixels) == address(pixels.copy())


# Confusions


def confused(make_card: MakeCard, classes: int, seed: int = 0) -> Card:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 400)
    answers = np.where(rng.random(400) < 0.7, labels, rng.integers(0, classes, 400))
    card = make_card()
    counts = confusion_matrix(labels, answers, labels=range(classes)).tolist()
    names = [f"class {place}" for place in range(classes)]
    return replace(
        card, data=replace(card.data, classes=names), robust=replace(card.robust, confusion=counts), clean=card.clean
    )


def test_few_classes_are_numbers_many_are_a_picture(make_card: MakeCard):
    card = confused(make_card, 20)
    found = confusion(card, card.robust)
    assert found is not None
    assert found.picture == ""
    card = confused(make_card, 21)
    found = confusion(card, card.robust)
    assert found is not None
    assert opened(found.picture).shape == (63, 63, 3)


def test_the_picture_is_blue_where_right_and_red_where_wrong(make_card: MakeCard):
    card = confused(make_card, 30)
    counts = np.array(card.robust.confusion)
    found = confusion(card, card.robust)
    assert found is not None
    pixels = opened(found.picture)[1::3, 1::3].astype(int)
    for label in range(30):
        for answer in range(30):
            red, _, blue = pixels[label, answer]
            if counts[label, answer] == 0:
                assert pixels[label, answer].tolist() == [255] * 3
            else:
                assert (blue > red) == (label == answer)


def test_the_largest_mistakes_are_named(make_card: MakeCard):
    card = make_card()
    robust = replace(card.robust, confusion=[[5, 3], [1, 7]])
    found = confusion(card, robust)
    assert found is not None
    assert found.mistakes == (("0", "1", 3), ("1", "0", 1))
    assert share([5, 3], 3) == 0.375
    assert share([0, 0], 0) == 0.0


@pytest.mark.parametrize("counts", [None, [], [[1]], [[1, 2], [3]], [[1, 2], [3, 4], [5, 6]]])
def test_a_matrix_that_does_not_fit_its_classes_is_none(make_card: MakeCard, counts: Any):
    card = make_card()
    assert confusion(card, replace(card.robust, confusion=counts)) is None


def test_class_scores_are_those_of_the_card(make_card: MakeCard):
    card = make_card()
    clean = replace(card.clean, per_class=[[0.9, 0.8, 0.85, 50.0], [0.7, 0.6, 0.65, 30.0]])
    robust = replace(card.robust, per_class=[[0.5, 0.4, 0.45, 50.0], [0.3, 0.2, 0.25, 30.0]])
    first, second = class_scores(replace(card, clean=clean, robust=robust))
    assert (first.name, first.images, first.clean, first.robust) == (
        "0",
        50,
        (0.9, 0.8, 0.85, None),
        (0.5, 0.4, 0.45, None),
    )
    assert (second.name, second.images) == ("1", 30)


def test_of_many_classes_those_that_fall_are_listed(make_card: MakeCard):
    card = make_card()
    clean = [[1.0, 1.0, 1.0, 10.0]] * 100
    robust = [[1.0, 0.2 if place % 3 == 0 else 0.9, 1.0, 10.0] for place in range(100)]
    whole = replace(
        card,
        data=replace(card.data, classes=[str(place) for place in range(100)]),
        clean=replace(card.clean, per_class=clean),
        robust=replace(card.robust, per_class=robust),
    )
    found = [entry.name for entry in class_scores(whole)]
    assert found == [str(place) for place in range(0, 90, 3)]


def test_class_rows_of_another_length_are_left_out(make_card: MakeCard):
    card = make_card()
    assert class_scores(replace(card, clean=replace(card.clean, per_class=[[1.0], [1.0, 2.0, 3.0, 4.0, 5.0]]))) == []


# The command that repeats a card


def options(card: Card) -> dict[str, list[str]]:
    words = shlex.split(repeat_command(card))
    assert words[:2] == ["robench", "run"]
    found: dict[str, list[str]] = {}
    for name, value in zip(words[2::2], words[3::2], strict=True):
        found.setdefault(name, []).append(value)
    return found


def test_the_command_names_the_cell(make_card: MakeCard):
    card = make_card(defense="tecoa", defense_changed={"epochs": 5}, attack_changed={"steps": 50}, seed=3)
    card = replace(card, cell=replace(card.cell, given={"n": 8}))
    assert options(card) == {
        "--dataset": ["digits"],
        "--victim": ["mlp"],
        "--defense": ["tecoa[epochs=5]"],
        "--attack": ["pgd[steps=50]"],
        "--norm": ["Linf"],
        "--eps": ["8/255"],
        "--seed": ["3"],
        "--n": ["8"],
    }


def test_the_whole_split_is_not_named_by_its_size(make_card: MakeCard):
    assert "--n" not in options(make_card())


def test_surrogates(make_card: MakeCard):
    through = make_card(access="transfer", surrogate="cnn")
    assert options(through)["--surrogate"] == ["cnn"]
    own = make_card(access="transfer", surrogate="mlp", surrogate_is_victim=True)
    assert options(own)["--surrogate"] == ["self"]


@pytest.mark.parametrize("eps", [0.5 / 255, 0.031, 0.1234567891, 8 / 255])
def test_the_radius_is_exact(make_card: MakeCard, eps: float):
    from robench.contracts.threat_model import parse_eps

    assert parse_eps(options(make_card(eps=eps))["--eps"][0]) == eps


def test_values_with_commas_cannot_stand_in_brackets(make_card: MakeCard):
    card = make_card(defense="lora", defense_changed={"targets": "q_proj,v_proj", "bias": None, "deep": True})
    found = options(card)
    assert found["--defense"] == ["lora"]
    assert found["-p"] == ["lora.bias=none", "lora.deep=true", "lora.targets=q_proj,v_proj"]


def test_the_command_is_quoted_for_a_shell(make_card: MakeCard):
    evil = "x; rm -rf ~ $(id) `id` 'a"
    card = make_card(victim=evil, dataset_changed={"path": "my photos"})
    assert options(card)["--victim"] == [evil]
    assert options(card)["--dataset"] == ["digits[path=my photos]"]


def test_provenance_pins_data_weights_and_code(make_card: MakeCard):
    card = make_card(train="train", train_n=10, packages={"torch": "2.11.0", "numpy": "2.0"})
    groups = {name: dict(entries) for name, entries in provenance(card)}
    pins = groups["Fingerprints"]
    assert pins["cell"] == card.id
    assert pins["test images"] == card.data.test
    assert pins["training images"] == card.data.train
    assert pins["defended weights"] == card.model.defended
    assert pins["adversarial images"] == card.adversarial.fingerprint
    assert groups["Made with"]["packages"] == "numpy 2.0, torch 2.11.0"
    assert groups["Made with"]["robench"] == "0.1.0, revision not a checkout"
    assert dict(provenance(make_card()))["Fingerprints"][2] == ("training images", "none used")


# Sentences and tables


def mask(right: int, n: int = 100) -> list[bool]:
    return [place < right for place in range(n)]


def said(*cards: Card) -> list[str]:
    return [sentence for _, sentence in claims(Report(tuple(boards(cards)), {}))]


def test_a_leader_a_tie_and_nobody(make_card: MakeCard):
    none, good = make_card(mask(10), mask(95)), make_card(mask(60), mask(90), defense="tecoa")
    assert said(none, good) == [
        "tecoa leads with 60.0 [50.2, 69.1] % robust, +50.0 points over the undefended victim, at 90.0 [82.6, 94.5] % "
        "clean."
    ]
    tied = make_card(mask(58), mask(88), defense="vpt")
    (sentence,) = said(none, good, tied)
    assert sentence.startswith("tecoa and vpt lead and are not told apart: 60.0 [50.2, 69.1] and 58.0 [48.2, 67.2] %")
    suspect = make_card(verdict="SUSPECT", checks=[("x", "suspect", "why")])
    assert said(suspect) == ["Nothing may be ranked here; the reasons are below the table."]
    assert said(none) == ["none reaches 10.0 [5.5, 17.4] % robust, at 95.0 [88.8, 97.8] % clean."]


def test_a_crowd_is_counted(make_card: MakeCard):
    (sentence,) = said(*(make_card(mask(50), defense=name) for name in "abcde"))
    assert sentence.startswith("a, b and 3 others lead and are not told apart: 50.0 [40.4, 59.6] and 50.0")


def test_columns_on_which_all_rows_agree_are_said_once(make_card: MakeCard, zoo: list[Card]):
    one = results(Report(tuple(boards([make_card(), make_card(defense="jpeg")])), {}))
    headings = [column.heading for column in one.columns]
    assert "victim" not in headings
    assert "transfer %" not in headings
    assert dict(one.shared) == {"victim": "mlp", "images": "digits, n = 8", "evidence": "reported"}
    all_kinds = results(Report(tuple(boards(zoo)), {}))
    assert {"victim", "transfer %"} <= {column.heading for column in all_kinds.columns}
    victim = next(column for column in all_kinds.columns if column.heading == "victim")
    assert all_kinds.choices(victim) == ["mlp", "vit"]


def test_the_transfer_matrix_has_white_box_beside_it(make_card: MakeCard):
    def via(surrogate: str, right: int, attack: str = "pgd") -> Card:
        return make_card(mask(right), defense="tecoa", access="transfer", surrogate=surrogate, attack=attack)

    cards = [make_card(mask(30), defense="tecoa"), make_card(mask(40), defense="tecoa", attack="fgsm"), via("cnn", 80)]
    (matrix,) = transfer_tables(Report(tuple(boards([*cards, via("vit", 70), via("vit", 75, "fgsm")])), {}))
    assert matrix.surrogates == ("cnn", "vit")
    ((row, white, scores),) = matrix.rows
    assert row.title == "tecoa"
    assert white is not None
    assert white.correct == 30
    assert [score.correct for score in scores if score is not None] == [80, 70]


def test_one_versus_rest_is_the_accuracy_of_each_class_against_all_others(make_card: MakeCard):
    labels, answers = [0, 0, 0, 1, 1, 2, 2, 2, 2, 2], [0, 1, 0, 1, 2, 2, 2, 2, 0, 2]
    counts = confusion_matrix(labels, answers).tolist()
    outcome = replace(make_card().clean, confusion=counts)
    right = [[(label == k) == (answer == k) for label, answer in zip(labels, answers, strict=True)] for k in range(3)]
    assert one_versus_rest(outcome) == [sum(row) / 10 for row in right] == [0.8, 0.8, 0.8]
    assert one_versus_rest(replace(outcome, confusion=None)) is None
    # Report 000, table 4: airplane has recall 0.9394, precision 0.9118 and one-versus-rest accuracy 0.985.
    table = replace(outcome, confusion=[[186, 12], [18, 1784]])
    assert one_versus_rest(table)[0] == 0.985


def test_trainable_parameters_stand_beside_all_where_the_cards_know_them(make_card: MakeCard):
    (old,) = boards([make_card(trainable=1536)])[0].rows
    card = make_card(trainable=1536)
    (new,) = boards([replace(card, model=replace(card.model, parameters=84_224))])[0].rows
    assert (formatting.trainable(old), formatting.trainable(new)) == ("1,536", "1,536 of 84,224")
    assert (old.parameters, new.parameters) == (None, 84_224)
