"""The card of a training: what came of it by hand, the committed schema, there and back, contradictions refused."""

from __future__ import annotations

import json

import msgspec
import pytest

from robench.errors import CardError, StoreError
from robench.evidence import card_file
from robench.evidence.training_card import CLOCKS, Reached, TrainingCard, TrainingData, by_epoch, reached
from robench.evidence.training_card_file import SCHEMA_FILE, decode, encode, is_training, read, schema, write

#: Validation loss is lowest in epoch 3, and again, as low, in epoch 4; patience 2 stops after epoch 5.
LOSSES = (0.9, 0.5, 0.25, 0.25, 0.75)
CURVES = [
    {
        "epoch": epoch,
        "loss": 1 / epoch,
        "accuracy": 0.1 * epoch,
        "validation_loss": loss,
        "validation_accuracy": 1 - loss,
        "learning_rate": 0.01,
    }
    for epoch, loss in enumerate(LOSSES, 1)
]
RECIPE = {"model": "mlp", "epochs": 9, "patience": 2, "learning_rate": 0.01}


def only(*names):
    """Return the curves with these metrics and no others."""
    return [{name: point[name] for name in names} for point in CURVES]


@pytest.fixture
def training_card(build_card):
    """Return a function that makes a valid card of curves and a recipe."""

    def make(history=CURVES, recipe=RECIPE, **changed):
        cell = build_card()
        parameters = {name: value for name, value in recipe.items() if name != "model"}
        training = msgspec.structs.replace(
            cell.training,
            history=[{name: float(value) for name, value in point.items()} for point in history],
            recipe=dict(recipe),
            names=["network.weight"],
        )
        fields = {
            "id": "ab" * 32,
            "created": "2026-01-01T00:00:00+00:00",
            "dataset": cell.cell.dataset,
            "victim": msgspec.structs.replace(cell.cell.victim, parameters=parameters, changed={"patience": 2}),
            "seed": 3,
            "data": TrainingData(shape=(1, 8, 8), classes=["zero", "one"], train="cd" * 32, train_n=64),
            "training": training,
            "reached": reached(history, recipe),
            "weights": "ef" * 32,
            "cost": cell.cost.fit,
            "environment": cell.environment,
            "clocks": list(CLOCKS),
        }
        return TrainingCard(**{**fields, **changed})

    return make


@pytest.fixture
def raw(training_card):
    """Return the card as JSON values, to be tampered with."""
    return json.loads(encode(training_card()))


def refusal(content):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(CardError) as raised:
        decode(text, "x.json")
    assert raised.value.__cause__ is None
    assert len(str(raised.value)) < 1000
    return str(raised.value)


# What came of it


def test_early_stopping_keeps_the_first_of_the_lowest_validation_losses():
    assert reached(CURVES, RECIPE) == Reached(
        epochs=5,
        allowed=9,
        stopped_early=True,
        kept=3,
        validation_loss=0.25,
        validation_accuracy=0.75,
        loss=1 / 5,
        accuracy=0.5,
    )


def test_with_patience_the_best_weights_are_kept_even_if_it_never_stops():
    found = reached(CURVES, {"epochs": 5, "patience": 10})
    assert (found.stopped_early, found.kept, found.validation_loss) == (False, 3, 0.25)


def test_without_patience_the_last_weights_are_kept():
    found = reached(CURVES, {"epochs": 5, "patience": 0})
    assert (found.stopped_early, found.kept) == (False, 5)
    assert (found.validation_loss, found.validation_accuracy) == (0.75, 0.25)


def test_without_validation_there_is_nothing_to_tell_of_it():
    found = reached(only("epoch", "loss", "accuracy"), {"epochs": 5, "patience": 0})
    assert (found.kept, found.validation_loss, found.validation_accuracy) == (5, None, None)
    assert (found.loss, found.accuracy) == (0.2, 0.5)


def test_what_was_kept_is_not_guessed():
    """A model of a plugin may log other things, or stop by a rule of its own."""
    assert reached(CURVES, {"epochs": 5}).kept is None
    assert reached(CURVES, {"epochs": 5}).validation_loss is None
    assert reached(only("epoch", "loss"), RECIPE).kept is None
    assert reached([*CURVES[:4], {"epoch": 5, "loss": 0.2}], RECIPE).kept is None
    assert reached(CURVES, {"epochs": 5, "patience": True}).kept is None
    assert reached(CURVES, {"epochs": 5, "patience": None}).kept is None
    assert reached(CURVES, {"epochs": 5, "patience": -1}).kept is None


def test_without_a_number_of_epochs_nothing_is_early():
    for recipe in ({}, {"epochs": True}, {"epochs": 5.0}, {"epochs": "five"}):
        found = reached(CURVES, recipe)
        assert (found.epochs, found.allowed, found.stopped_early) == (5, None, None)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{"loss": 1.0}],
        [{"step": 1, "loss": 1.0}],
        [{"epoch": 0.5, "loss": 1.0}],
        [{"epoch": 1}, {"loss": 1.0}],
        [{"epoch": 1e300}],
        [{"epoch": float("inf")}],
    ],
)
def test_curves_without_whole_epochs_tell_nothing(history):
    assert by_epoch(history) == []
    assert reached(history, RECIPE) == Reached(allowed=9)


def test_points_of_one_epoch_are_joined():
    history = [{"epoch": 0, "loss": 2.0}, {"epoch": 0, "validation_loss": 3.0}, {"epoch": 1, "loss": 1.0}]
    assert by_epoch(history) == [{"epoch": 0, "loss": 2.0, "validation_loss": 3.0}, {"epoch": 1, "loss": 1.0}]
    assert reached(history, {"epochs": 2, "patience": 0}) == Reached(
        epochs=2, allowed=2, stopped_early=False, kept=1, loss=1.0
    )
    assert history[0] == {"epoch": 0, "loss": 2.0}


