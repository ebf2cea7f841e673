"""The card: the JSON result of one cell, everything needed to believe it and to repeat it.

The classes below are the schema; ``card.schema.json`` beside this file is generated from them and every card is
validated against it when it is written and when it is read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from robench.contracts.parameters import format_value
from robench.contracts.search_precision import EXACT, Precision, searched_in
from robench.contracts.threat_model import Access, Norm, format_eps, radius_of
from robench.evidence.plain_text import as_file_name
from robench.evidence.statistics import unpack_bits

SCHEMA_VERSION = 3

#: Dotted paths of what may differ between two runs of one spec on one machine; all else is deterministic.
CLOCKS = ("created", "cost.*.seconds", "cost.*.peak_bytes", "cost.*.joules", "environment")
#: And in what is certified.
CERTIFIED_CLOCKS = ("certificates.*.cost.seconds", "certificates.*.cost.peak_bytes", "certificates.*.cost.joules")

Verdict = Literal["VALID", "SUSPECT", "INVALID"]
Status = Literal["pass", "suspect", "invalid", "skipped"]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Meta(max_length=200)]
Scalar = bool | int | float | str | None


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Be immutable and refuse unknown fields, as every part of a card does."""


class FiledRecord(Record, frozen=True):
    """Be a record that has a file of its own."""

    @property
    def stem(self) -> str:
        """Return what the file is named by; any text."""
        raise NotImplementedError

    @property
    def file_name(self) -> str:
        """Return the canonical file name."""
        return as_file_name(self.stem) + ".json"


class ComponentRecord(Record, frozen=True, kw_only=True):
    """Name one component and everything its result depends on."""

    name: Name
    version: Natural
    parameters: Annotated[dict[str, Scalar], Meta(description="all parameters, defaults resolved")]
    changed: Annotated[
        dict[str, Scalar], Meta(description="those that differ from the defaults, or from the victim's tuning")
    ]
    plugin: Annotated[str, Meta(description="distribution and version that offered it")]
    code: Annotated[
        str,
        Meta(description="sha256 of a plugin's source, with what it imports from its own package; empty: built in"),
    ]
    files: Annotated[str, Meta(description="sha256 over the local files it reads; empty if none")] = ""
    hashed: Annotated[
        dict[str, Scalar | list[str]],
        Meta(description="parameters that enter the id otherwise than they are shown, such as a folder's place"),
    ] = {}
    left_out: Annotated[
        list[str], Meta(description="parameters that do not enter the id: newer than it, at what was the case before")
    ] = []
    members: Annotated[list[ComponentRecord], Meta(description="the models that this one is made of")] = []
    untrained: Annotated[bool, Meta(description="it, or one it is made of, came without weights and was trained")] = (
        False
    )

    @property
    def label(self) -> str:
        """Return the name with the parameters that were changed, such as ``tecoa[epochs=5]``."""
        inside = ",".join(f"{key}={format_value(key, value)}" for key, value in sorted(self.changed.items()))
        return f"{self.name}[{inside}]" if inside else self.name


class ThreatRecord(Record, frozen=True, kw_only=True):
    """State what the attacker may do."""

    norm: Norm
    eps: Annotated[float, Meta(ge=0, description="radius in pixel units, images in [0, 1], at `shape`")]
    access: Access

    @property
    def radius(self) -> str:
        """Return eps as it is typed, such as ``8/255``."""
        return format_eps(self.eps)

    @property
    def counted(self) -> str:
        """Return eps with what it counts, as people read it: ``8/255``, ``24 px``, ``severity 3``."""
        return radius_of(self.eps, self.norm)


