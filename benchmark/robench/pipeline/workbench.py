"""The workbench: what a run has loaded, fitted and prepared; only the most recent of each stays in memory."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import torch

from robench.contracts.adaptive import adapt
from robench.contracts.classifier import Classifier, ZeroShotClassifier
from robench.contracts.components import Dataset, Defense, Model
from robench.contracts.examples import Examples
from robench.contracts.task import Progress, Silent, Task
from robench.errors import ContractError, DeviceError, RobenchError, SpecError, require
from robench.evidence.store import Store, default_root
from robench.evidence.victim_digests import digests_of
from robench.gate.level import Level, level_of
from robench.pipeline.from_scratch import training_as_defense
from robench.pipeline.remembered_tensors import remembered
from robench.pipeline.stages.fit import KIND, Fitted, fit, fitted_elsewhere, trains
from robench.pipeline.stages.load import Data, load_data, load_model, serve
from robench.plan.cell import SELF, Cell, SelectedComponent, type_of
from robench.runtime.deterministic import reserve_workspace
from robench.runtime.float32 import compute_in_float32
from robench.runtime.inference import Prepared, prepare
from robench.runtime.large_pages import prefer_large_pages
from robench.runtime.time_beside import TimeBeside

_LOG = logging.getLogger(__name__)

#: Real images on which the rewrites of the inference graph are compared with the plain model.
PROBE_IMAGES = 8
SMALL_SIDE = 64

#: What a run can be carried out on -> what torch has to be built with for it.
KINDS = {"cpu": "", "cuda": "CUDA", "mps": "MPS", "xpu": "XPU"}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Say how a run is carried out; none of it changes what is measured.

    Attributes:
        store: folder of the artifacts; None is the user's cache folder, or ``$ROBENCH_STORE``.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``xpu``.
        batch_size: images at once; None chooses by device and resolution.
        compiled: use torch.compile on the inference graph.
        prepared: rewrite the inference graph (merge, fold, channels last) where the logits agree.
        gate: how hard the harness tries to disprove the numbers.
        timeout: seconds that an attack may take for one batch; None waits.
        progress: shows how far the stages are.
        gallery: keep a few images of each cell to look at.
    """

    store: Path = field(default_factory=default_root)
    device: str = "auto"
    batch_size: int | None = None
    compiled: bool = False
    prepared: bool = True
    gate: Level = field(default_factory=level_of)
    timeout: float | None = None
    progress: Progress = field(default_factory=Silent)
    gallery: bool = False


