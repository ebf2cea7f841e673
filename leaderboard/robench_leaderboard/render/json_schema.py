"""The published form of the leaderboard: ``leaderboard.json``, whose JSON Schema lies beside this file.

The classes below are the schema. Names and sentences are cut to a length a page can show and have no control or
direction characters; they come from cards of anyone, so whoever shows them must escape them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from robench.contracts.search_precision import EXACT, Precision, searched_in
from robench.contracts.threat_model import Access, Norm
from robench.evidence.attestation import Level
from robench.evidence.card import Digest, Natural, Positive, Rate, Scalar, Verdict

SCHEMA_VERSION = 1
SCHEMA_FILE = Path(__file__).with_name("leaderboard.schema.json")

Points = Annotated[float, Meta(ge=-100, le=100)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Be immutable and refuse unknown fields."""


class Accuracy(Part, frozen=True, kw_only=True):
    """State an accuracy and its Wilson 95 % interval, all in [0, 1]."""

    rate: Rate
    low: Rate
    high: Rate
    correct: Annotated[float, Meta(ge=0, description="no whole number for a mean over draws")]
    n: Positive


class Change(Part, frozen=True, kw_only=True):
    """State a difference on the same images, in percentage points, with Tango's 95 % interval."""

    points: Points
    low: Points
    high: Points
    p: Annotated[Rate, Meta(description="two-sided exact McNemar, not corrected for other comparisons")]
    only_first: Annotated[Natural, Meta(description="images that only the first of the two got right")]
    only_second: Natural


class Component(Part, frozen=True, kw_only=True):
    """Name a component and its parameters."""

    name: str
    label: Annotated[str, Meta(description="the name with the parameters that were changed")]
    version: Natural
    parameters: dict[str, Scalar]
    plugin: str


class Attack(Part, frozen=True, kw_only=True, omit_defaults=True):
    """State the outcome under one attack, which is one card."""

    attack: Component
    access: Access
    surrogate: Annotated[str, Meta(description="'self' is the undefended victim; empty for none")]
    accuracy: Annotated[Accuracy, Meta(description="under this attack; robust accuracy only if access is white-box")]
    top5: Annotated[Accuracy | None, Meta(description="label among the five highest logits; null for < 6 classes")]
    verdict: Verdict
    card: Annotated[str, Meta(description="canonical file name of the card")]
    id: Digest
    credit: Annotated[str, Meta(description="who submitted the images; empty: they were crafted by the run")]
    precision: Annotated[
        Precision, Meta(description="what the model was computed in while images were searched for; absent: float32")
    ] = EXACT

    @property
    def label(self) -> str:
        """Return the attack's label, with the precision of its search where that is not float32."""
        return self.attack.label + searched_in(self.precision)


class Evidence(Part, frozen=True, kw_only=True):
    """State how far a row was checked, by whoever attests it: its least checked card."""

    level: Annotated[Level, Meta(description="reported: its figures agree with each other, nothing more is known")]
    others: Annotated[Natural, Meta(description="how many computed it again and found it to repeat")]
    against: Annotated[Natural, Meta(description="how many found that it does not")]


class PublishedFigure(Part, frozen=True, kw_only=True):
    """State a figure that others published, of this very row, beside what was measured."""

    figure: Annotated[str, Meta(description="clean, robust, train, clean_top5, clean_f1, ...")]
    percent: Annotated[float, Meta(ge=0, le=100, description="as it is printed there")]
    measured: Annotated[Rate | None, Meta(description="the same, as measured; null where it is not defined")]
    low: Annotated[Rate | None, Meta(description="Wilson 95 % interval; null for training accuracy and averages")]
    high: Rate | None
    attack: Annotated[str, Meta(description="label of the attack; empty for what was not attacked")]
    surrogate: Annotated[str, Meta(description="'self' is the undefended victim; empty for none")]
    name: Annotated[str, Meta(description="what the source calls the row")]
    source: str
    place: Annotated[str, Meta(description="table, section or page")]
    split: Annotated[str, Meta(description="of which images: test or validation")]
    note: Annotated[str, Meta(description="what differs there, or what is wrong with it")]