class CellRecord(Record, frozen=True, kw_only=True):
    """Identify the cell."""

    dataset: ComponentRecord
    victim: ComponentRecord
    defense: ComponentRecord
    attack: ComponentRecord
    surrogate: Annotated[ComponentRecord | None, Meta(description="the attacker's model, for transfer")] = None
    surrogate_is_victim: Annotated[bool, Meta(description="--surrogate self: the undefended victim")] = False
    loads: Annotated[
        list[ComponentRecord],
        Meta(description="models that the defense's fit, or a model made of others, loaded by name"),
    ] = []
    fit_loads: Annotated[list[Natural], Meta(description="which of the loads, by place, the defense's fit loaded")] = []
    threat: ThreatRecord
    trained_on: Annotated[
        ComponentRecord | None,
        Meta(description="--train-dataset: what was trained was trained on its images, not on those of `dataset`"),
    ] = None
    seed: int
    n: Positive
    stages: Annotated[
        dict[str, Natural], Meta(description="versions of the stages whose hash the id is; empty in old cards")
    ] = {}
    undefended: Annotated[bool, Meta(description="true for the row that defenses are compared with")]
    iterative: Annotated[bool, Meta(description="true if the attack takes more than one step")]
    given: Annotated[dict[str, Any], Meta(description="the request as the user passed it, labels in place of paths")]
    made_elsewhere: Annotated[
        bool, Meta(description="the images come from a file: they may lower a row, and speak for none")
    ] = False
    weakness: Annotated[
        Name, Meta(description="what is wrong with the attack, as published: it may lower a row, and speaks for none")
    ] = ""
    protocol: Annotated[
        Name, Meta(description="the protocol that was run, and what of it was changed; empty: none")
    ] = ""
    precision: Annotated[
        Precision, Meta(description="what the model was computed in while images were searched for; scores are float32")
    ] = EXACT

    @property
    def attack_label(self) -> str:
        """Return the attack's label, with the precision of its search where that is not float32: ``pgd in bf16``."""
        return self.attack.label + searched_in(self.precision)


class DataRecord(Record, frozen=True, kw_only=True):
    """Pin the images and labels that were used."""

    shape: Annotated[tuple[int, int, int], Meta(description="channels, height, width")]
    classes: list[str]
    test: Annotated[Digest, Meta(description="sha256 of the test images and labels served, in order")]
    test_n: Positive
    train: Annotated[Digest | None, Meta(description="the same of the training split, if anything was trained")] = None
    train_n: Natural = 0


class TrainingRecord(Record, frozen=True, kw_only=True):
    """Say what the defense trained and whether that is what it declared."""

    trainable: Annotated[Natural, Meta(description="number of trainable parameters")]
    names: Annotated[list[str], Meta(description="the parameters declared trainable")]
    without_gradient: Annotated[list[str], Meta(description="declared, but never had a gradient")]
    undeclared: Annotated[list[str], Meta(description="changed, but not declared")]
    buffers: Annotated[list[str], Meta(description="buffers that changed, such as batch-norm statistics")]
    recipe: Annotated[dict[str, Scalar], Meta(description="loss, temperature, adversary: what makes it this defense")]
    history: Annotated[list[dict[str, float]], Meta(description="training curves, in order")]
    gradient: Literal["exact", "straight-through", "none"]
    randomized: bool


class ModelRecord(Record, frozen=True, kw_only=True):
    """Pin the weights and how inference was prepared."""

    victim: Annotated[Digest, Meta(description="sha256 of the victim's tensors")]
    defended: Annotated[Digest, Meta(description="sha256 of the defended victim's tensors")]
    zero_shot: bool
    parameters: Annotated[
        Natural | None,
        Meta(description="parameters of the defended victim, frozen ones included; of a CLIP, of its image side"),
    ] = None
    reference: Annotated[float | None, Meta(description="clean accuracy the model's author states")] = None
    training: Annotated[
        TrainingRecord | None, Meta(description="how the victim itself was trained, if it came without weights")
    ] = None
    training_cost: Annotated[Cost | None, Meta(description="and what that cost")] = None
    loading: Annotated[
        list[str], Meta(description="what was unwrapped or left out of a checkpoint to load the victim")
    ] = []
    inference: Annotated[list[str], Meta(description="exact rewrites applied, such as folded batch norms")]
    logit_difference: Annotated[float, Meta(description="largest |difference| those rewrites made, in logits")] = 0.0