class LruCache(Generic[T]):
    """Keep the most recently used results of a costly call."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """Return the entry of ``key``, or make it, dropping the least recently used."""
        if key not in self._entries:
            while len(self._entries) >= self._size:
                self._entries.popitem(last=False)
            self._entries[key] = make()
        self._entries.move_to_end(key)
        return self._entries[key]


@dataclass(frozen=True)
class Defended:
    """Hold a fitted victim, its copy prepared for inference, and what a white-box attack goes through."""

    fitted: Fitted
    prepared: Prepared
    adaptive: Classifier


class Workbench:
    """Load, fit and prepare each thing once, and keep the most recent ones."""

    def __init__(self, options: Options, device: str) -> None:
        self.options = options
        self.device = use_device(device)
        self.store = Store(options.store, warn=options.progress.note)
        self._data: LruCache[Data] = LruCache(2)
        self._models: LruCache[Classifier] = LruCache(3)
        self._trained: LruCache[Fitted] = LruCache(3)
        self._prepared: LruCache[Prepared] = LruCache(3)
        self._defended: LruCache[Defended] = LruCache(2)
        self._digests: dict[str, str] = {}
        self._said = set[str]()
        self.beside = TimeBeside()

    def task(self, cell: Cell, *stage: object) -> Task:
        """Return the task of one stage of a cell."""
        data = self.data(cell)
        task = data.task(cell.seed, self.device, self.batch_size(data), self.options.progress, *stage)
        training = partial(serve, type_of(cell.dataset, Dataset), "train")
        return task.replace(timeout=self.options.timeout, training_images=training)

    def craft_task(self, cell: Cell) -> Task:
        """Return the task under which a cell's images are crafted."""
        defense: Defense = type_of(cell.defense, Defense)
        # Where answers are random, an iterate may err by chance: every step is taken.
        early = cell.surrogate is None and not defense.randomized
        return self.task(cell, "craft").replace(threat_model=cell.threat, stop_early=early)

    def batch_size(self, data: Data) -> int:
        """Return the batch size asked for, or one that suits the device and the resolution."""
        if self.options.batch_size is not None:
            return self.options.batch_size
        if self.device.startswith("cuda"):
            return 1024 if max(data.test.shape[1:]) <= SMALL_SIDE else 256
        # Measured: at 32 x 32 a CPU's plateau is 64 to 256; above, activations outgrow malloc's 32 MB arenas.
        return 128 if max(data.test.shape[1:]) <= SMALL_SIDE else 64

    def data(self, cell: Cell) -> Data:
        """Return the cell's test images."""
        dataset: Dataset = type_of(cell.dataset, Dataset)
        return self._data.get(cell.data_id, lambda: self._load_data(dataset, cell))

    def validation(self, cell: Cell) -> Examples | None:
        """Return the cell's validation images; None where its dataset has none, or none of the same classes."""
        dataset: Dataset = type_of(cell.dataset, Dataset)
        try:
            served = serve(dataset, "val")
        except RobenchError:
            return None
        known = torch.arange(len(self.data(cell).classes))
        return served if bool(torch.isin(served.labels, known).all()) else None

    def classes_served(self, cell: Cell) -> int | None:
        """Return how many classes occur in the cell's training split; None where it has none."""
        try:
            return len(serve(type_of(cell.dataset, Dataset), "train").labels.unique())
        except RobenchError:
            return None

    def _load_data(self, dataset: Dataset, cell: Cell) -> Data:
        with self.beside.of("reading data sets"):
            data = load_data(dataset, cell.n)
        size = "x".join(map(str, data.test.shape))
        _LOG.info(
            "loaded %s: %d test images, %s, %d classes", cell.dataset.typed, len(data.test), size, len(data.classes)
        )
        for note in dataset.notes():
            self.options.progress.note(note)
        return data

    def model(self, cell: Cell, chosen: SelectedComponent) -> Classifier:
        """Return a victim or surrogate of the cell's dataset, frozen."""
        trained = self.trained(cell, chosen)
        if trained is not None:
            return trained.model
        return self._models.get(_on(cell, cell.model_id(chosen)), lambda: self._load(cell, chosen))

    def loaded(self, cell: Cell, chosen: SelectedComponent) -> Classifier:
        """Return a model as it is loaded: without weights, where it comes without."""
        return self._load(cell, chosen)

    def trained(self, cell: Cell, chosen: SelectedComponent) -> Fitted | None:
        """Return a model that comes without weights as it was trained here; None for any other."""
        model: Model = type_of(chosen, Model)
        if not model.untrained():
            return None
        return self._trained.get(_on(cell, cell.model_id(chosen)), lambda: self._train(cell, chosen))

    def _train(self, cell: Cell, chosen: SelectedComponent) -> Fitted:
        model = type_of(chosen, Model)
        # Layers draw their initial weights from the global generator.
        with torch.random.fork_rng(devices=[self.device] if self.device.startswith("cuda") else []):
            torch.manual_seed(self.task(cell, "initial", model.name).seed)
            loaded = self._load(cell, chosen)
        # Two models of one run are not drawn alike, and the same model is the same as victim and as surrogate.
        task = self.task(cell, "train", model.name)
        training = training_as_defense(model)
        if cell.train is not None:
            self._check_classes(cell, loaded, model.name)
            if self.store.get(KIND, cell.model_id(chosen)) is None:
                self.trained(cell.home, chosen)
            return fitted_elsewhere(training, loaded, self._train_split(cell), task, self.store, cell.model_id(chosen))
        return fit(training, loaded, self._train_split(cell), task, self.store, cell.model_id(chosen))

    def victim_digest(self, cell: Cell) -> str:
        """Return the digest of the victim's weights."""
        key = cell.model_id(cell.victim)
        if key not in self._digests:
            trained = self.trained(cell, cell.victim)
            self._digests[key] = digests_of(self.model(cell, cell.victim)).victim if trained is None else trained.digest
        return self._digests[key]

    def surrogate(self, cell: Cell, chosen: SelectedComponent) -> Prepared:
        """Return the attacker's model prepared for inference."""
        return self._prepared.get(
            _on(cell, cell.model_id(chosen)), lambda: self._prepare(cell, self.model(cell, chosen))
        )

    def defended(self, cell: Cell) -> Defended:
        """Return the cell's victim under its defense."""
        return self._defended.get(_on(cell, cell.fit_id), lambda: self._fit(cell))

    def _load(self, cell: Cell, chosen: SelectedComponent) -> Classifier:
        model: Model = type_of(chosen, Model)
        members = dict(zip(model.members(), chosen.members, strict=True))

        def by_name(name: str) -> Classifier:
            require(
                name in members,
                f"{model.name}.load loads '{name}', which its members() does not return; name it there, so that the "
                "model's fingerprint depends on it.",
            )
            return self.model(cell, members[name])

        keep = partial(remembered, self.store, self.device)
        task = self.task(cell, "load").replace(load_model=by_name, remember=keep)
        with self.beside.of("loading models"):
            loaded = load_model(model, self.data(cell), task)
        count = sum(parameter.numel() for parameter in loaded.parameters())
        _LOG.info("loaded %s: %s", chosen.typed, "; ".join([f"{count:,} parameters", *loaded.notes]))
        return loaded

    def _fit(self, cell: Cell) -> Defended:
        defense: Defense = type_of(cell.defense, Defense)

        def by_name(name: str) -> Classifier:
            return self.model(cell, _named(cell, name))

        task = self.task(cell, "fit").replace(load_model=by_name)
        train = self._train_split(cell) if trains(defense) else None
        victim = self.model(cell, cell.victim)
        if cell.train is not None and cell.fits:
            self._check_classes(cell, victim, cell.victim.component.name)
            if self.store.get(KIND, cell.fit_id) is None:
                self.defended(cell.home)
            fitted = fitted_elsewhere(defense, victim, train, task, self.store, cell.fit_id)
        else:
            with self.beside.of("copying, comparing and storing weights"):
                anew = self.store.get(KIND, cell.fit_id) is None
                fitted = fit(defense, victim, train, task, self.store, cell.fit_id)
                self.beside.less(fitted.cost.seconds if anew else 0.0)
        prepared = self._prepare(cell, fitted.model)
        return Defended(fitted, prepared, adapt(defense, fitted.model, prepared.model, task))

    def _train_split(self, cell: Cell) -> Callable[[], Examples]:
        """Return what serves the images that this cell is trained on."""
        return partial(serve, type_of(cell.home.dataset, Dataset), "train")

    def _check_classes(self, cell: Cell, victim: Classifier, name: str) -> None:
        """Refuse what can answer with the classes it was trained on only, where the test set's are others."""
        datasets = [type_of(chosen, Dataset) for chosen in (cell.home.dataset, cell.dataset)]
        there, here = [dataset.classes() for dataset in datasets]
        if isinstance(victim, ZeroShotClassifier) or here == there:
            return
        raise SpecError(
            f"{name} answers with the classes that it is trained on, and those of {datasets[0].name} "
            f"({_first(there)}) are not those of {datasets[1].name} ({_first(here)}), in this order; "
            "choose a --train-dataset of the same classes, or a zero-shot victim, such as tiny-clip."
        )

    def _prepare(self, cell: Cell, model: Classifier) -> Prepared:
        if not self.options.prepared:
            return Prepared(model, (), 0.0)
        test = self.data(cell).test
        count = min(PROBE_IMAGES, len(test))
        probe = next(test[:count].batches(count, self.device)).images
        with self.beside.of("preparing models for inference"):
            prepared = prepare(model, probe, compiled=self.options.compiled)
        if prepared.not_compiled and prepared.not_compiled not in self._said:
            self._said.add(prepared.not_compiled)
            self.options.progress.note(
                f"torch.compile cannot be used here ({prepared.not_compiled}), so models run as they are. Leave "
                "--compile out; if a compiler is missing, install it (g++, or Triton for a GPU)."
            )
        return prepared


