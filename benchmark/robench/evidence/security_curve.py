"""What an attack did to each image at each radius that was tried: the smallest that fells it, and accuracy over eps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

INFINITE = float("inf")


@dataclass
class SecurityCurve:
    """Gather, of every image, the radii at which it stood and fell, and the distance of its nearest error.

    An adversarial image lies in every ball that is larger than its distance, so an image that fell once has fallen at
    all larger radii, whatever the attack found there.

    Attributes:
        clean: of each image, whether it is classified correctly without an attack.
        stood: eps -> image -> whether it stood; at the radii of a bisection only some images were attacked.
        distances: of each image, the least measured norm of a perturbation that felled it; infinite where none did.
        proofs: eps -> of each image, whether a certificate says that nothing within eps fells it.
    """

    clean: Sequence[bool]
    stood: dict[float, dict[int, bool]] = field(default_factory=dict)
    distances: dict[int, float] = field(default_factory=dict)
    proofs: dict[float, Sequence[bool]] = field(default_factory=dict)

    def add(self, eps: float, stood: dict[int, bool], distances: dict[int, float]) -> None:
        """Enter what an attack did to some images at a radius, and how far the errors lie that it found."""
        self.stood[eps] = {**self.stood.get(eps, {}), **stood}
        for image, distance in distances.items():
            self.distances[image] = min(distance, self.distances.get(image, INFINITE))

    def fell(self, image: int) -> float:
        """Return the smallest tried eps at which the image fell: 0 if wrong unattacked, infinite if it never did."""
        if not self.clean[image]:
            return 0.0
        return min((eps for eps, stood in self.stood.items() if not stood.get(image, True)), default=INFINITE)

    def distance(self, image: int) -> float:
        """Return the distance of the image's nearest error: 0 if it is wrong unattacked, infinite if none was found."""
        return self.distances.get(image, INFINITE) if self.clean[image] else 0.0

    def upper(self, image: int) -> float:
        """Return the least radius at which the image is known to fall."""
        return min(self.fell(image), self.distance(image))

    def held(self, image: int) -> float:
        """Return the largest tried eps below its fall at which it stood; no proof that nothing fells it there."""
        below = self.upper(image)
        return max((eps for eps, stood in self.stood.items() if eps < below and stood.get(image, False)), default=0.0)

    def proved(self, image: int) -> float:
        """Return the largest tried eps within which the image is certified to stand; 0 if it is at none."""
        return max((eps for eps, proofs in self.proofs.items() if proofs[image]), default=0.0)

    def certified(self, eps: float) -> int:
        """Return how many images are certified at eps; what is certified at a larger one is at all within it."""
        return sum(self.proved(image) >= eps for image in range(len(self.clean)))

    def disproved(self) -> list[int]:
        """Return the images that fall within an eps at which they are certified: certificate or victim is wrong."""
        return [image for image in range(len(self.clean)) if 0 < self.proved(image) >= self.upper(image)]

    def standing(self, eps: float) -> int:
        """Return how many images are not known to fall within eps."""
        return sum(self.upper(image) > eps for image in range(len(self.clean)))

    def missed(self, eps: float) -> int:
        """Return how many images stood at eps that fall within it to what was found at other radii."""
        return sum(stood and self.upper(image) <= eps for image, stood in self.stood[eps].items())

    def wide(self, tolerance: float) -> dict[float, list[int]]:
        """Return the radii to try next, each in the brackets of the images that are named with it.

        Only brackets wider than ``tolerance`` are cut; images that never fell have none. The cuts halve the way between
        tried radii, and again where an error lies below the half, so that many images share one.
        """
        found: dict[float, list[int]] = {}
        for image in range(len(self.clean)):
            low, high, fell = self.held(image), self.fell(image), self.upper(image)
            if tolerance < fell - low < INFINITE:
                while (low + high) / 2 >= fell:
                    high = (low + high) / 2
                found.setdefault((low + high) / 2, []).append(image)
        return found


@dataclass(frozen=True)
class Summary:
    """Hold the middle and the mean of the radii at which images fall.

    Attributes:
        median: over all images; infinite (more than was tried) where at least half of them never fell.
        mean: over those that fell.
        fell: how many those are.
    """

    median: float
    mean: float | None
    fell: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Return the summary of at least one value; infinite ones are images that never fell."""
        known = [value for value in values if value < INFINITE]
        middle = median(values) if len(known) * 2 > len(values) else INFINITE
        return cls(middle, fmean(known) if known else None, len(known))
