"""Cards: the committed schema, there and back, old ones for ever, and hostile ones refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from robench.errors import CardError, StoreError
from robench.evidence.card import CLOCKS, SCHEMA_VERSION
from robench.evidence.card_file import SCHEMA_FILE, decode, encode, read, schema, write
from robench.evidence.card_identity import CardIds
from robench.evidence.statistics import pack_bits, proportion

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture
def card(build_card):
    return build_card()


@pytest.fixture
def raw(card):
    """Return the card as JSON values, to be tampered with."""
    return json.loads(encode(card))


def refusal(content):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(CardError) as raised:
        decode(text, "x.json")
    assert raised.value.__cause__ is None
    assert len(str(raised.value)) < 1000
    return str(raised.value)


def put(raw, path, value):
    """Set one value of nested JSON by its dotted path."""
    *parents, last = path.split(".")
    for name in parents:
        raw = raw[int(name)] if isinstance(raw, list) else raw[name]
    raw[int(last) if isinstance(raw, list) else last] = value


# The schema


def test_the_committed_schema_is_generated_from_the_classes():
    assert json.loads(SCHEMA_FILE.read_text()) == schema()


def test_every_part_of_the_schema_refuses_unknown_keys():
    parts = [part for part in schema()["$defs"].values() if part.get("type") == "object"]
    assert len(parts) == 15
    assert all(part["additionalProperties"] is False for part in parts)


def test_the_schema_is_a_schema():
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema())


# There and back


def test_a_card_comes_back(card):
    assert decode(encode(card), "x.json") == card


def test_the_text_is_indented_in_schema_order_and_ends_in_a_newline(card):
    text = encode(card)
    assert text.startswith(b'{\n "schema_version": 2,\n "id": "')
    assert text.endswith(b"\n}\n")
    assert encode(decode(text, "x.json")) == text


def test_derived_values_come_from_counts(card):
    assert (card.clean.rate, card.robust.rate) == (0.9, 0.3)
    assert card.clean.mask() == [True] * 6 + [False] + [True] * 3
    assert card.cost.fit.ms_per_image == 500 / 64
    assert card.cost.gate.ms_per_image == 0.0
    assert card.cell.defense.label == "tecoa[epochs=5,eps=4/255]"
    assert card.cell.victim.label == "mlp"
    assert card.clocks == list(CLOCKS)


def test_a_card_is_written_once_under_its_name(card, tmp_path):
    path = write(card, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / card.file_name
    assert read(path) == card
    before = path.stat().st_mtime_ns, path.stat().st_ino
    write(card, path.parent)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert [each.name for each in path.parent.iterdir()] == [card.file_name]


def test_a_changed_card_replaces_the_old_one(card, tmp_path):
    write(card, tmp_path)
    later = msgspec.structs.replace(card, created="2027-01-01T00:00:00+00:00")
    assert read(write(later, tmp_path)) == later
    assert len(list(tmp_path.iterdir())) == 1


def test_a_card_that_cannot_be_written_is_an_error(card, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as raised:
        write(card, tmp_path / "file")
    assert str(raised.value) == (
        f"{tmp_path / 'file' / card.file_name} cannot be written (File exists); choose another folder with --out."
    )


def test_a_card_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CardError) as raised:
        read(tmp_path / "absent.json")
    assert str(raised.value) == (
        f"card {tmp_path / 'absent.json'} cannot be read (No such file or directory); name the JSON file that robench "
        "run wrote."
    )


def test_a_new_card_that_breaks_the_schema_is_not_written(card, tmp_path):
    wrong = msgspec.structs.replace(card, id="short")
    with pytest.raises(CardError) as raised:
        write(wrong, tmp_path)
    assert str(raised.value) == (
        "the new card does not follow card schema 3: at id, 'short' does not match '^[0-9a-f]{64}$'."
    )
    assert list(tmp_path.iterdir()) == []


# Old cards


def test_there_is_a_golden_card_of_every_schema_version():
    assert sorted(path.name for path in GOLDEN.glob("card-v*.json")) == [
        f"card-v{version}.json" for version in range(1, SCHEMA_VERSION + 1)
    ]


def test_a_card_of_version_1_loads_for_ever():
    card = read(GOLDEN / "card-v1.json")
    assert card.schema_version == 1
    assert (card.cell.dataset.name, card.cell.victim.name, card.cell.attack.label) == ("digits", "mlp", "pgd[steps=20]")
    assert (card.cell.threat.norm, card.cell.threat.eps, card.cell.seed, card.cell.n) == ("Linf", 8 / 255, 3, 10)
    assert (card.clean.correct, card.robust.correct) == (9, 3)
    assert card.robust.mask() == [index in (0, 3, 7) for index in range(10)]
    assert (card.robust.low, card.robust.high) == (0.107791, 0.603222)
    assert card.training.recipe == {"loss": "tecoa", "temperature": 0.01, "adversarial": True, "frozen": None}
    assert card.gate.verdict == "VALID"
    assert decode(encode(card), "again") == card


def test_the_factory_still_makes_the_golden_card(card):
    assert read(GOLDEN / "card-v2.json") == card


def test_a_card_of_version_2_counts_draws_and_says_how_hard_the_gate_tried():
    card = read(GOLDEN / "card-v2.json")
    assert card.schema_version == 2
    assert (card.gate.level, card.gate.images, card.gate.share) == ("quick", 0, 0.0)
    assert (card.clean.draws, card.clean.hits, card.clean.rate) == (1, None, 0.9)
    assert decode(encode(card), "again") == card


def test_a_card_of_version_3_holds_what_its_id_and_its_verdict_follow_from():
    card = read(GOLDEN / "card-v3.json")
    assert card.schema_version == 3
    assert CardIds(card).score == card.id
    assert {check.name for check in card.gate.checks if check.figures} >= {"box and ball", "stronger attack"}
    assert decode(encode(card), "again") == card


# Randomized defenses: hits over several draws


def drawn(raw, hits, draws=4):
    """Return the card with these hits per image as its robust outcome, all else following from them."""
    right = [2 * hit > draws for hit in hits]
    low, high = proportion(sum(hits) / draws, len(hits))
    raw["robust"] |= {"hits": hits, "draws": draws, "correct": sum(right), "bits": pack_bits(right)}
    raw["robust"] |= {"low": low, "high": high}
    return raw


def test_the_rate_of_a_randomized_defense_is_the_mean_over_draws(raw):
    card = decode(json.dumps(drawn(raw, [4, 4, 3, 2, 1, 0, 0, 0, 0, 0])).encode(), "x.json")
    assert card.robust.rate == 14 / 40
    assert (card.robust.correct, card.robust.mask()[:4]) == (3, [True, True, True, False])
    assert (card.robust.low, card.robust.high) == proportion(3.5, 10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hits": [4] * 9}, "robust has 4 draws, but other hits per image"),
        ({"hits": None}, "robust has 4 draws, but other hits per image"),
        ({"draws": 1}, "robust has 1 draws, but other hits per image"),
        ({"hits": [4, 4, 0, 2, 1, 0, 0, 0, 0, 3]}, "the robust bits are not the majority of the draws"),
        ({"hits": [5, 4, 3, 2, 1, 0, 0, 0, 0, 0]}, "robust counts more hits than draws"),
        ({"hits": [4, 4, 4, 2, 1, 0, 0, 0, 0, 0]}, "the robust interval does not follow from its counts"),
    ],
)
def test_hits_that_contradict_the_rest_are_refused(raw, change, sentence):
    drawn(raw, [4, 4, 3, 2, 1, 0, 0, 0, 0, 0])["robust"] |= change
    assert sentence in refusal(raw)


# Names


def test_the_name_says_what_the_cell_is(build_card):
    assert build_card().file_name == f"digits-mlp-tecoa-pgd-Linf-8_255-seed3-n10-{build_card().id[:8]}.json"
    named = build_card(surrogate="cnn", eps=0.5, norm="L2").file_name
    assert named.startswith("digits-mlp-tecoa-pgd-via-cnn-L2-0.5-seed3-n10-")
    assert "-pgd-via-self-" in build_card(surrogate="mlp", by_self=True).file_name


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/root/x", "a\\b", "..", "a\0b", "a\nb", "C:x", "", "<b>", "\u202e"]
)
def test_no_name_leads_out_of_the_folder(build_card, tmp_path, name):
    card = decode(encode(build_card(dataset=name, victim=name, attack=name)), "x.json")
    path = write(card, tmp_path / "cards")
    assert path.resolve().parent == (tmp_path / "cards").resolve()
    assert list(tmp_path.rglob("*.json")) == [path]
    assert not set(path.name) & set('/\\\0\n:<>"\u202e')


def test_a_name_longer_than_a_file_system_takes_is_said(build_card, tmp_path):
    card = build_card(dataset="d" * 200, victim="v" * 200)
    with pytest.raises(StoreError) as raised:
        write(card, tmp_path)
    assert str(raised.value).endswith("cannot be written (File name too long); choose another folder with --out.")


# Hostile cards


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "x.json is not a robench card: Expecting value: line 1 column 1 (char 0)."),
        (b"not JSON", "x.json is not a robench card: Expecting value: line 1 column 1 (char 0)."),
        (b'{"a": 1, "a": 2}', "x.json is not a robench card: a key occurs twice."),
        (b'{"a": {"b": 1, "b": 1}}', "x.json is not a robench card: a key occurs twice."),
        (b'{"a": NaN}', "x.json is not a robench card: NaN is not a JSON number."),
        (b'{"a": -Infinity}', "x.json is not a robench card: -Infinity is not a JSON number."),
        (b'{"a": 1e999}', "x.json is not a robench card: 1e999 is too large a number."),
        (b'{"a": 9999999999999999999}', "x.json is not a robench card: 9999999999999999999 is too large a number."),
        (b"[" * 100_000, "x.json is not a robench card: "),
        (b'{"a":' * 100_000, "x.json is not a robench card: "),
        (b"\xff\xfe\xff", "x.json is not a robench card: "),
        (b"\x80", "x.json is not a robench card: 'utf-8' codec can't decode byte 0x80"),
        (b'{"a": "\\ud800"}', "x.json is not a robench card: 'utf-8' codec can't encode character '\\ud800'"),
        (b"[]", "x.json does not follow card schema 3: at the top level, [] is not of type 'object'."),
        (b"null", "x.json does not follow card schema 3: at the top level, None is not of type 'object'."),
        (b"1", "x.json does not follow card schema 3: at the top level, 1 is not of type 'object'."),
    ],
)
def test_what_is_no_card_is_said_to_be_none(text, sentence):
    assert refusal(text).startswith(sentence)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("schema_version", 0, "at schema_version, 0 is not one of [1, 2, 3]"),
        ("id", "x", "at id, 'x' does not match '^[0-9a-f]{64}$'"),
        ("id", 5, "at id, 5 is not of type 'string'"),
        ("extra", 1, "at the top level, Additional properties are not allowed ('extra' was unexpected)"),
        ("cell.extra", 1, "at cell, Additional properties are not allowed ('extra' was unexpected)"),
        ("cell.seed", "0", "at cell.seed, '0' is not of type 'integer'"),
        ("cell.seed", 1.5, "at cell.seed, 1.5 is not of type 'integer'"),
        ("cell.n", 0, "at cell.n, 0 is less than the minimum of 1"),
        (
            "cell.threat.norm",
            "L3",
            "at cell.threat.norm, 'L3' is not one of ['L0', 'L1', 'L2', 'Linf', 'corruption', 'patch']",
        ),
        ("cell.threat.eps", -1, "at cell.threat.eps, -1 is less than the minimum of 0"),
        ("cell.undefended", "yes", "at cell.undefended, 'yes' is not of type 'boolean'"),
        ("clean.correct", -1, "at clean.correct, -1 is less than the minimum of 0"),
        ("clean.low", 1.5, "at clean.low, 1.5 is greater than the maximum of 1"),
        ("clean.bits", None, "at clean.bits, None is not of type 'string'"),
        ("data.shape", [1, 2], "at data.shape, [1, 2] is too short"),
        ("gate.verdict", "FINE", "at gate.verdict, 'FINE' is not one of ['INVALID', 'SUSPECT', 'VALID']"),
        ("gate.checks", {}, "at gate.checks, {} is not of type 'array'"),
        ("gate.checks.0.status", "ok", "at gate.checks.0.status, 'ok' is not one of "),
        ("cost.fit.seconds", -0.5, "at cost.fit.seconds, -0.5 is less than the minimum of 0"),
        ("environment", None, "at environment, None is not of type 'object'"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(raw, path, value, sentence):
    put(raw, path, value)
    assert refusal(raw).startswith(f"x.json does not follow card schema 3: {sentence}")


def test_a_missing_key_is_named(raw):
    del raw["cell"]["seed"]
    assert refusal(raw) == "x.json does not follow card schema 3: at cell, 'seed' is a required property."


@pytest.mark.parametrize("path", ["id", "cell.dataset.name", "gate.verdict", "clean.bits", "cell.threat.norm"])
def test_ten_megabytes_of_text_are_refused_in_a_short_sentence(raw, path):
    put(raw, path, "A" * 10_000_000)
    assert "x.json" in refusal(raw)


def test_ten_megabytes_of_a_key_are_refused_in_a_short_sentence(raw):
    put(raw, "environment.packages", {"k" * 10_000_000: 5})
    assert refusal(raw) == (
        f"x.json does not follow card schema 3: at environment.packages.{'k' * 179}..., 5 is not of type 'string'."
    )


def test_deep_nesting_inside_a_free_field_is_read_or_refused(raw):
    deep = encode_deep(raw, 400)
    assert decode(deep, "x.json").cell.given["attack"]
    assert refusal(encode_deep(raw, 50_000)).startswith("x.json is not a robench card: ")


def encode_deep(raw, depth):
    put(raw, "cell.given.attack", "HERE")
    return json.dumps(raw).encode().replace(b'"HERE"', b"[" * depth + b"1" + b"]" * depth)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("clean.correct", 10, "clean counts 10 of 10, its bits do not."),
        ("robust.correct", 10, "robust counts 10 of 10, its bits do not."),
        ("cell.n", 9, "clean counts 9 of 10, its bits do not."),
        ("robust.bits", "//8=", "robust counts 3 of 10, its bits do not."),
        ("clean.low", 0.0, "the clean interval does not follow from its counts."),
        ("robust.high", 1.0, "the robust interval does not follow from its counts."),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(raw, path, value, sentence):
    put(raw, path, value)
    assert refusal(raw) == f"x.json contradicts itself: {sentence}"


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("clean.bits", "????", "clean: the per-image bits are not base64."),
        ("robust.bits", "", "robust: the per-image bits hold 0 bytes, not those of 10 images."),
        ("clean.n", 999_999_999_999, "clean: the per-image bits hold 2 bytes, not those of 999999999999 images."),
    ],
)
def test_bits_that_cannot_be_read_are_refused(raw, path, value, sentence):
    put(raw, path, value)
    if path == "clean.n":
        put(raw, "cell.n", value)
    assert refusal(raw) == f"x.json contradicts itself: {sentence}"


def test_markup_in_a_card_is_text(build_card):
    name = "<script>alert(1)</script>"
    assert decode(encode(build_card(dataset=name)), "x.json").cell.dataset.name == name
