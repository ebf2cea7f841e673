"""Finding cards on disk."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from robench.errors import CardError
from robench.evidence.card import Card
from robench.evidence.card_file import encode, write
from robench.evidence.statistics import pack_bits, unpack_bits, wilson
from robench_leaderboard import read_cards
from robench_leaderboard.ranking.read_cards import newest

MakeCard = Callable[..., Card]


def test_reads_files_and_folders(make_card: MakeCard, tmp_path: Path):
    one, two, three = (make_card(seed=seed) for seed in range(3))
    alone = write(one, tmp_path / "alone")
    write(two, tmp_path / "many")
    write(three, tmp_path / "many")
    found = read_cards([alone, tmp_path / "many"])
    assert {card.id for card in found} == {one.id, two.id, three.id}
    assert found == read_cards([tmp_path / "many", alone])


def test_leaves_other_files_deeper_folders_and_half_written_cards_alone(make_card: MakeCard, tmp_path: Path):
    kept = make_card()
    write(kept, tmp_path)
    write(make_card(seed=1), tmp_path / "deeper")
    (tmp_path / "notes.txt").write_text("not a card")
    (tmp_path / ".half.json").write_text("{")
    assert read_cards([tmp_path]) == [kept]


def test_an_empty_folder_has_no_cards(tmp_path: Path):
    assert read_cards([tmp_path]) == []


def test_of_two_cards_with_one_id_the_newest_stays(make_card: MakeCard, tmp_path: Path):
    old = make_card(created="2026-01-01T00:00:00+00:00")
    new = make_card(created="2026-03-01T00:00:00+00:00", device="cuda")
    assert old.id == new.id
    for name, card in (("a.json", new), ("b.json", old)):
        (tmp_path / name).write_bytes(encode(card))
    assert read_cards([tmp_path]) == [new]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("2026-01-01T23:30:00+00:00", "2026-01-01T22:00:00-05:00"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:01Z"),
        ("yesterday", "2001-01-01T00:00:00+00:00"),
        ("", "now"),
        ("0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00+00:00"),
    ],
)
def test_age_is_a_time_and_not_a_spelling(make_card: MakeCard, older: str, newer: str):
    cards = [make_card(created=older), make_card(created=newer)]
    assert [card.created for card in newest(cards)] == [newer]
    assert [card.created for card in newest(reversed(cards))] == [newer]


def test_of_two_cards_with_one_id_the_one_that_tried_harder_stays(make_card: MakeCard):
    hard = make_card(created="2026-01-01T00:00:00Z")
    hard = msgspec.structs.replace(hard, gate=msgspec.structs.replace(hard.gate, level="standard"))
    later = make_card(created="2026-02-01T00:00:00Z")
    assert newest([hard, later]) == newest([later, hard]) == [hard]


def test_equal_times_are_resolved_whatever_the_order(make_card: MakeCard):
    cards = [make_card(device=device) for device in ("cpu", "cuda", "mps")]
    kept = newest(cards)
    for seed in range(6):
        assert newest(random.Random(seed).sample(cards, 3)) == kept


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff\xfe", b'{"a": NaN}', b"[" * 50_000])
def test_a_file_that_is_no_card_is_named(tmp_path: Path, text: bytes):
    bad = tmp_path / "bad.json"
    bad.write_bytes(text)
    with pytest.raises(CardError, match=r"bad\.json"):
        read_cards([tmp_path])


def test_a_path_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(CardError, match=r"missing\.json cannot be read \(No such file or directory\)"):
        read_cards([tmp_path / "missing.json"])


def test_a_card_whose_interval_was_polished_is_refused(make_card: MakeCard, tmp_path: Path):
    card = make_card()
    polished = msgspec.structs.replace(card, robust=msgspec.structs.replace(card.robust, low=0.9, high=0.95))
    (tmp_path / "card.json").write_bytes(msgspec.json.encode(polished))
    with pytest.raises(CardError, match="the robust interval does not follow from its counts"):
        read_cards([tmp_path])


@given(st.lists(st.booleans(), max_size=70))
def test_bits_survive_packing(flags: list[bool]):
    assert unpack_bits(pack_bits(flags), len(flags)) == flags


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.integers(9, 40))
def test_bits_of_another_number_of_images_are_refused(flags: list[bool], more: int):
    with pytest.raises(CardError, match="not those of"):
        unpack_bits(pack_bits(flags), len(flags) + more)


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_wilsons(counts: tuple[int, int]):
    correct, n = counts
    expected = binomtest(correct, n).proportion_ci(method="wilson")
    assert wilson(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_what_is_no_card_costs_a_warning_and_not_the_others(tmp_path: Path, make_card: MakeCard):
    card = make_card()
    path = write(card, tmp_path)
    (tmp_path / "foreign.json").write_text('{"schema": "another tool\'s"}')
    (tmp_path / "cut.json").write_text(path.read_text()[:500])
    (tmp_path / "link.json").symlink_to(path)
    warnings: list[str] = []

    assert read_cards([tmp_path], warnings.append) == [card]
    assert [sentence.partition(".json")[0].rpartition("/")[2] for sentence in warnings] == ["cut", "foreign", "link"]
    assert all(sentence.startswith("left out: ") for sentence in warnings)


def test_a_file_that_was_named_is_never_left_out(tmp_path: Path):
    foreign = tmp_path / "foreign.json"
    foreign.write_text("{}")
    with pytest.raises(CardError, match="foreign"):
        read_cards([foreign], print)
