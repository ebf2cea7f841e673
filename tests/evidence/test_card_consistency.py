"""What a card counts twice must agree: each table is changed alone, and refused in a sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.card_file import decode, encode, read, schema
from robench.evidence.files import MOST_BYTES, read_bounded
from robench.evidence.statistics import pack_bits, proportion

CARDS = Path(__file__).resolve().parents[2] / "leaderboard" / "cards"


@pytest.fixture
def raw(build_card):
    return json.loads(encode(build_card()))


def refusal(raw):
    with pytest.raises(CardError) as raised:
        decode(json.dumps(raw).encode(), "x.json")
    return str(raised.value)


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.json"))[::5], ids=lambda path: path.stem[-8:])
def test_real_cards_agree_with_themselves(path):
    assert read(path).id


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("data", "test_n", 11), "10 images were answered, but the data names 11."),
        (("adversarial", "attacked", 11), "11 images were attacked, of 10."),
        (("clean", "top5", 8), "clean: 8 labels are among the top five, but 9 of 10 are the first."),
        (("robust", "top5", 11), "robust: 11 labels are among the top five, but 3 of 10 are the first."),
        (("clean", "per_class", [[1.0, 0.9, 0.75, 10.0]]), "clean: per_class must have four numbers for each of"),
        (("clean", "per_class", [[1.0, 0.9, 10.0], [0.0] * 4]), "clean: per_class must have four numbers"),
        (("clean", "per_class", [[1.5, 0.9, 0.75, 10.0], [0.0] * 4]), "clean: precision, recall and F1 are shares"),
        (("clean", "per_class", [[1.0, 0.9, 0.75, 9.0], [0.0] * 4]), "clean: the images of the classes sum to 9, not"),
        (("clean", "per_class", [[1.0, 0.9, 0.75, 11.0], [0.0, 0.0, 0.0, -1.0]]), "clean: the images of the classes"),
        (("clean", "per_class", [[1.0, 1.0, 0.75, 10.0], [0.0] * 4]), "clean: the recalls of the classes make 10.0"),
        (("clean", "macro_f1", 0.9), "clean: macro_f1 is not the mean F1 of the classes that occur."),
        (("clean", "confusion", [[9, 1]]), "clean: the confusion matrix is not 2 x 2."),
        (("clean", "confusion", [[9, 1], [0]]), "clean: the confusion matrix is not 2 x 2."),
        (("clean", "confusion", [[9, 0], [1, 0]]), "clean: the rows of the confusion matrix are not the images of the"),
        (("clean", "confusion", [[8, 2], [0, 0]]), "clean: the confusion matrix has 8 right answers, not 9."),
        (("clean", "confusion", [[11, -1], [0, 0]]), "clean: the confusion matrix has a negative count."),
    ],
)  # fmt: skip
def test_a_table_that_contradicts_the_counts(raw, change, sentence):
    part, key, value = change
    raw[part][key] = value
    assert refusal(raw).startswith(f"x.json contradicts itself: {sentence}")


def test_rounding_is_no_contradiction(raw):
    raw["clean"]["per_class"][0][1] = 0.900001
    assert decode(json.dumps(raw).encode(), "x.json").clean.correct == 9


# Randomized defenses: tables of the mean logits beside majority votes


@pytest.fixture
def voted(raw):
    """Ask four times: 9 of 10 mean logits are right, and the label won more than half of the draws on 8 images."""
    raw["clean"] |= {"draws": 4, "hits": [4] * 8 + [2, 0], "correct": 8, "bits": pack_bits([True] * 8 + [False] * 2)}
    raw["clean"]["low"], raw["clean"]["high"] = proportion(34 / 4, 10)
    return raw


def test_majority_votes_may_differ_from_the_answers_to_mean_logits(voted):
    card = decode(json.dumps(voted).encode(), "x.json")
    assert card.clean.correct == 8
    assert card.clean.confusion[0][0] == 9
    voted["clean"]["confusion"] = None
    assert decode(json.dumps(voted).encode(), "x.json").clean.draws == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"per_class": [[1.0, 0.8, 0.75, 10.0], [0.0] * 4]},
            "the recalls of the classes make 8.0 right answers, not 9.",
        ),
        ({"top5": 11}, "11 labels are among the top five, but 8 of 10 are the first."),
        ({"confusion": [[9, 0], [1, 0]]}, "the rows of the confusion matrix are not the images of the classes."),
    ],
)
def test_tables_of_mean_logits_agree_among_themselves(voted, change, sentence):
    voted["clean"] |= change
    assert refusal(voted) == f"x.json contradicts itself: clean: {sentence}"


def test_tables_left_out_are_not_missed(raw):
    raw["clean"]["confusion"] = raw["robust"]["confusion"] = None
    assert decode(json.dumps(raw).encode(), "x.json").clean.confusion is None


# The classes refuse what the schema refuses


def places(raw, path=()):
    """Yield the path of every value of nested JSON."""
    yield path
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def changed(raw, path, value):
    if not path:
        return value
    copy = dict(raw) if isinstance(raw, dict) else list(raw)
    copy[path[0]] = changed(raw[path[0]], path[1:], value)
    return copy


# No whole float: the schema takes 1.0 for an integer, and the classes do not.
SCALARS = [None, True, 0, -1, 2, 7, 0.5, -0.5, "", "x", "a" * 64, "VALID", "pass"]
VALUES = st.sampled_from([*SCALARS, [], [1], [1, 2, 3], {}, {"a": 1}, [[1.5]]])


@given(st.data())
@settings(max_examples=400)
def test_the_classes_refuse_exactly_what_the_schema_refuses(build_card, data):
    raw = json.loads(encode(build_card()))
    path = data.draw(st.sampled_from(sorted(places(raw), key=repr)))
    other = changed(raw, path, data.draw(VALUES))
    try:
        msgspec.convert(other, Card)
        taken = True
    except msgspec.ValidationError:
        taken = False
    assert taken == Draft202012Validator(schema()).is_valid(other), path


# Files


def test_a_card_larger_than_any_card_is_not_parsed(tmp_path):
    path = tmp_path / "big.json"
    path.write_bytes(b"[" * (MOST_BYTES + 1))
    with pytest.raises(CardError) as raised:
        read(path)
    assert str(raised.value) == (
        f"{path} has 16,000,001 bytes; a card has at most 16,000,000: name the JSON file that robench run wrote."
    )


def test_a_file_of_no_end_is_cut_off(tmp_path):
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(CardError, match="has 1,000,000,000,000 bytes"):
        read(path)


def test_a_folder_a_pipe_and_a_device_are_no_cards(tmp_path):
    import os

    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(CardError, match=r"folder\.json is a folder, not a card"):
        read(tmp_path / "folder.json")
    with pytest.raises(CardError, match=r"pipe\.json is a pipe or a device, not a card"):
        read(tmp_path / "pipe.json")
    with pytest.raises(CardError, match="is a pipe or a device"):
        read_bounded(Path(os.devnull))


def test_a_name_that_is_no_name_is_a_sentence():
    with pytest.raises(CardError, match="cannot be read"):
        read(Path("a\0b.json"))


def test_a_link_that_was_named_is_followed(build_card, tmp_path):
    (tmp_path / "card.json").write_bytes(encode(build_card()))
    (tmp_path / "latest.json").symlink_to("card.json")
    assert read(tmp_path / "latest.json") == build_card()
    (tmp_path / "loop.json").symlink_to("loop.json")
    with pytest.raises(CardError, match="cannot be read"):
        read(tmp_path / "loop.json")


def test_the_largest_card_that_there_can_be_is_read(build_card):
    """50,000 images and 100 classes are far below the limit."""
    bits, confusion = math.ceil(50_000 / 8) * 4 / 3, 100 * 100 * 8
    assert 2 * (bits + confusion + 1000 * 60) < MOST_BYTES / 10
