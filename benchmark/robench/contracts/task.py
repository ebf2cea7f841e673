"""What a run fixes, handed to every component as its last argument."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from robench.contracts.hashed_file import HashedFile
from robench.contracts.threat_model import ThreatModel
from robench.errors import ContractError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robench.contracts.classifier import Classifier
    from robench.contracts.examples import Examples

T = TypeVar("T")

#: Bytes of the sha256 that a checkpoint's file begins with.
DIGEST = 32


class Progress(Protocol):
    """Show how far a stage is."""

    def track(self, items: Iterable[T], total: int, text: str) -> Iterable[T]:
        """Yield ``items`` while showing ``text`` and how many of ``total`` are done."""
        ...

    def note(self, text: str) -> None:
        """Tell the user one thing worth knowing, such as a halved batch."""
        ...


class Silent:
    """Show nothing: the progress of a library call."""

    def track(self, items: Iterable[T], total: int, text: str) -> Iterable[T]:
        """Yield ``items``."""
        return items

    def note(self, text: str) -> None:
        """Drop the note."""


class Checkpoint:
    """Keep the state of unfinished work in one file; without a path nothing is kept.

    Args:
        path: the file, replaced atomically; None keeps nothing.
        extra: what the harness adds to each state (pass counts), and takes back when one is loaded.
        note: told when a damaged file is dropped.
    """

    def __init__(
        self,
        path: Path | None = None,
        extra: tuple[Callable[[], Any], Callable[[Any], None]] = (lambda: None, lambda _: None),
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._path = path
        self._note = note
        self._get_extra, self._set_extra = extra

    def save(self, state: Any) -> None:
        """Keep ``state``: tensors, numbers, strings, and lists or dicts of them."""
        if self._path is None:
            return
        import torch

        scratch = self._path.with_suffix(".writing")
        with scratch.open("wb") as file:
            file.write(bytes(DIGEST))  # its place: the digest is known at the end
            written: Any = HashedFile(file, self._path.name.encode())
            torch.save({"state": state, "extra": self._get_extra()}, written)
            file.seek(0)
            file.write(written.hash.digest())
        scratch.replace(self._path)

    def load(self) -> Any | None:
        """Return the last state saved, or None; a damaged file, or another work's, counts as none."""
        if self._path is None or not self._path.is_file():
            return None
        import io

        import torch

        try:
            content = memoryview(self._path.read_bytes())
            if hashlib.sha256(self._path.name.encode() + content[DIGEST:]).digest() != content[:DIGEST]:
                raise ValueError("its checksum does not match")
            kept = torch.load(io.BytesIO(content[DIGEST:]), map_location="cpu", weights_only=True)
            self._set_extra(kept["extra"])
        except Exception as error:  # whatever a cut-off or foreign file raises, the work starts afresh
            self.drop(str(error).partition("\n")[0])
            return None
        return kept["state"]

    def drop(self, reason: str) -> None:
        """Forget a state that is not to be trusted, and say so."""
        self._note(f"Unfinished work in {self._path} is damaged ({reason}); it is begun again.")
        self.discard()

    def discard(self) -> None:
        """Forget the state: the work is finished."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def derive_seed(*words: object) -> int:
    """Return a 63-bit seed that depends on every word and on nothing else."""
    digest = hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _no_images() -> Any:
    raise ContractError("training images were asked for outside a run; only robench's stages can serve them.")


def _no_model(name: str) -> Any:
    raise ContractError(
        f"surrogate '{name}' was asked for outside a run; only robench's stages can load models by name."
    )


def _made_anew(make: Callable[[], Tensor], _words: Sequence[object]) -> Tensor:
    return make()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Carry what the run fixes; fields may be added without breaking a plugin.

    Attributes:
        classes: class names in label order.
        templates: the dataset's prompt templates.
        shape: (C, H, W) of the images.
        seed: the seed of this stage, already derived from the run's seed and the stage.
        device: where tensors live, such as ``cpu`` or ``cuda:0``.
        batch_size: how many images a component should take at a time.
        stop_early: an image may leave the batch once an iterate fools the model.
        indices: position in the test set of each image of this batch, so that randomness is per image.
        history: training metrics in the order they were logged.
        notes: what a model that is loaded had to have done to it, in words.
        threat_model: what crafting is held to, read as ``task.threat``; None while a defense is fitted.
        timeout: seconds an attack may take for one batch; None waits.
        checkpoint: keeps the state of a long fit or attack, so that it continues after a kill.
        load_model: gives a surrogate by name; ``self`` is the undefended victim.
        training_images: serves the dataset's training split, for an attack that is fitted on images; never test images.
        remember: keeps in the store what :meth:`remembered` is given; without one it is made anew.
    """

    classes: tuple[str, ...]
    templates: tuple[str, ...] = ("a photo of a {}",)
    shape: tuple[int, int, int]
    seed: int = 0
    device: str = "cpu"
    batch_size: int = 128
    stop_early: bool = False
    indices: Sequence[int] = ()
    threat_model: ThreatModel | None = None
    timeout: float | None = None
    progress: Progress = dataclasses.field(default_factory=Silent)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    checkpoint: Checkpoint = dataclasses.field(default_factory=lambda: Checkpoint())
    load_model: Callable[[str], Classifier] = _no_model
    training_images: Callable[[], Examples] = _no_images
    remember: Callable[[Callable[[], Tensor], Sequence[object]], Tensor] = _made_anew

    @property
    def threat(self) -> ThreatModel:
        """Return the threat model under attack; a fit has none, since one fit serves every threat model."""
        if self.threat_model is None:
            raise ContractError(
                "task.threat exists only while crafting: a defense is fitted once for all threat models, "
                "so give it an eps parameter of its own."
            )
        return self.threat_model

    def replace(self, **changes: Any) -> Task:
        """Return a copy with ``changes``."""
        return dataclasses.replace(self, **changes)

    def fork(self, *words: object) -> Task:
        """Return a copy whose seed is derived from this one's and ``words``, such as ``("epoch", 3)``."""
        return self.replace(seed=derive_seed(self.seed, *words))

    def log(self, **metrics: float) -> None:
        """Record one point of the training curves (it goes into the card)."""
        self.history.append({name: float(value) for name, value in metrics.items()})

    def note(self, text: str) -> None:
        """Say on the screen and in the card what was done to weights or images to read them; no text, no note."""
        if text:
            self.notes.append(text)
            self.progress.note(text)

    def remembered(self, make: Callable[[], Tensor], *words: object) -> Tensor:
        """Return ``make()``, or what an earlier load made for the same ``words``, from the store.

        For what takes long to compute from weights when a model is loaded, such as the features of many prompts. The
        words must tell all apart that the result depends on: strings, numbers, tensors (by their bits) and modules (by
        their layers and weights). The kind of device and torch's version are told apart by themselves.
        """
        return self.remember(make, words)

    def generator(self, *words: object) -> torch.Generator:
        """Return a CPU generator that depends on the stage's seed and on ``words``."""
        import torch

        return torch.Generator().manual_seed(derive_seed(self.seed, *words))

    def uniform(self, images: Tensor, *words: object) -> Tensor:
        """Draw U[-1, 1) in the shape of ``images``, image by image, in multiples of 2^-23.

        Each image's draw depends on the seed, on ``words`` and on the image's place in the test set, and on nothing
        else: another batch, batch size, device or processor gives the same bits (see :mod:`robench.contracts.philox`).
        """
        return self._uniform(images, words).to(images.dtype)

    def normal(self, images: Tensor, *words: object) -> Tensor:
        """Draw N(0, 1) in the shape of ``images``, image by image: the quantiles of :meth:`uniform`'s draw.

        They end at 5.4 standard deviations, and are computed in float64, so that no processor rounds them otherwise.
        """
        import torch

        unit = self._uniform(images, words)
        # MPS has no float64.
        exact = unit.cpu().double() if unit.device.type == "mps" else unit.double()
        # In the middle of each step of 2^-23, so that neither end is infinite.
        quantiles: Tensor = torch.special.ndtri((exact + 1 + 2**-24) / 2)
        return quantiles.to(torch.float32).to(images)

    def _uniform(self, images: Tensor, words: Sequence[object]) -> Tensor:
        """Return the draw in float32."""
        from robench.contracts import philox

        rows = self.indices if len(self.indices) else range(len(images))
        if len(rows) != len(images):
            raise ContractError(f"task.uniform was given {len(images)} images for {len(rows)} indices.")
        key, values = derive_seed(self.seed, *words), images.shape[1:].numel()
        return philox.uniform([int(row) for row in rows], values, key, images.device).view(images.shape)

    def keep(self, mask: Tensor) -> Task:
        """Return the task of the images that ``mask`` (N,) keeps."""
        rows = self.indices if len(self.indices) else range(len(mask))
        return self.replace(indices=[index for index, wanted in zip(rows, mask.tolist(), strict=True) if wanted])