class Outcome(Record, frozen=True, kw_only=True):
    """Count what the defended victim got right on one set of images."""

    correct: Natural
    n: Positive
    low: Annotated[Rate, Meta(description="Wilson 95 % interval of the rate (correct / n), lower end")]
    high: Annotated[Rate, Meta(description="upper end")]
    top5: Annotated[Natural | None, Meta(description="label among the five highest logits; null for < 6 classes")]
    bits: Annotated[str, Meta(description="per image, 1 = correct: big-endian packed bits in base64")]
    per_class: Annotated[
        list[list[float]], Meta(description="per class: precision, recall, F1, images; 0 where undefined")
    ]
    macro_f1: Annotated[Rate, Meta(description="mean F1 over the classes that occur among the labels")]
    confusion: Annotated[
        list[list[int]] | None, Meta(description="rows: label, columns: prediction; null above 100 classes")
    ]
    artifact: Annotated[str, Meta(description="store key of the per-image outcomes")]
    draws: Annotated[Positive, Meta(description="forwards per image: above 1 for a randomized defense")] = 1
    hits: Annotated[
        list[Natural] | None,
        Meta(description="per image, in how many draws it was correct; `correct` and `bits` then count the majority"),
    ] = None

    @property
    def rate(self) -> float:
        """Return the accuracy in [0, 1]; of a randomized defense the mean over draws."""
        return self.correct / self.n if self.hits is None else sum(self.hits) / (self.n * self.draws)

    def mask(self) -> list[bool]:
        """Return, per image, whether it was classified correctly."""
        return unpack_bits(self.bits, self.n)


class AdversarialRecord(Record, frozen=True, kw_only=True):
    """Pin the adversarial set and what the harness measured on the stored tensors."""

    fingerprint: Annotated[Digest, Meta(description="sha256 of the adversarial images, float32, in order")]
    artifact: Annotated[str, Meta(description="store key of the adversarial images")]
    attacked: Annotated[Natural, Meta(description="images handed to the attack (white-box: the clean-correct ones)")]
    largest: Annotated[float, Meta(ge=0, description="largest perturbation in the threat model's norm")]
    outside_ball: Annotated[Natural, Meta(description="images the harness had to project into the ball")]
    outside_box: Annotated[Natural, Meta(description="images the harness had to clamp into [0, 1]")]
    excess: Annotated[float, Meta(description="how far the farthest image lay outside the ball, before projection")]
    surrogate_clean: Annotated[float | None, Meta(description="the surrogate's own clean accuracy")] = None


class Cost(Record, frozen=True, kw_only=True):
    """Count the passes of one stage, in images, and its clocks."""

    images: Natural
    forwards: Annotated[Natural, Meta(description="image forwards through the attacked or scored model")]
    backwards: Annotated[Natural, Meta(description="image backwards")]
    seconds: Annotated[float, Meta(ge=0, description="warm-up, hashing and storing excluded")]
    peak_bytes: Annotated[Natural, Meta(description="peak device memory; on a CPU, of the process")]
    batch_size: Natural
    joules: Annotated[float | None, Meta(description="NVML energy, where it is measured")] = None

    @property
    def ms_per_image(self) -> float:
        """Return milliseconds per image, 0 if there was none."""
        return 1000 * self.seconds / self.images if self.images else 0.0


class CertificateRecord(Record, frozen=True, kw_only=True):
    """Count the images of which a certificate says that they stand: the lower end of the bracket."""

    certificate: ComponentRecord
    certified: Annotated[Natural, Meta(description="images of which it says that nothing in the ball fells them")]
    n: Positive
    low: Annotated[Rate, Meta(description="Wilson 95 % interval of certified / n, lower end")]
    high: Annotated[Rate, Meta(description="upper end")]
    bits: Annotated[str, Meta(description="per image, 1 = certified: big-endian packed bits in base64")]
    randomized: Annotated[bool, Meta(description="it speaks of the answer that comes most often")] = False
    error: Annotated[
        Rate, Meta(description="the most probability with which one image is certified wrongly; 0: a proof")
    ] = 0.0
    artifact: Annotated[Digest, Meta(description="store key of what was certified: the fingerprint of the certificate")]
    cost: Cost

    def mask(self) -> list[bool]:
        """Return, per image, whether it is certified."""
        return unpack_bits(self.bits, self.n)