class Certificate(Part, frozen=True, kw_only=True):
    """State what one certificate proves of a row: the lower end of a bracket, never robust accuracy."""

    certificate: Component
    accuracy: Annotated[Accuracy, Meta(description="images that it certifies")]
    error: Annotated[Rate, Meta(description="the most probability with which one image is certified wrongly")]


class RowCost(Part, frozen=True, kw_only=True):
    """State what the row cost, per image of the white-box attacks where it says so; null where not measured."""

    trainable: Natural
    parameters: Annotated[Natural | None, Meta(description="all, frozen ones included; null in old cards")]
    fit_seconds: Annotated[float, Meta(ge=0)]
    fit_joules: float | None
    craft_ms: Annotated[float | None, Meta(description="per image, summed over the white-box attacks")]
    craft_joules: float | None
    forwards: Annotated[float | None, Meta(description="per image, summed over the white-box attacks")]
    backwards: float | None
    score_ms: float | None
    peak_bytes: Natural
    devices: Annotated[list[str], Meta(description="where the clocks ran: device, dtype")]


class Row(Part, frozen=True, kw_only=True):
    """State what one defended victim reached under every attack it met."""

    rank: Annotated[Positive | None, Meta(description="shared by rows that are not told apart; null: not ranked")]
    title: str
    defense: Component
    victim: Component
    seed: int
    weights: Annotated[Digest, Meta(description="sha256 of the defended victim's tensors")]
    clean: Accuracy
    robust: Annotated[
        Accuracy | None, Meta(description="per image the worst case over all attacks; null: no white-box")
    ]
    clean_top5: Annotated[Accuracy | None, Meta(description="label among the five highest logits (R@5 of captions)")]
    robust_top5: Annotated[Accuracy | None, Meta(description="the lowest over the end-to-end attacks")]
    tax: Annotated[Change | None, Meta(description="clean accuracy of the undefended victim minus this row's")]
    gain: Annotated[Change | None, Meta(description="robust accuracy of this row minus the undefended victim's")]
    transfer: Annotated[dict[str, Accuracy], Meta(description="lowest per surrogate; never robust accuracy")]
    verdict: Verdict
    evidence: Evidence
    reasons: Annotated[list[str], Meta(description="why the row is not ranked")]
    missing: Annotated[list[str], Meta(description="attacks that other rows met and this one did not")]
    front: Annotated[list[str], Meta(description="costs for which no ranked row is as robust for less")]
    cost: RowCost
    attacks: list[Attack]
    certified: Annotated[
        Accuracy | msgspec.UnsetType, Meta(description="images that any certificate says stand: the lower end")
    ] = msgspec.UNSET
    certificates: Annotated[
        list[Certificate] | msgspec.UnsetType, Meta(description="each of them, if there are any")
    ] = msgspec.UNSET
    published: Annotated[
        list[PublishedFigure] | msgspec.UnsetType, Meta(description="figures of this row that others state, if any do")
    ] = msgspec.UNSET


class Spread(Part, frozen=True, kw_only=True):
    """State the mean over seeds, their standard deviation, and the hierarchical 95 % interval, all in [0, 1]."""

    mean: Rate
    deviation: Annotated[float, Meta(ge=0)]
    low: Rate
    high: Rate


class SeedMean(Part, frozen=True, kw_only=True):
    """State a mean over seeds and their standard deviation, in [0, 1], of what cards do not say per image."""

    mean: Rate
    deviation: Annotated[float, Meta(ge=0)]


class Repetition(Part, frozen=True, kw_only=True):
    """State what several seeds of one defense on one victim say together."""

    defense: str
    victim: str
    seeds: list[int]
    clean: Spread
    robust: Spread
    clean_top5: Annotated[SeedMean | msgspec.UnsetType, Meta(description="absent for < 6 classes")] = msgspec.UNSET
    robust_top5: Annotated[
        SeedMean | msgspec.UnsetType, Meta(description="of the lowest over the end-to-end attacks")
    ] = msgspec.UNSET


