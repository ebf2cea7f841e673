"""Figures that others published: what one entry states, and how it is read from a table of a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from robench.contracts.threat_model import Norm, parse_eps
from robench.errors import SpecError, suggestion
from robench.plan.references import split_reference

#: Keys that name components; those of the first tuple are all that a clean or a training figure depends on.
UNATTACKED = ("dataset", "train_dataset", "victim", "defense")
ROLES = (*UNATTACKED, "attack", "surrogate")

#: What may have been measured, in percent -> what it is called where it is shown.
FIGURES = {
    "clean": "clean",
    "robust": "under attack",
    "train": "training images",
    "clean_top5": "clean, top-5",
    "robust_top5": "under attack, top-5",
    **{f"clean_{score}": f"clean, {score}" for score in ("precision", "recall", "f1")},
    **{f"robust_{score}": f"under attack, {score}" for score in ("precision", "recall", "f1")},
}

_CHOICES = {"norm": get_args(Norm), "split": ("test", "validation"), "average": ("macro", "weighted")}
_WORDS = ("name", "source", "place", "weights", "images", "protocol", "note")
KEYS = (*ROLES, "eps", *_CHOICES, *_WORDS, "second_hand", *FIGURES)


@dataclass(frozen=True)
class Stated:
    """Hold what is stated of one component.

    Attributes:
        name: the component; empty for none (``surrogate = ""``: the victim itself is attacked).
        parameters: those in its brackets, as text.
        shared: those that the file states for the component, or for every one of its role, as far as it has them.
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Return the name with the parameters in its brackets."""
        inside = ",".join(f"{key}={value}" for key, value in self.parameters.items())
        return f"{self.name}[{inside}]" if inside else self.name


@dataclass(frozen=True)
class Published:
    """Hold one published entry.

    Attributes:
        figures: in percent, as they are printed there, under the names of :data:`FIGURES`. With one caption an image,
            R@1 and R@5 of image-to-text retrieval are ``clean`` and ``clean_top5``.
        source: the paper, report or page.
        which: by role, the components of the row that it is a figure of; a role that is left out may be anything.
        eps: the radius in pixel units, for figures under attack; None for any.
        norm: ``Linf`` or ``L2``; empty for any.
        name: what the source calls the row.
        place: table, section or page.
        weights: which weights were judged, where a component's parameters do not say it.
        images: on which images, in words.
        protocol: in words, or ``protocol:ID`` for one of ``robench protocol list``, which the row must follow then.
        split: ``test`` or ``validation`` images.
        average: over classes, of precision, recall and F1: ``macro`` or ``weighted``.
        second_hand: quoted from somebody's text about the source: listed, and never shown beside a measurement.
        note: what differs there, or what is wrong with it.
        ledger: the file of the ledger that holds it; empty for a suite's own.
    """

    figures: Mapping[str, float]
    source: str
    which: Mapping[str, Stated] = field(default_factory=dict)
    eps: float | None = None
    norm: str = ""
    name: str = ""
    place: str = ""
    weights: str = ""
    images: str = ""
    protocol: str = ""
    split: str = "test"
    average: str = "macro"
    second_hand: bool = False
    note: str = ""
    ledger: str = ""

    @property
    def reference(self) -> str:
        """Return where it is printed, such as ``report 000, table 5``."""
        return f"{self.source}, {self.place}" if self.place else self.source

    @property
    def dataset(self) -> str:
        """Return the name of the data set, or of the mean over several; empty if it is not stated."""
        return self.which["dataset"].name if "dataset" in self.which else ""

    def title(self, figure: str) -> str:
        """Return what one of its figures is called, such as ``via resnet20, top-5``."""
        name, surrogate = FIGURES[figure], self.which.get("surrogate")
        if figure.startswith("robust") and surrogate is not None:
            name = name.replace("under attack", f"via {surrogate.name}" if surrogate.name else "robust")
        return name if self.split == "test" or figure == "train" else f"{name} ({self.split} images)"


def read_published(
    table: Any, where: str, parameters: Mapping[str, Mapping[str, Any]] | None = None, ledger: str = ""
) -> Published:
    """Return what one table states.

    Args:
        table: its keys are :data:`KEYS`.
        where: what to name in an error.
        parameters: by role or component, parameters that the file states for all of its entries.
        ledger: the file of the ledger; its entries say whose figures they are.

    Raises:
        SpecError: a key or value cannot be used; it says which, and the way out.
    """
    if not isinstance(table, dict):
        raise SpecError(f"{where}: write each published row as a [[published]] table.")
    for name, value in table.items():
        if name not in KEYS:
            raise SpecError(f"{where}: '{name}' is no key of a published row; {suggestion(name, KEYS)}")
        _check(name, value, where)
    if not table.get("source"):
        raise SpecError(f"{where}: a published row needs its source, such as a paper and table.")
    figures = {name: _percent(table[name], name, where) for name in FIGURES if name in table}
    if not figures:
        raise SpecError(f"{where}: a published row holds clean, robust, train or another of its figures, in percent.")
    which = {role: _stated(table[role], role, where, parameters or {}) for role in ROLES if role in table}
    eps = parse_eps(table["eps"], table.get("norm", "Linf")) if "eps" in table else None
    rest = {name: table[name] for name in (*_CHOICES, *_WORDS, "second_hand") if name in table}
    return Published(figures=figures, which=which, eps=eps, ledger=ledger, **rest)


def _check(name: str, value: Any, where: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "second_hand":
        good, kind = isinstance(value, bool), "true or false"
    elif name in _CHOICES:
        good, kind = value in _CHOICES[name], " or ".join(_CHOICES[name])
    elif name in FIGURES:
        good, kind = number, "a number in percent"
    else:
        good, kind = isinstance(value, str) or (name == "eps" and number), "text"
    if not good:
        raise SpecError(f"{where}: {name} of a published row must be {kind}, not {value!r}.")


def _percent(percent: float, name: str, where: str) -> float:
    if not 0 <= percent <= 100:
        raise SpecError(f"{where}: {name} of a published row is in percent, and {percent:g} is not in 0..100.")
    return float(percent)


def _stated(text: str, role: str, where: str, parameters: Mapping[str, Mapping[str, Any]]) -> Stated:
    if not text:
        return Stated("")
    try:
        name, inside = split_reference(text)
    except SpecError as error:
        raise SpecError(f"{where}: {role} of a published row: {error}") from None
    # What is said of the component itself comes before what is said of its role.
    shared = {**parameters.get(role.replace("_", "-"), {}), **parameters.get(name, {})}
    return Stated(name, inside, {key: str(value) for key, value in shared.items()})
