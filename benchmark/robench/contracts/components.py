"""The roles a plugin can play, and what each must do.

A component is a class; its fields, declared with :func:`robench.parameter`, are its parameters. The base class
turns every subclass into a frozen, keyword-only dataclass, so a plugin author writes neither decorator nor
``__init__``. This module imports no torch: listing components must stay instant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, dataclass_transform

from robench.contracts.parameters import Parameter, Value, parameter
from robench.contracts.test_split_guard import guarded
from robench.contracts.threat_model import Norm, ThreatModel
from robench.errors import SpecError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

    from robench.contracts.classifier import Classifier
    from robench.contracts.examples import Examples
    from robench.contracts.task import Task
    from robench.evidence.card import Card

Split = Literal["train", "val", "test"]
Gradient = Literal["exact", "straight-through", "none"]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(parameter,))
class Component:
    """Share what every component has: a name, parameters, a source, and a place in the fingerprint."""

    #: The name users type.
    name: ClassVar[str] = ""
    #: Raise it when the same parameters begin to give other results; it is part of every fingerprint.
    version: ClassVar[int] = 1
    #: The paper, equation or data set this implements, as one would cite it.
    source: ClassVar[str] = ""
    #: The licence of the data or weights that are loaded, where there are any.
    licence: ClassVar[str] = ""
    #: Parameters that every component of a role has; they are no fields, and count where they are given.
    common: ClassVar[Mapping[str, Parameter]] = {}
    #: The text parameter that takes what is given and not declared, as ``name=value,name=value``: the arguments of an
    #: attack of another library. Empty refuses what is not declared.
    undeclared: ClassVar[str] = ""
    #: True if loading runs code that the parameters name: ``robench verify`` then asks for ``--trust-code``, since a
    #: card comes from anyone.
    runs_code: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the subclass a frozen, keyword-only dataclass, so that its fields are its parameters."""
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)

    @property
    def parameters(self) -> dict[str, Value]:
        """Return the parameters as declared, by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]  # every subclass is a dataclass

    def files(self) -> tuple[Path, ...]:
        """Return the local files and folders the result depends on; their content enters the fingerprint."""
        return ()

    def missing(self) -> tuple[str, ...]:
        """Return a sentence for each download that loading would begin with here: what, how large, where it goes.

        Nothing is fetched. ``robench run --dry-run`` and ``robench suites`` say it before anything is.
        """
        return ()

    @classmethod
    def shorthand(cls, text: str) -> Mapping[str, str] | None:
        """Return the parameters that ``text``, such as ``folder:photos``, stands for; None if it does not mean this."""
        return None


class Dataset(Component):
    """Serve labelled images of one fixed resolution, with class names and prompts."""

    #: Prompt templates, each with one ``{}`` for the class name; a zero-shot victim uses the first by default.
    templates: ClassVar[tuple[str, ...]] = ("a photo of a {}",)
    #: The victim that is run when none is named; empty if the user must choose.
    victim: ClassVar[str] = ""
    common: ClassVar[Mapping[str, Parameter]] = {
        "classes": Parameter("classes", str, "", "classes to keep, such as 0,1,2 or 0-4 or cat,dog; empty: all")
    }
    #: True for the one dataset that is run when none is named.
    default: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the test split be loaded by the harness only, never while a defense is fitted."""
        super().__init_subclass__(**kwargs)
        if "load" in cls.__dict__:
            cls.load = guarded(cls.load)  # type: ignore[method-assign]  # the same method behind a guard

    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order."""
        raise NotImplementedError

    def origin(self) -> str:
        """Return the name under which models state their reference accuracy on these images."""
        return self.name

    def notes(self) -> tuple[str, ...]:
        """Return sentences on what lies with the images and is not served, for a run's progress and ``inspect``."""
        return ()

    def load(self, split: Split) -> Examples:
        """Return the images and labels of one split; the splits are disjoint and the same every time."""
        raise NotImplementedError


