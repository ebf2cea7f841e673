"""record: write down everything needed to believe the number and to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from robench.contracts.certificate import Certificate
from robench.errors import ContractError
from robench.evidence import training_card
from robench.evidence.card import (
    CERTIFIED_CLOCKS,
    CLOCKS,
    AdversarialRecord,
    Card,
    CellRecord,
    CertificateRecord,
    Cost,
    Costs,
    Gate,
    ModelRecord,
    Outcome,
    ThreatRecord,
    TrainingRecord,
)
from robench.evidence.fingerprint import STAGES
from robench.evidence.provenance import environment
from robench.evidence.statistics import pack_bits
from robench.evidence.statistics import proportion as interval
from robench.gate.measurement import Measurement
from robench.plan.cell import Cell, SelectedComponent, type_of
from robench.plan.place_labels import Places
from robench.plan.protocol_facts import protocol_of

if TYPE_CHECKING:
    from robench.pipeline.stages.certify import Certified
    from robench.pipeline.stages.fit import Fitted  # the types of what is handed on, not the stages
    from robench.pipeline.stages.score import Outcomes

#: Above this many classes the confusion matrix is left out of the card; predictions stay in the store.
MOST_CLASSES = 100
#: The stage that cells without a certificate do not go through.
CERTIFY = "certify"


def record(measured: Measurement, gate: Gate, request: Mapping[str, Any]) -> Card:
    """Return the card of a judged cell."""
    cell, found = measured.cell, measured.adversarial
    classes, places = len(measured.data.classes), Places(measured.cell.components)
    surrogate = cell.surrogate.record() if cell.surrogate is not None else None
    return Card(
        id=cell.score_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        cell=CellRecord(
            dataset=cell.dataset.record(),
            victim=cell.victim.record(),
            defense=cell.defense.record(),
            attack=cell.attack.record(),
            surrogate=surrogate,
            surrogate_is_victim=cell.by_self,
            loads=[chosen.record() for chosen in cell.borrowed],
            fit_loads=cell.fit_loads,
            trained_on=cell.train.record() if cell.train is not None else None,
            threat=ThreatRecord(norm=cell.threat.norm, eps=cell.threat.eps, access=cell.threat.access),
            seed=cell.seed,
            n=measured.n,
            stages={stage: version for stage, version in STAGES.items() if stage != CERTIFY or cell.certificates},
            undefended=cell.undefended,
            iterative=measured.iterative,
            given=dict(request),
            made_elsewhere=measured.made_elsewhere,
            weakness=cell.weakness,
            protocol=protocol_of(request),
            precision=cell.precision,
        ),
        data=measured.data,
        model=_model(measured.model, cell.victim, places),
        training=_training(measured.fitted.training, cell.defense, places),
        clean=outcome(measured.clean, classes),
        adversarial=AdversarialRecord(
            fingerprint=found.fingerprint,
            artifact=found.key,
            attacked=found.total("attacked"),
            largest=found.largest("largest"),
            outside_ball=found.total("outside_ball"),
            outside_box=found.total("outside_box"),
            excess=found.largest("excess"),
            surrogate_clean=measured.surrogate_clean,
        ),
        robust=outcome(measured.robust, classes),
        certificates=[
            certificate(chosen, proved) for chosen, proved in zip(cell.certificates, measured.certified, strict=True)
        ],
        cost=Costs(
            fit=measured.fitted.cost,
            craft=found.meter.cost(),
            score=measured.robust.cost,
            gate=Cost(**measured.gate),
        ),
        gate=replace(gate, checks=[replace(one, meaning=places.hide(one.meaning)) for one in gate.checks]),
        environment=environment(cell.device, found.named("made_on"), found.named("unrepeatable")),
        clocks=[*CLOCKS, *(CERTIFIED_CLOCKS if cell.certificates else ())],
    )


def record_training(
    cell: Cell, chosen: SelectedComponent, shape: tuple[int, int, int], classes: Sequence[str], fitted: Fitted
) -> training_card.TrainingCard:
    """Return the card of a model that was trained on the spot, for this cell or another of its dataset and seed."""
    if fitted.train is None:
        raise ContractError(f"{chosen.component.name} was trained without training images.")
    training = _training(fitted.training, chosen, Places([cell.dataset, *chosen.family]))
    return training_card.TrainingCard(
        id=cell.model_id(chosen),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=cell.home.dataset.record(),
        victim=chosen.record(),
        members=[member.record() for member in chosen.family[1:]],
        seed=cell.seed,
        data=training_card.TrainingData(shape=shape, classes=list(classes), train=fitted.train, train_n=fitted.train_n),
        training=training,
        reached=training_card.reached(training.history, training.recipe),
        weights=fitted.digest,
        cost=fitted.cost,
        environment=environment(cell.device),
        clocks=list(training_card.CLOCKS),
    )


def _training(training: TrainingRecord, chosen: SelectedComponent, places: Places) -> TrainingRecord:
    return replace(training, recipe=places.recipe(training.recipe, chosen))


def _model(model: ModelRecord, victim: SelectedComponent, places: Places) -> ModelRecord:
    training = None if model.training is None else _training(model.training, victim, places)
    return replace(model, loading=[places.hide(note) for note in model.loading], training=training)


def certificate(chosen: SelectedComponent, found: Certified) -> CertificateRecord:
    """Return what a certificate proved as the card holds it."""
    own: Certificate = type_of(chosen, Certificate)
    flags = found.stands.tolist()
    low, high = interval(sum(flags), len(flags))
    return CertificateRecord(
        certificate=chosen.record(),
        certified=sum(flags),
        n=len(flags),
        low=low,
        high=high,
        bits=pack_bits(flags),
        randomized=bool(own.randomized),
        error=float(own.error),
        artifact=found.key,
        cost=found.cost,
    )


def outcome(scored: Outcomes, classes: int) -> Outcome:
    """Return the counts of per-image answers as the card holds them."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    labels, predictions = scored.labels.numpy(), scored.predictions.numpy()
    names = list(range(classes))
    columns = precision_recall_fscore_support(labels, predictions, labels=names, zero_division=0)
    per_class = [[round(float(value), 6) for value in row] for row in zip(*columns, strict=True)]
    present = [row[2] for row in per_class if row[3] > 0]
    correct = scored.correct.tolist()
    several = scored.draws > 1
    low, high = (
        interval(sum(correct), len(correct)) if not several else interval(scored.mean * len(correct), len(correct))
    )
    confusion = confusion_matrix(labels, predictions, labels=names).tolist() if classes <= MOST_CLASSES else None
    return Outcome(
        correct=sum(correct),
        n=len(correct),
        low=low,
        high=high,
        top5=int(scored.top5.sum()) if classes > 5 else None,
        bits=pack_bits(correct),
        per_class=per_class,
        macro_f1=round(sum(present) / len(present), 6),
        confusion=confusion,
        artifact=scored.key,
        draws=scored.draws,
        hits=scored.hits.tolist() if several else None,
    )
