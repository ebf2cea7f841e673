"""A factory of valid cards. It is a fixture because pytest imports test files by path, not as a package."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from robench.evidence.card import (
    AdversarialRecord,
    Card,
    CellRecord,
    Check,
    ComponentRecord,
    Cost,
    Costs,
    DataRecord,
    Environment,
    Gate,
    ModelRecord,
    Outcome,
    ThreatRecord,
    TrainingRecord,
)
from robench.evidence.card_file import encode
from robench.evidence.statistics import pack_bits, proportion

MakeCard = Callable[..., Card]


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def component(name: str, **changed: Any) -> ComponentRecord:
    return ComponentRecord(
        name=name, version=1, parameters=changed, changed=changed, plugin="robench 0.1.0", code=digest("code")
    )


def outcome(mask: Sequence[bool]) -> Outcome:
    low, high = proportion(sum(mask), len(mask))
    return Outcome(
        correct=sum(mask),
        n=len(mask),
        low=low,
        high=high,
        top5=None,
        bits=pack_bits(mask),
        per_class=[[0.5, sum(mask) / len(mask), 0.5, float(len(mask))], [0.0, 0.0, 0.0, 0.0]],
        macro_f1=0.5,
        confusion=None,
        artifact="outcomes",
    )


def cost(images: int = 10, seconds: float = 1.0, peak: int = 1_000_000, passes: int = 0) -> Cost:
    return Cost(
        images=images,
        forwards=passes * images,
        backwards=passes * images,
        seconds=seconds,
        peak_bytes=peak,
        batch_size=8,
    )


def build(
    robust: Sequence[bool] = (True, True, True, False, False, False, False, False),
    clean: Sequence[bool] | None = None,
    *,
    dataset: str = "digits",
    dataset_changed: dict[str, Any] | None = None,
    test: str = "test",
    shape: tuple[int, int, int] = (1, 8, 8),
    eps: float = 8 / 255,
    norm: str = "Linf",
    victim: str = "mlp",
    weights: str = "weights",
    defense: str = "none",
    defense_changed: dict[str, Any] | None = None,
    attack: str = "pgd",
    attack_changed: dict[str, Any] | None = None,
    access: str = "white-box",
    surrogate: str | None = None,
    surrogate_is_victim: bool = False,
    seed: int = 0,
    names: Sequence[str] = (),
    trainable: int | None = None,
    recipe: dict[str, Any] | None = None,
    train: str | None = None,
    train_n: int = 0,
    trained_on: str | None = None,
    fit: Cost | None = None,
    craft: Cost | None = None,
    score: Cost | None = None,
    gate: Cost | None = None,
    verdict: str = "VALID",
    checks: Sequence[tuple[str, str, str]] = (),
    created: str = "2026-01-01T00:00:00+00:00",
    device: str = "cpu",
    packages: dict[str, str] | None = None,
    weakness: str = "",
    protocol: str = "",
) -> Card:
    """Return a valid card; ``checks`` are (name, status, meaning)."""
    clean = [True] * len(robust) if clean is None else clean
    key: tuple[object, ...] = (dataset, dataset_changed, test, eps, norm, shape, len(robust), seed)
    key += (victim, weights, defense, defense_changed, attack, attack_changed, access, surrogate, surrogate_is_victim)
    key += () if trained_on is None else (trained_on,)
    card = Card(
        id=digest(*key),
        created=created,
        cell=CellRecord(
            dataset=component(dataset, **(dataset_changed or {})),
            victim=component(victim),
            defense=component(defense, **(defense_changed or {})),
            attack=component(attack, **(attack_changed or {})),
            surrogate=component(surrogate) if surrogate is not None else None,
            surrogate_is_victim=surrogate_is_victim,
            trained_on=component(trained_on) if trained_on is not None else None,
            threat=ThreatRecord(norm=norm, eps=eps, access=access),  # type: ignore[arg-type]
            seed=seed,
            n=len(robust),
            undefended=defense == "none",
            iterative=True,
            given={},
            weakness=weakness,
            protocol=protocol,
        ),
        data=DataRecord(
            shape=shape,
            classes=["0", "1"],
            test=digest(test),
            test_n=len(robust),
            train=None if train is None else digest(train),
            train_n=train_n,
        ),
        model=ModelRecord(
            victim=digest(victim, weights), defended=digest(victim, weights, defense), zero_shot=False, inference=[]
        ),
        training=TrainingRecord(
            trainable=len(names) if trainable is None else trainable,
            names=list(names),
            without_gradient=[],
            undeclared=[],
            buffers=[],
            recipe=recipe or {},
            history=[],
            gradient="exact",
            randomized=False,
        ),
        clean=outcome(clean),
        adversarial=AdversarialRecord(
            fingerprint=digest("adversarial", *key),
            artifact="adversarial",
            attacked=sum(clean),
            largest=eps,
            outside_ball=0,
            outside_box=0,
            excess=0.0,
        ),
        robust=outcome(robust),
        cost=Costs(fit=fit or cost(), craft=craft or cost(), score=score or cost(), gate=gate or cost()),
        gate=Gate(
            verdict=verdict,  # type: ignore[arg-type]
            checks=[
                Check(name=name, status=status, value=0.5, threshold="at most 0.1", n=8, meaning=meaning)  # type: ignore[arg-type]
                for name, status, meaning in checks
            ],
        ),
        environment=Environment(
            robench="0.1.0",
            python="3.11.7",
            platform="Linux",
            packages=packages or {"torch": "2.11.0"},
            device=device,
            dtype="float32",
            tf32=False,
            threads=2,
            revision="",
            dirty=False,
        ),
        clocks=[],
        schema_version=2,
    )
    with suppress(UnicodeEncodeError):  # a lone surrogate: a file can hold one, the encoder cannot write it
        encode(card)  # raises if it does not follow the schema
    return card


@pytest.fixture(scope="session")
def make_card() -> MakeCard:
    return build


@pytest.fixture(scope="session")
def make_cost() -> Callable[..., Cost]:
    return cost


@pytest.fixture(scope="session")
def zoo(make_card: MakeCard) -> list[Card]:
    """Return two boards with every kind of row."""
    first = [place < 60 for place in range(200)]
    better = [place < 110 for place in range(200)]
    via = {"access": "transfer", "surrogate": "cnn"}
    trained = {"names": ("head.weight",), "trainable": 650, "recipe": {"loss": "tecoa"}}
    suspect = [("masking", "suspect", "gradients may be masked: attack it without gradients")]
    invalid = [("ball", "invalid", "images left the ball")]
    cards = [
        make_card(first),
        make_card([place < 50 for place in range(200)], attack="fgsm"),
        make_card(better, defense="tecoa", **trained),
        make_card([place < 150 for place in range(200)], defense="tecoa", **trained, **via),
        make_card(better, defense="twin", **trained),
        make_card(better, defense="hollow", **via),
        make_card([True] * 200, defense="masked", verdict="SUSPECT", checks=suspect),
        make_card([True] * 200, defense="cheat", verdict="INVALID", checks=invalid),
        make_card(better, victim="vit", defense="jpeg"),
        make_card(first, seed=1),
    ]
    return cards + [make_card(better, defense=name, eps=4 / 255) for name in ("none", "tecoa")]