class Model(Component):
    """Load a model, as victim or as the attacker's surrogate."""

    #: Clean test accuracy as published, in [0, 1], by dataset origin; a measured value outside its interval
    #: (widened by ``reference_tolerance``) means that weights, preprocessing or class order are wrong.
    reference: ClassVar[Mapping[str, float]] = {}
    reference_tolerance: ClassVar[float] = 0.01

    #: Parameters of defenses, by defense name, that a trial on this model's training and validation data found to
    #: work; they stand in for the defense's own defaults where the user gives none.
    tuning: ClassVar[Mapping[str, Mapping[str, Value]]] = {}

    def members(self) -> tuple[str, ...]:
        """Return the names of the models that ``load`` takes by ``task.load_model``; they enter its fingerprint."""
        return ()

    def load(self, task: Task) -> Classifier:
        """Return the classifier for ``task.classes``, on the CPU; images in [0, 1] go in, logits come out."""
        raise NotImplementedError

    def untrained(self) -> bool:
        """Tell whether ``load`` returns a model without weights, which :meth:`fit` must train before anything else."""
        return False

    def fit(self, model: Classifier, train: Examples, task: Task) -> None:
        """Train what :meth:`load` returned, in place; called once, and only where :meth:`untrained` says so.

        All parameters come with gradients on. The weights are kept by seed and device, as a defense's are.
        """
        raise WeightsError(f"{self.name} does not say how it is trained; give it weights.")

    def training_passes(self, images: int) -> tuple[int, int]:
        """Return the (forwards, backwards), in images, that training on ``images`` costs, for ``--dry-run``."""
        return 0, 0

    def train(self, task: Task, folder: Path, dataset: Dataset) -> dict[str, float]:
        """Repeat the recipe of the shipped weights on ``dataset``, write to ``folder``, return what it reached."""
        raise WeightsError(f"{self.name} comes with weights and ships no recipe of how they were made.")


