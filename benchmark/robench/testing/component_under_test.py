"""The component under examination, and what its checks share: victims, fits, states before and after."""

from __future__ import annotations

import copy
import shutil
import tempfile
import unittest
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from robench.contracts.classifier import Classifier
from robench.contracts.components import Component, Model
from robench.contracts.examples import Examples
from robench.contracts.global_generators import seeded_globally
from robench.errors import ContractError, DataError, DeviceError, SpecError, WeightsError, attributed_to, require
from robench.evidence.store import Store
from robench.evidence.tensor_digests import tensor_digests
from robench.pipeline.stages.fit import Fitted, fit, trains
from robench.runtime.inference import freeze
from robench.testing import fixtures
from robench.testing.fixtures import USUAL, Setting
from robench.testing.pretended_cuda import pretended_cuda
from robench.testing.pretended_tensor import HIDDEN, NotPretended

#: Images a defense is trained on; a kit's fit is there to be compared, not to be good.
TRAIN_IMAGES = 20

T = TypeVar("T")


class NotTried(unittest.SkipTest):
    """Say why a check could not be tried here; pytest shows the test as skipped, with the reason."""


class NotApplicable(NotTried):
    """Say why a check does not concern this component, which is no mistake of it."""


@contextmanager
def may_refuse() -> Iterator[None]:
    """Let a component say in a sentence that this is not for it, or that its data is not here."""
    try:
        yield
    except (SpecError, DataError, WeightsError, DeviceError) as error:
        raise NotTried(str(error)) from error


@contextmanager
def on_gpu(name: str) -> Iterator[None]:
    """Try what is inside on the machine's GPU or, where there is none, on a pretended one."""
    if torch.cuda.is_available():
        yield
        return
    try:
        with pretended_cuda():
            yield
    except NotPretended as reason:
        raise NotTried(str(reason)) from reason
    except RuntimeError as error:
        if f"'{HIDDEN}' backend" in str(error):
            raise NotTried(f"this machine has no GPU, and torch cannot pretend one for {name} ({error}).") from error
        raise


