"""A small factory of valid cards. It is a fixture because pytest imports test files by path, not as a package."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest

from robench.evidence.card import (
    CLOCKS,
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
from robench.evidence.statistics import pack_bits, proportion

CLEAN = (True, True, True, True, True, True, False, True, True, True)
ROBUST = (True, False, False, True, False, False, False, True, False, False)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def component(name: str, **changed) -> ComponentRecord:
    return ComponentRecord(
        name=name, version=1, parameters=changed, changed=changed, plugin="robench 0.1.0", code=digest("code")
    )


def outcome(mask: Sequence[bool]) -> Outcome:
    low, high = proportion(sum(mask), len(mask))
    wrong = len(mask) - sum(mask)
    return Outcome(
        correct=sum(mask),
        n=len(mask),
        low=low,
        high=high,
        top5=None,
        bits=pack_bits(mask),
        per_class=[[1.0, sum(mask) / len(mask), 0.75, float(len(mask))], [0.0, 0.0, 0.0, 0.0]],
        macro_f1=0.75,
        confusion=[[sum(mask), wrong], [0, 0]],
        artifact="outcomes",
    )


def cost(images: int) -> Cost:
    return Cost(images=images, forwards=images, backwards=0, seconds=0.5, peak_bytes=1000, batch_size=8)


def build(
    dataset="digits", victim="mlp", attack="pgd", surrogate=None, by_self=False, eps=8 / 255, norm="Linf"
) -> Card:
    return Card(
        id=digest("cell"),
        created="2026-01-01T00:00:00+00:00",
        cell=CellRecord(
            dataset=component(dataset),
            victim=component(victim),
            defense=component("tecoa", epochs=5, eps=4 / 255),
            attack=component(attack, steps=20),
            surrogate=None if surrogate is None else component(surrogate),
            surrogate_is_victim=by_self,
            threat=ThreatRecord(norm=norm, eps=eps, access="white-box" if surrogate is None else "transfer"),
            seed=3,
            n=len(CLEAN),
            undefended=False,
            iterative=True,
            given={"attack": [attack], "parameters": {"attack.steps": "20"}},
        ),
        data=DataRecord(
            shape=(1, 8, 8),
            classes=["zero", "one"],
            test=digest("test"),
            test_n=len(CLEAN),
            train=digest("train"),
            train_n=64,
        ),
        model=ModelRecord(
            victim=digest("victim"),
            defended=digest("defended"),
            zero_shot=True,
            reference=0.9,
            inference=["batch norms folded"],
            logit_difference=1e-6,
        ),
        training=TrainingRecord(
            trainable=650,
            names=["head.weight", "head.bias"],
            without_gradient=[],
            undeclared=[],
            buffers=[],
            recipe={"loss": "tecoa", "temperature": 0.01, "adversarial": True, "frozen": None},
            history=[{"epoch": 1.0, "loss": 0.5}],
            gradient="exact",
            randomized=False,
        ),
        clean=outcome(CLEAN),
        adversarial=AdversarialRecord(
            fingerprint=digest("adversarial"),
            artifact="adversarial",
            attacked=sum(CLEAN),
            largest=eps,
            outside_ball=0,
            outside_box=0,
            excess=0.0,
            surrogate_clean=None,
        ),
        robust=outcome(ROBUST),
        cost=Costs(fit=cost(64), craft=cost(9), score=cost(10), gate=cost(0)),
        gate=Gate(
            verdict="VALID",
            checks=[Check(name="ball", status="pass", value=0.0, threshold="at most 0", n=10, meaning="inside")],
        ),
        environment=Environment(
            robench="0.1.0",
            python="3.11.7",
            platform="Linux",
            packages={"torch": "2.11.0"},
            device="cpu (any)",
            dtype="float32",
            tf32=False,
            threads=2,
            revision="",
            dirty=False,
        ),
        clocks=list(CLOCKS),
        schema_version=2,
    )


@pytest.fixture(scope="session")
def build_card() -> Callable[..., Card]:
    return build