class Attack(Component):
    """Move images inside the threat model's ball so that the model errs."""

    #: The norms this attack can be run in, of Linf, L2 and L1.
    norms: ClassVar[tuple[Norm, ...]] = ("Linf", "L2")
    #: True if the attack only asks for answers and never for gradients: black-box access.
    queries_only: ClassVar[bool] = False
    #: True if the images come from a file, made by whatever: they may lower a row, and speak for none.
    made_elsewhere: ClassVar[bool] = False
    #: True if one perturbation, fitted on training images, serves all images: checks of how well each image was
    #: attacked then do not apply.
    shared: ClassVar[bool] = False
    #: True if it asks the model only through :func:`robench.input_gradient`, with what the loss needs of each image as
    #: further arguments, and :func:`robench.logits_of`. On a GPU it is then handed several batches' worth of images at
    #: once, and as they fall those that stand fill the batches that the model is asked for.
    asks_in_parts: ClassVar[bool] = False

    @property
    def iterative(self) -> bool:
        """Tell whether the attack takes more than one step (and so must beat a one-step attack)."""
        return False

    def passes(self) -> tuple[int, int]:
        """Return the most (forwards, backwards) one image can cost, for ``--dry-run``."""
        return 1, 1

    def passes_in(self, threat: ThreatModel) -> tuple[int, int]:
        """Return the same under ``threat``; override it where the norm makes a difference."""
        return self.passes()

    def threat(self, asked: ThreatModel) -> ThreatModel:
        """Return the threat model that it is run under where ``asked`` is the run's, unless it has one of its own."""
        return asked

    def stands_for(self) -> tuple[str, ...]:
        """Return the attacks, as they are typed, that it is a word for; none if it is an attack by itself."""
        return ()

    def passes_once(self) -> tuple[int, int]:
        """Return the most (forwards, backwards) that are spent once a model, on training images, for ``--dry-run``."""
        return 0, 0

    def check(self, threat: ThreatModel) -> None:
        """Raise SpecError if these parameters make no sense under ``threat``; called before any work."""
        if threat.norm not in self.norms:
            norms = " and ".join(", ".join(self.norms).rsplit(", ", 1))
            raise SpecError(f"{self.name} works in {norms}, not in {threat.norm}; choose another --norm or attack.")

    def weakness(self, threat: ThreatModel) -> str:
        """Return what is known to be wrong with the attack as it is asked for, as where a paper is repeated.

        It is then measured and shown beside the others, but speaks for no row: without another attack none is ranked.
        """
        return ""

    def fits(self, test: Examples, task: Task) -> None:
        """Raise DataError if what the attack brings along does not fit these test images; called before crafting."""

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return adversarial images of the same shape, dtype and device.

        Args:
            model: the classifier under attack, float32, in eval mode, parameter gradients off.
            images: (N, C, H, W) in [0, 1] at the dataset's resolution.
            labels: (N,) true classes.
            task: the threat model in ``task.threat``; per-image randomness from ``task.uniform``. With
                ``task.stop_early`` an image is done as soon as one iterate fools the model; without it
                (crafting for transfer) every step is taken.

        The harness checks the result, projects it and decides success by itself.
        """
        raise NotImplementedError


class Defense(Component):
    """Turn a victim into a defended victim, by training or at test time.

    Override :meth:`wrap` to change the model's structure and :meth:`fit` to train it. Gradients are off for every
    parameter of the copy that ``wrap`` receives: the parameters for which ``wrap`` leaves them on are what the
    defense declares to train. The harness compares that with what really had a gradient and what changed.
    """

    #: How the defended forward treats gradients. ``exact``: attacked end to end. ``straight-through``: attacked
    #: through what :meth:`adaptive` returns (BPDA). ``none``: attacked by queries and by transfer.
    gradient: ClassVar[Gradient] = "exact"
    #: True if two forwards of one image may differ. The harness then attacks the mean over ``draws`` forwards (EOT)
    #: and reports the mean accuracy over as many.
    randomized: ClassVar[bool] = False
    #: Forwards that stand for the expectation of a randomized defense.
    draws: ClassVar[int] = 10
    #: True for the one defense that leaves the victim as it is: the row that others are compared with.
    undefended: ClassVar[bool] = False
    #: Last names of buffers that ``fit`` computes rather than trains, such as a mean image; they count as trainable.
    statistics: ClassVar[tuple[str, ...]] = ()

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the defended classifier, not yet trained, built from a copy of the victim that is yours to change.

        The same victim, task and parameters must give the same structure and the same initial values.
        """
        return victim

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train what :meth:`wrap` returned, in place. A test-time defense leaves this as it is."""

    def adaptive(self, defended: Classifier, task: Task) -> Classifier:
        """Return the classifier through which a ``straight-through`` defense is attacked.

        Its forward must give the defended logits; only its backward may be an approximation. Where ``wrap`` already
        used :func:`robench.straight_through` for what has no useful gradient, this need not be overridden.
        """
        return defended

    def surrogates(self) -> tuple[str, ...]:
        """Return the names of the models that ``fit`` loads through ``task.load_model``; they enter its fingerprint."""
        return ()

    def passes(self, images: int) -> tuple[int, int]:
        """Return the (forwards, backwards), in images, that a fit on ``images`` costs, for ``--dry-run``."""
        return 0, 0

    def recipe(self) -> Mapping[str, Value]:
        """Return what makes the training what it is: loss, temperature, adversary, data.

        Two defenses with equal recipes and equal trainable parameters are one defense and are not ranked as two.
        """
        return {"defense": self.name, **self.parameters}


class Exporter(Component):
    """Write results in a form that other tools read."""

    def destination(self) -> str:
        """Return where :meth:`write` sends the results by itself, such as a server; empty: to its ``target``."""
        return ""

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Write the cards to ``target``: a file, or a folder where this form is one; not if it has a destination.

        ``robench.leaderboard(cards)`` ranks them. What comes out of a card is anyone's text: escape it for the form
        that is written. Raise SpecError, in a sentence, for cards that cannot be said in it.
        """
        raise NotImplementedError