class Costs(Record, frozen=True, kw_only=True):
    """Keep fit, craft, score and gate apart."""

    fit: Cost
    craft: Cost
    score: Cost
    gate: Cost


class Check(Record, frozen=True, kw_only=True):
    """Report one check of the gate."""

    name: Name
    status: Status
    value: float | None
    threshold: Annotated[str, Meta(description="what the value had to satisfy")]
    n: Annotated[Natural, Meta(description="images it was measured on")]
    meaning: Annotated[str, Meta(description="what it means and what to do")]
    figures: Annotated[
        dict[str, int | float], Meta(description="what status, value, threshold and n follow from; empty in old cards")
    ] = {}


class Gate(Record, frozen=True, kw_only=True):
    """Give the verdict and every check it rests on."""

    verdict: Verdict
    checks: list[Check]
    level: Annotated[Name, Meta(description="how hard the harness tried: quick, standard or thorough")] = "quick"
    images: Annotated[Natural, Meta(description="most images that a dear probe took")] = 0
    limit: Annotated[float | None, Meta(description="most passes it could spend, as a share of the cell's own")] = None
    share: Annotated[float, Meta(ge=0, description="passes of the gate relative to the cell's own")] = 0.0
    probed: Annotated[
        list[Digest], Meta(description="ids of the cells whose survivors the gate tried to win, this one among them")
    ] = []


class Environment(Record, frozen=True, kw_only=True):
    """Record the machine and the software."""

    robench: str
    python: str
    platform: str
    packages: dict[str, str]
    device: str
    dtype: str
    tf32: bool
    threads: int
    revision: Annotated[str, Meta(description="git revision of robench's checkout, if it is one")]
    dirty: bool
    crafted_on: Annotated[
        list[str],
        Meta(description="devices, with the versions that results depend on, on which the images were crafted"),
    ] = []
    unrepeatable: Annotated[
        list[str],
        Meta(description="operations in crafting that have no deterministic kernel there: a rerun may differ"),
    ] = []


class Card(FiledRecord, frozen=True, kw_only=True):
    """Hold the result of one cell."""

    schema_version: Literal[1, 2, 3] = 3
    id: Annotated[Digest, Meta(description="fingerprint of the cell")]
    created: Annotated[str, Meta(description="UTC time at which it was recorded")]
    cell: CellRecord
    data: DataRecord
    model: ModelRecord
    training: TrainingRecord
    clean: Outcome
    adversarial: AdversarialRecord
    robust: Annotated[Outcome, Meta(description="on the adversarial images; a transfer result is not robust accuracy")]
    certificates: Annotated[
        list[CertificateRecord],
        Meta(description="what is proved of the defended victim under the same norm and eps; never robust accuracy"),
    ] = []
    cost: Costs
    gate: Gate
    environment: Environment
    clocks: Annotated[list[str], Meta(description="what may differ between two runs; all else is deterministic")]
    credit: Annotated[Name, Meta(description="who submitted the images, where they were made elsewhere")] = ""

    @property
    def stem(self) -> str:
        """Return dataset, victim, defense, attack, radius, seed, images and the start of the fingerprint."""
        cell = self.cell
        via = "" if cell.surrogate is None else f"-via-{'self' if cell.surrogate_is_victim else cell.surrogate.name}"
        eps = format_eps(cell.threat.eps).replace("/", "_")
        parts = (cell.dataset.name, cell.victim.name, cell.defense.name, cell.attack.name + via)
        return "-".join([*parts, cell.threat.norm, eps, f"seed{cell.seed}", f"n{cell.n}", self.id[:8]])