class Subject:
    """Hold one component, and build once what several of its checks look at.

    Args:
        component: an instance, with the parameters to be tried.
        victim: the model that attacks and defenses are tried on; None tries the kit's own, one after the other.
    """

    def __init__(self, component: Component, victim: Model | None = None) -> None:
        self.component: Any = component
        self.name = component.name or type(component).__name__
        self._victim = victim
        self._state = self._memory()
        self._made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what ``make`` gives, made on the first call; a refusal is kept and raised again."""
        if key not in self._made:
            try:
                self._made[key] = make()
            except (NotTried, ContractError) as error:
                self._made[key] = error
        found = self._made[key]
        if isinstance(found, NotTried | ContractError):
            raise found
        return cast(T, found)

    def forget(self) -> None:
        """Let go of what was made; it is made again where a check asks for it."""
        self._made.clear()

    def victim(self, setting: Setting = USUAL) -> Classifier:
        """Return a fresh copy of the victim for ``setting``, frozen, on the CPU."""
        return copy.deepcopy(self.once(("victim", setting), lambda: self._victims(setting)[0]))

    def own_victim(self, setting: Setting = USUAL) -> Classifier | None:
        """Return the victim that the user named; None if none was."""
        return None if self._victim is None else self.victim(setting)

    def _victims(self, setting: Setting) -> list[Classifier]:
        if self._victim is None:
            return [fixtures.network(setting)]
        with may_refuse(), attributed_to(f"loading {self._victim.name}"):
            return [freeze(self._victim.load(setting.task()), "cpu")]

    def wrapped(self, setting: Setting = USUAL, seed: int = 0) -> Classifier:
        """Return the defended victim, frozen and not fitted; the first victim that the defense takes."""
        return self.once(("wrapped", setting, seed), lambda: self.wrap(self.taken(setting), setting, seed))

    def taken(self, setting: Setting = USUAL) -> Classifier:
        """Return the victim that the defense takes: a plain network or, if it refuses that, a CLIP."""
        return self.once(("taken", setting), lambda: self._taken(setting))

    def _taken(self, setting: Setting) -> Classifier:
        victims: list[Callable[[], Classifier]] = [lambda: self.victim(setting)]
        if self._victim is None:
            victims.append(lambda: fixtures.zero_shot(setting))
        failure: ContractError | None = None
        reasons = []
        for make in victims:
            victim = make()
            try:
                self.wrap(victim, setting, 0)
            except NotTried as refusal:
                reasons.append(str(refusal))
            except ContractError as error:  # the check "victims" reports it, if another victim is taken
                failure = failure or error
            else:
                return victim
        if failure is not None:
            raise failure
        raise NotTried(" ".join(dict.fromkeys(reasons)))

    def wrap(self, victim: Classifier, setting: Setting, seed: int, scramble: int = 0) -> Classifier:
        """Return what the defense makes of a copy of ``victim``, the global generators seeded with ``scramble``."""
        with may_refuse(), attributed_to(f"{self.name}.wrap"), seeded_globally(scramble):
            defended = self.component.wrap(freeze(copy.deepcopy(victim), "cpu"), setting.task(seed))
        require(
            isinstance(defended, Classifier),
            f"{self.name}.wrap must return a robench.Classifier, not {type(defended).__name__}; change the victim you "
            "are given and return it.",
        )
        return cast(Classifier, defended).eval()

    def fitted(self, seed: int = 0, again: int = 0) -> Fitted:
        """Return the fitted defense, as the harness fits and stores it; ``again`` makes another of the same seed."""
        return self.once(("fitted", seed, again), lambda: self._fit(seed, again))

    def _fit(self, seed: int, again: int) -> Fitted:
        setting, victim = USUAL, self.taken()
        with may_refuse(), seeded_globally(100 + again):
            return fit(self.component, victim, self._train, setting.task(seed), self.store, f"{seed:02}-{again}")

    def fitted_on(self, device: str) -> Fitted:
        """Return the defense fitted on a device, of the seed that ``fitted`` has."""
        task = USUAL.task(0, device)
        victim = freeze(copy.deepcopy(self.taken()), device)
        with may_refuse(), seeded_globally(100):
            return fit(self.component, victim, self._train, task, self.store, f"00-{device}")

    def restored(self, seed: int = 0) -> Fitted:
        """Return the defense of ``fitted(seed)``, built anew and its tensors loaded from the store."""
        self.fitted(seed)
        return self._fit(seed, 0)

    @property
    def _train(self) -> Callable[[], Examples] | None:
        return (lambda: fixtures.examples(USUAL, TRAIN_IMAGES)) if trains(self.component) else None

    @cached_property
    def store(self) -> Store:
        """Return a store that goes when the subject does."""
        folder = tempfile.mkdtemp(prefix="robench-kit-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Store(Path(folder))

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Raise ContractError if the component keeps anything of what has happened so far and inside."""
        yield
        require(
            self._memory() == self._state,
            f"{self.name} writes into itself while it works; a component is frozen, so keep results in local "
            "variables, and what one run learns out of the next.",
        )

    def _memory(self) -> str:
        """Return what the component holds; a cached_property depends on the parameters alone and does not count."""
        kind = type(self.component)
        return repr(
            {
                name: value
                for name, value in vars(self.component).items()
                if not isinstance(getattr(kind, name, None), cached_property)
            }
        )


#: Name of a check -> what raises its sentence.
Checks = dict[str, Callable[[Subject], None]]


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return all that a component could change about a model: tensors, gradients, modes and hooks."""
    return {
        "a tensor": tensor_digests(model),
        "which parameters take gradients": [parameter.requires_grad for parameter in model.parameters()],
        "gradients on its parameters": [parameter.grad is not None for parameter in model.parameters()],
        "train or eval mode": [module.training for module in model.modules()],
        "hooks": [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
    }


@contextmanager
def unchanged(model: nn.Module, what: str, way_out: str) -> Iterator[None]:
    """Raise ContractError if what happens inside changes anything about ``model``."""
    before = state_of(model)
    yield
    after = state_of(model)
    changed = [part for part in before if before[part] != after[part]]
    require(not changed, f"{what} changes {' and '.join(changed)} of the model it is given; {way_out}")


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-3) -> bool:
    """Tell whether two tensors agree up to rounding, relative to the largest value."""
    scale = float(wanted.abs().max().clamp_min(1.0))
    return found.shape == wanted.shape and bool(((found - wanted).abs() <= tolerance * scale).all())


@torch.no_grad()
def logits_of(model: Classifier, images: Tensor) -> Tensor:
    """Return the logits (N, classes), without a graph."""
    logits: Tensor = model(images)
    return logits
