"""What models from a library of architectures have in common: published weights, one's own, or drawn ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from robench import SpecError, Task, WeightsError, parameter
from robench_builtins.models.shared.from_scratch import TrainableModel, drawn

if TYPE_CHECKING:
    from robench import Classifier


class LibraryModel(TrainableModel):
    """Take an architecture by its name in a library, with the weights that were published for it.

    Drawn weights, or a drawn last layer, are trained on the dataset, all parameters together.
    """

    #: What the user types, as errors show it.
    typed: ClassVar[str] = ""

    model: str = parameter(default="", help="the architecture, as the library names it")
    checkpoint: str = parameter(default="", help="local weights in place of the published ones")
    pretrained: bool = parameter(
        default=True, help="start from weights; false: draw them at random, which makes sense with training only"
    )
    head: Literal["own", "new"] = parameter(
        default="own", help="own: the weights' last layer; new: one drawn for the dataset's classes, to be trained"
    )
    resolution: int | None = parameter(
        default=None,
        help="side in pixels of the network's input, uncropped; none: as the library prepares images",
        minimum=1,
    )
    interpolation: Literal["library", "bicubic", "bilinear"] = parameter(
        default="library", help="how images are resized; library: as for the published weights"
    )

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``NAME:MODEL``."""
        word, colon, model = text.partition(":")
        return {"model": model} if colon and word == cls.name else None

    def files(self) -> tuple[Path, ...]:
        """Return the local weights, if some are named."""
        return (Path(self.checkpoint).expanduser(),) if self.checkpoint else ()

    def untrained(self) -> bool:
        """Tell whether the model has to be trained on the dataset first."""
        return not self.pretrained or self.head == "new"

    def build(self, task: Task) -> Classifier:
        """Return the classifier; the random numbers that the library asks torch for are drawn from the task."""
        raise NotImplementedError

    def load(self, task: Task) -> Classifier:
        """Return the classifier of the architecture, with the library's own preprocessing inside."""
        if not self.model:
            raise SpecError(f"{self.name} needs a model; write {self.typed}.")
        if self.checkpoint and not self.pretrained:
            raise SpecError(
                f"{self.name} is given a checkpoint and pretrained=false, which draws weights at random; leave one out."
            )
        for path in self.files():
            if not path.exists():
                raise WeightsError(
                    f"checkpoint {path} does not exist; pass -p victim.checkpoint=PATH with one that does."
                )
        with drawn(task):
            classifier = self.build(task)
        return classifier.eval()

    @property
    def place(self) -> str:
        """Return where the weights come from, for errors."""
        return self.checkpoint or f"{self.name}:{self.model}"


def other_classes(place: str, found: int, wanted: int) -> WeightsError:
    """Return the error for weights whose last layer is not the dataset's."""
    what = f"tells {found} classes apart" if found else "has no last layer for classes"
    return WeightsError(
        f"{place} {what}, but the dataset has {wanted}; add -p victim.head=new and train it, bring a checkpoint that "
        "was trained on these classes, or choose its dataset with --dataset."
    )


def reason(error: BaseException) -> str:
    """Return what an error says, in one line of some words."""
    words = " ".join(str(error).split()).rstrip(".")
    return f"{words[:240]}..." if len(words) > 240 else words or type(error).__name__
