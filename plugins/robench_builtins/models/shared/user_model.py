"""What the models that users bring as files have in common."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from robench import Model, SpecError, Task, WeightsError, parameter
from robench_builtins.models.shared.normalisation import STATISTICS

if TYPE_CHECKING:
    from torch import nn

    from robench import Classifier


class UserModel(Model):
    """Take a network from the user's own file; resize and normalise before it if asked to."""

    #: What follows the colon of the shorthand, as errors show it.
    typed: ClassVar[str] = ""

    path: str = parameter(default="", help="the file")
    size: int | None = parameter(
        default=None, help="side in pixels to resize images to, where the network does not do it itself", minimum=1
    )
    normalisation: Literal["none", "cifar10", "clip", "imagenet", "half"] = parameter(
        default="none", help="statistics to normalise images with, where the network does not do it itself"
    )

    def files(self) -> tuple[Path, ...]:
        """Return the file."""
        return (Path(self.path).expanduser(),) if self.path else ()

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``NAME:FILE``."""
        word, colon, path = text.partition(":")
        return {"path": path} if colon and word == cls.name else None

    def file(self) -> Path:
        """Return the file; WeightsError if it is not there."""
        if not self.path:
            raise SpecError(f"{self.name} needs a file; write {self.typed}.")
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise WeightsError(f"{self.name} found no file at {path}; write {self.typed} with one that exists.")
        return path

    def classifier(self, network: nn.Module, task: Task) -> Classifier:
        """Return the network behind the resizing and normalisation that were asked for."""
        from robench import Classifier, Preprocess

        if self.size is None and self.normalisation == "none":
            return Classifier(network, len(task.classes)).eval()
        mean, std = STATISTICS.get(self.normalisation, ((0.0,), (1.0,)))
        return Classifier(network, len(task.classes), Preprocess(mean, std, self.size)).eval()

    def check(self, classifier: Classifier, task: Task) -> Classifier:
        """Return the classifier after two images went through it; WeightsError in the user's words if they cannot.

        The harness checks the logits again on real images; here the file can be named.
        """
        import torch

        channels, height, width = task.shape
        shown = f"{channels} x {height} x {width}"
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(2, *task.shape, generator=generator)
        with torch.no_grad():
            try:
                logits = classifier(images)
            except Exception as error:  # a network may raise anything on images it was not made for
                raise WeightsError(
                    f"{self.path} cannot classify the dataset's images, {shown} in [0, 1]: {first_line(error)}. If it "
                    "wants another size or normalised images, add -p victim.size=224 -p victim.normalisation=imagenet."
                ) from error
        self._check_logits(logits, len(task.classes))
        return classifier

    def _check_logits(self, logits: Any, classes: int) -> None:
        import torch

        if not isinstance(logits, torch.Tensor):
            raise WeightsError(
                f"{self.path} answers with {type(logits).__name__} instead of a tensor of logits; return the logits "
                "themselves, one row an image."
            )
        if logits.dim() != 2 or len(logits) != 2:
            raise WeightsError(
                f"{self.path} answers two images with a tensor of shape {tuple(logits.shape)}; logits are "
                f"(images, classes), here (2, {classes})."
            )
        if logits.shape[1] != classes:
            raise WeightsError(
                f"{self.path} tells {logits.shape[1]} classes apart, but the dataset has {classes}; bring a model that "
                "was trained on these classes, or choose its dataset with --dataset."
            )


def first_line(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def file_kind(path: Path) -> str:
    """Return what a file is, and how such a file is brought, by its list of contents alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        if path.suffix == ".safetensors":
            return f"it holds tensors and no network, so write FILE.py:NAME -p victim.weights={path}"
        return "it is not a file that torch wrote, or is damaged"
    if "archive_format" in names or any(name.startswith("models/") for name in names):
        return f"it is a torch.export program, so write export:{path}"
    if any(name.startswith("code/") for name in names):
        return f"it is a TorchScript program, so write torchscript:{path}"
    if "data.pkl" in names:
        return f"it holds tensors or a pickled model, so write FILE.py:NAME -p victim.weights={path}"
    return "it is an archive of something else"
