"""Common corruptions: noise, blur, weather and digital artefacts of five severities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from robench import Attack, SpecError, ThreatModel, parameter, seeded_globally

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task

#: The fifteen of the benchmark and the four that it keeps for validation, in its order.
COMMON = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
#: Words for several at once.
WORDS: Mapping[str, tuple[str, ...]] = {"all": COMMON + EXTRA, "common": COMMON, "extra": EXTRA}

USUAL = 3
LIBRARY = "corrupt_tta"


class Corruption(Attack):
    """Corrupt every image as Hendrycks and Dietterich do: ``corruption:fog[severity=3]``.

    ``corruption:all`` stands for the nineteen, ``corruption:common`` for the fifteen of the benchmark and
    ``corruption:extra`` for the other four. The library corrupt-tta computes them at the data set's resolution, from
    images rounded to bytes and rounded to bytes again; what it draws depends on the seed and the image. Published sets
    of corrupted images (ImageNet-C, CIFAR-10-C) were made by other versions of other libraries, CIFAR-10-C with milder
    constants, and differ.

    Nobody attacks: the model is not asked, all images are corrupted, and boards rank by the mean accuracy over the
    corruptions of a row, one board a severity.
    """

    name = "corruption"
    source = (
        "Hendrycks and Dietterich 2019, Benchmarking neural network robustness to common corruptions and "
        "perturbations, https://arxiv.org/abs/1903.12261, by the library corrupt-tta"
    )
    licence = "MIT"
    norms = ("corruption",)
    queries_only: ClassVar[bool] = True

    kind: str = parameter(default="gaussian_noise", help="which of the nineteen, or all, common or extra")
    severity: int | None = parameter(
        default=None, help=f"from 1 to 5; none: the --eps of --norm corruption, else {USUAL}", minimum=1, maximum=5
    )

    @classmethod
    def shorthand(cls, text: str) -> Mapping[str, str] | None:
        """Read ``corruption:KIND``."""
        word, colon, kind = text.partition(":")
        return {"kind": kind} if colon and word == cls.name else None

    def missing(self) -> tuple[str, ...]:
        """Return how to install the library where it is absent."""
        return () if find_spec(LIBRARY) else (_lacking(),)

    def threat(self, asked: ThreatModel) -> ThreatModel:
        """Return the severity as a threat model of its own, whatever balls the run's other attacks search."""
        if asked.norm != "corruption":
            return ThreatModel("corruption", float(self.severity or USUAL), asked.access)
        if self.severity not in (None, asked.eps):
            raise SpecError(
                f"corruption.severity is {self.severity}, and --eps of --norm corruption is {asked.eps:g}; leave one "
                "out."
            )
        return asked

    def stands_for(self) -> tuple[str, ...]:
        """Return the corruptions that ``all``, ``common`` or ``extra`` stands for."""
        severity = "" if self.severity is None else f"[severity={self.severity}]"
        return tuple(f"{self.name}:{kind}{severity}" for kind in WORDS.get(self.kind, ()))

    def passes(self) -> tuple[int, int]:
        """Return that the model is not asked."""
        return 0, 0

    def check(self, threat: ThreatModel) -> None:
        """Refuse a corruption that there is not, and a library that is not installed."""
        super().check(threat)
        if self.kind not in WORDS["all"]:
            known = ", ".join(WORDS["all"])
            raise SpecError(f"corruption '{self.kind}' is none of the nineteen; write all, common, extra, or {known}.")
        if not find_spec(LIBRARY):
            raise SpecError(_lacking())

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the corrupted images, on the byte grid."""
        import torch

        if task.threat.eps == 0:
            return images.clone()
        rows = task.indices if len(task.indices) else range(len(images))
        made = [
            self._corrupted(image, int(task.threat.eps), task.generator("corruption", row).initial_seed())
            for image, row in zip(images.cpu(), rows, strict=True)
        ]
        return torch.stack(made).to(images.device) if made else images.clone()

    def _corrupted(self, image: Tensor, severity: int, seed: int) -> Tensor:
        """Return one image (C, H, W), corrupted as RGB; a grey one is made grey again by the mean of its channels."""
        import numpy as np
        import torch

        try:
            from corrupt_tta import corrupt
        except ImportError as error:
            raise SpecError(
                f"corrupt-tta cannot be imported ({error}); where OpenCV misses a graphics library, run: pip uninstall "
                "opencv-python; pip install opencv-python-headless"
            ) from error

        pixels = image.expand(3, -1, -1).permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy()
        with seeded_globally(seed), _drawing(seed):
            found: Any = np.asarray(corrupt(pixels, severity=severity, corruption_name=self.kind), dtype=np.float64)
        whole = torch.from_numpy(found.clip(0, 255).round().astype(np.float32)).permute(2, 0, 1).div(255)
        return whole if len(image) == 3 else whole.mean(0, keepdim=True)


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Seed what draws from a new generator each time, as scikit-image's impulse noise does."""
    import numpy as np

    fresh = np.random.default_rng

    def seeded(given: Any = None) -> np.random.Generator:
        return fresh(seed if given is None else given)

    np.random.default_rng = seeded  # type: ignore[assignment]  # put back below
    try:
        yield
    finally:
        np.random.default_rng = fresh


def _lacking() -> str:
    return "corruption needs corrupt-tta, which is not installed; run: pip install 'robench[corruptions]'."