def _on(cell: Cell, made: str) -> str:
    """Return the key of something that is made for a cell: what is trained elsewhere has a head for each test set."""
    return made if cell.train is None else f"{made} {cell.data_id}"


def _first(classes: Sequence[str]) -> str:
    return f"{', '.join(classes[:3])}{f', ... {len(classes):,} in all' if len(classes) > 3 else ''}"


def _named(cell: Cell, name: str) -> SelectedComponent:
    """Return a model that the cell's defense loads while fitting."""
    typed = [other for other in type_of(cell.defense, Defense).surrogates() if other != SELF]
    found = dict(zip(typed, cell.loads, strict=True)).get(name)
    if name != SELF and found is None:
        raise ContractError(
            f"{cell.defense.component.name}.fit loads '{name}', which its surrogates() does not return; name it "
            "there, so that the fit's fingerprint depends on it."
        )
    return found or cell.victim


def use_device(device: str) -> str:
    """Return the device after checking that it is there, and make its arithmetic float32 and repeatable."""
    kind, _, index = device.partition(":")
    if kind not in KINDS:
        raise SpecError(f"--device {device} is no device; write cpu, cuda or cuda:0, mps, xpu or auto.")
    if kind != "cpu":
        count, build = _devices(kind), KINDS[kind]
        if not count:
            raise DeviceError(
                f"--device {device} was asked for, but torch sees no {build} device here; use --device cpu, or install "
                f"a torch build with {build}{' and check nvidia-smi' if kind == 'cuda' else ''}."
            )
        if int(index or 0) >= count:
            last = f" to {kind}:{count - 1}" if count > 1 else ""
            raise DeviceError(f"--device {device} does not exist; this machine has {kind}:0{last}.")
    compute_in_float32()
    prefer_large_pages()
    _LOG.info("computing on %s, threads: %d", device, torch.get_num_threads())
    if kind == "cuda":
        reserve_workspace()
        torch.cuda.set_device(int(index or 0))  # streams, events and libraries take the current one
    return device


def _devices(kind: str) -> int:
    """Return how many devices of a kind torch can use here."""
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return torch.accelerator.device_count() if here is not None and here.type == kind else 0