# The schema


def test_the_committed_schema_is_generated_from_the_classes():
    assert json.loads(SCHEMA_FILE.read_text()) == schema()


def test_the_schema_is_a_schema_whose_parts_refuse_unknown_keys():
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(schema())
    parts = schema()["$defs"]
    assert set(parts) == {
        "ComponentRecord", "Cost", "Environment", "Reached", "TrainingCard", "TrainingData", "TrainingRecord",
    }  # fmt: skip
    assert all(part["additionalProperties"] is False for part in parts.values())


# There and back


def test_a_card_comes_back(training_card):
    card = training_card()
    text = encode(card)
    assert decode(text, "x.json") == card
    assert encode(decode(text, "x.json")) == text
    assert text.startswith(b'{\n "kind": "training",\n "schema_version": 1,\n "id": "abab')
    assert text.endswith(b"\n}\n")


def test_a_card_of_curves_that_tell_nothing_comes_back(training_card):
    card = training_card(history=[{"step": 10, "loss": 1.5}], recipe={"model": "mlp"})
    assert decode(encode(card), "x.json") == card


def test_a_card_is_written_once_under_its_name(training_card, tmp_path):
    card = training_card()
    path = write(card, tmp_path / "trainings")
    assert path == tmp_path / "trainings" / "digits-mlp-seed3-abababab.json"
    assert read(path) == card
    before = path.stat().st_mtime_ns, path.stat().st_ino
    write(card, path.parent)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_name_leads_nowhere_else(training_card):
    card = training_card()
    strange = msgspec.structs.replace(card, dataset=msgspec.structs.replace(card.dataset, name="../../x y"))
    assert strange.file_name == ".._.._x_y-mlp-seed3-abababab.json"


def test_a_card_that_cannot_be_written_or_read_is_an_error(training_card, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written \(File exists\); choose another folder with --out"):
        write(training_card(), tmp_path / "file")
    with pytest.raises(CardError, match=r"absent.json cannot be read \(No such file or directory\)"):
        read(tmp_path / "absent.json")


def test_it_is_told_from_the_card_of_a_cell(training_card, build_card):
    text = encode(training_card())
    assert is_training(text)
    assert not is_training(card_file.encode(build_card()))
    assert not any(is_training(other) for other in (b"", b"[]", b'"training"', b"\xff", b'{"kind": 1}', b"[" * 9999))
    with pytest.raises(CardError) as raised:
        card_file.decode(text, "x.json")
    assert str(raised.value) == (
        "x.json is the card of a training, not of a cell; robench explain reads it, and the cards of cells are in the "
        "folder cards beside its own."
    )


# Contradictions


def test_other_epochs_than_the_curves_have(raw):
    raw["reached"]["epochs"] = 7
    assert refusal(raw) == "x.json contradicts itself: 7 epochs were run, but the curves have 5."


def test_an_epoch_that_the_curves_do_not_have(raw):
    raw["reached"]["kept"] = 6
    assert refusal(raw) == (
        "x.json contradicts itself: the weights of epoch 6 were kept, but the curves have no such epoch."
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kept", 4, "kept is 4, but 3"),
        ("kept", None, "kept is nothing, but 3"),
        ("epochs", None, "epochs is nothing, but 5"),
        ("allowed", 5, "allowed is 5, but 9"),
        ("stopped_early", False, "stopped early is false, but true"),
        ("validation_loss", 0.2, "validation loss is 0.2, but 0.25"),
        ("validation_accuracy", 0.99, "validation accuracy is 0.99, but 0.75"),
        ("loss", None, "loss is nothing, but 0.2"),
        ("accuracy", 0.6, "accuracy is 0.6, but 0.5"),
    ],
)
def test_what_does_not_follow_from_the_curves(raw, name, value, said):
    raw["reached"][name] = value
    assert refusal(raw) == f"x.json contradicts itself: {said} follows from the curves and the recipe."


def test_a_recipe_that_is_not_the_victims(raw):
    raw["victim"]["parameters"]["learning_rate"] = 0.5
    assert refusal(raw) == "x.json contradicts itself: the recipe is not the victim's parameters."


def test_other_images_than_were_paid_for(raw):
    raw["data"]["train_n"] = 65
    assert refusal(raw) == "x.json contradicts itself: 65 images were trained on, but the cost counts 64."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "cell"}, "x.json does not follow training schema 1: at kind, 'cell' is not one of ['training']."),
        ({"id": "short"}, "x.json does not follow training schema 1: at id, 'short' does not match '^[0-9a-f]{64}$'."),
        ({"seed": "0"}, "x.json does not follow training schema 1: at seed, '0' is not of type 'integer'."),
        ({"extra": 1}, "x.json does not follow training schema 1: at the top level, Additional properties"),
        ({"schema_version": 0}, "x.json does not follow training schema 1: at schema_version, 0 is not one of [1]."),
        ({"schema_version": 2}, "x.json is of training schema 2, which a newer robench wrote; this one reads up to 1."),
    ],
)
def test_what_leaves_the_schema(raw, change, said):
    assert refusal({**raw, **change}).startswith(said)


@pytest.mark.parametrize("text", [b"", b"not JSON", b"[]", b'{"a": 1, "a": 2}', b'{"seed": NaN}', b"[" * 100_000])
def test_what_is_no_card(text):
    assert refusal(text).startswith("x.json ")