class Board(Part, frozen=True, kw_only=True):
    """State one ranking: the same images, resolution and threat model."""

    dataset: str
    parameters: dict[str, Scalar]
    norm: Norm
    eps: Annotated[float, Meta(ge=0, description="pixel units, images in [0, 1]")]
    radius: Annotated[str, Meta(description="eps as the field writes it, such as 8/255")]
    shape: Annotated[tuple[int, int, int], Meta(description="channels, height, width")]
    n: Positive
    test: Annotated[Digest, Meta(description="sha256 of the test images and labels, in order")]
    rows: Annotated[list[Row], Meta(description="ranked rows first, best first")]
    repeated: list[Repetition]
    protocol: Annotated[str, Meta(description="what it follows; absent: none")] | msgspec.UnsetType = msgspec.UNSET


class Mean(Part, frozen=True, kw_only=True):
    """State a mean over datasets and its 95 % interval, which takes datasets and images as samples; in [0, 1]."""

    rate: Rate
    low: Rate
    high: Rate


class OnDataset(Part, frozen=True, kw_only=True):
    """State what one row of a table over several datasets reached on one of them."""

    clean: Rate
    robust: Annotated[Rate | None, Meta(description="null: no white-box")]
    transfer: Annotated[Rate | None, Meta(description="lowest over surrogates; never robust accuracy")]
    tax: Annotated[Points | None, Meta(description="clean accuracy lost against the undefended victim")]
    trained_there: bool
    verdict: Verdict
    clean_top5: Annotated[Rate | msgspec.UnsetType, Meta(description="absent for < 6 classes")] = msgspec.UNSET
    robust_top5: Annotated[Rate | msgspec.UnsetType, Meta(description="the lowest over the end-to-end attacks")] = (
        msgspec.UNSET
    )


class AcrossRow(Part, frozen=True, kw_only=True):
    """State one defense on several datasets."""

    rank: Annotated[Positive | None, Meta(description="shared by rows not told apart; null: not ranked everywhere")]
    defense: str
    trained_on: Annotated[str, Meta(description="a dataset; 'each': each anew; empty: nothing was trained")]
    seed: int
    datasets: Annotated[list[OnDataset | None], Meta(description="in the order of the table's; null: not measured")]
    clean: Mean | None
    robust: Mean | None
    transfer: Rate | None
    tax_there: Annotated[Points | None, Meta(description="mean over the datasets that it was trained on")]
    tax_elsewhere: Annotated[Points | None, Meta(description="mean over the others")]
    clean_top5: Annotated[
        Mean | msgspec.UnsetType, Meta(description="absent where a dataset has none: < 6 classes")
    ] = msgspec.UNSET
    robust_top5: Mean | msgspec.UnsetType = msgspec.UNSET


class Across(Part, frozen=True, kw_only=True):
    """State one victim's defenses on several datasets, under one norm and radius."""

    victim: str
    norm: Norm
    eps: Annotated[float, Meta(ge=0)]
    radius: str
    datasets: list[str]
    rows: Annotated[list[AcrossRow], Meta(description="ranked rows first, best mean first")]


class Leaderboard(Part, frozen=True, kw_only=True):
    """Hold all rankings that a set of cards gives."""

    schema_version: Literal[1] = 1
    require: Annotated[Level, Meta(description="the least level of evidence that may rank")] = "reported"
    boards: list[Board]
    across: Annotated[
        list[Across] | msgspec.UnsetType, Meta(description="tables over several datasets, where there are any")
    ] = msgspec.UNSET


def schema() -> dict[str, Any]:
    """Return the JSON Schema of leaderboard.json, generated from the classes above."""
    generated = msgspec.json.schema(Leaderboard)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "robench leaderboard", **generated}
