"""The threat model: which perturbations count, in which units, and their geometry.

eps is always in pixel units of images in [0, 1] at the dataset's resolution. The functions use tensor
methods only, so this module is importable (and a run can be planned) without torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, get_args

from robench.contracts.l0_ball import highest_in_l0, nearest_in_l0, pixels_changed, sparse_directions
from robench.contracts.l1_ball import highest_in_l1, l1_length, nearest_in_l1, sparse_signs
from robench.contracts.patch_square import (
    highest_in_patch,
    nearest_in_patch,
    painted_by_draws,
    patch_directions,
    side_changed,
)
from robench.errors import SpecError

if TYPE_CHECKING:
    from torch import Tensor

#: Balls around the image (L0: eps counts pixels; patch: eps is the side of a square in pixels), and common corruptions,
#: which are no ball: eps is then the severity.
Norm = Literal["Linf", "L2", "L1", "L0", "patch", "corruption"]
Access = Literal["white-box", "transfer", "black-box"]

#: Severities of common corruptions (Hendrycks and Dietterich 2019).
SEVERITIES = range(1, 6)

#: How far a stored perturbation may exceed eps before it counts as outside the ball: float32 rounding of
#: values in [0, 1] is 6e-8, so 1e-6 forgives arithmetic and nothing else.
BALL_TOLERANCE = 1e-6

#: Share of the coordinates that a step in L1 moves, those of largest slope (Tramer and Boneh 2019: percentile 99).
SPARSE = 0.01


@dataclass(frozen=True)
class ThreatModel:
    """Say what the attacker may do: stay within ``eps`` of the image in ``norm``, with this ``access``."""

    norm: Norm = "Linf"
    eps: float = 8 / 255
    access: Access = "white-box"

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            known = " and ".join(", ".join(get_args(Norm)).rsplit(", ", 1))
            raise SpecError(f"norm '{self.norm}' is unknown; robench measures {known}.")
        check_eps(self.eps, self.norm)

    @property
    def ball(self) -> bool:
        """Tell whether it is a ball around each image, in which an attacker searches; common corruptions are none."""
        return has_ball(self.norm)

    @property
    def radius(self) -> str:
        """Return eps as it is written, with what it counts: ``8/255``, ``0.5``, ``24 px`` or ``severity 3``."""
        return radius_of(self.eps, self.norm)

    def distance(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """Return the norm of each image's perturbation, shape (N,); of corruptions the largest change of a pixel.

        Of a patch it is the side of the least square that holds everything that changed.
        """
        if self.norm == "L1":
            return l1_length(images, adversarial)
        if self.norm == "L0":
            return pixels_changed(images, adversarial)
        if self.norm == "patch":
            return side_changed(images, adversarial)
        delta = (adversarial - images).flatten(1)
        return _length(delta) if self.norm == "L2" else delta.abs_().amax(1)

    def project(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """Return a point of the ball around ``images`` and of the box [0, 1] (N, C, H, W).

        Linf and L1: the nearest. L0: the eps pixels that moved farthest stay moved; of a patch the square
        in which most moved. L2: shortened to eps, then clamped, which may end nearer to the image than it had to.
        Of corruptions any image of the box is one, and the image itself where the severity is 0.
        """
        if not self.ball:
            return adversarial.clamp(0.0, 1.0) if self.eps else images.clone()
        if self.norm == "L1":
            return nearest_in_l1(images, adversarial, self.eps, BALL_TOLERANCE / 4)
        if self.norm == "L0":
            return nearest_in_l0(images, adversarial, int(self.eps))
        if self.norm == "patch":
            return nearest_in_patch(images, adversarial, int(self.eps))
        delta = adversarial - images
        # In place, since at 224 px a fresh tensor costs more than what fills it; the sum has the images' own layout.
        if self.norm == "Linf":
            return (images + delta.clamp_(-self.eps, self.eps)).clamp_(0.0, 1.0)
        length = _length(delta.flatten(1)).clamp_min(1e-12)
        delta.mul_(_per_image((self.eps / length).clamp_max(1.0), delta))
        moved = (images + delta).clamp_(0.0, 1.0)
        # At 224 x 224 a pixel moves by about 1e-3: shortening that by 1e-5 is less than a rounding of the sum and gets
        # lost, so that an attack of many steps creeps out of its ball. Such an image is rounded towards the clean one.
        outside = self.distance(images, moved) > self.eps + BALL_TOLERANCE / 4
        longer = (moved - images).abs_() > delta.abs_()
        return moved.nextafter(images).where(longer & _per_image(outside, moved), moved)

    def steepest(self, gradient: Tensor, at: Tensor | None = None) -> Tensor:
        """Return the unit-norm direction along which a loss with this gradient grows fastest (N, C, H, W).

        Linf: the sign; L2: the normalised gradient; L1: the signs of the hundredth of the coordinates with the largest
        slopes, evenly, since the very largest alone soon meets the box (Tramer and Boneh 2019, arXiv 1904.13000); there
        coordinates that would leave the box from the points ``at`` are passed over. L0: the signs in the eps pixels of
        steepest slope; of a patch in the square of steepest slope. An all-zero gradient gives a zero direction.
        """
        if self.norm == "L0":
            return sparse_directions(gradient, int(self.eps))
        if self.norm == "patch":
            return patch_directions(gradient, int(self.eps))
        if self.norm == "L1":
            return sparse_signs(gradient, math.ceil(SPARSE * gradient.shape[1:].numel()), at)
        if self.norm == "Linf":
            return gradient.sign()
        # Divided by its peak first: the squares of a gradient of 1e-25, a saturated model's, are 0 in float32.
        peak = gradient.flatten(1).abs().amax(1)
        gradient = gradient / _per_image(peak.where(peak > 0, 1.0), gradient)
        return gradient / _per_image(gradient.flatten(1).norm(dim=1).clamp_min(1.0), gradient)

    def one_step(self, images: Tensor, gradient: Tensor) -> Tensor:
        """Return where one step of length eps along this gradient leads, in the ball and the box (N, C, H, W).

        Linf and L2: ``project(images, images + eps * steepest(gradient))``. L1, L0 and a patch: the point of
        ball and box where a linear loss is highest, of which a step along the steepest direction would fall short.
        """
        if self.norm == "L0":
            return highest_in_l0(images, gradient, int(self.eps))
        if self.norm == "patch":
            return highest_in_patch(images, gradient, int(self.eps))
        if self.norm == "L1":
            return self.project(images, highest_in_l1(images, gradient, self.eps))
        return self.project(images, images + self.eps * self.steepest(gradient))

    def from_uniform(self, images: Tensor, unit: Tensor) -> Tensor:
        """Map draws ``unit`` from U[-1, 1] to a start inside the ball and the box (N, C, H, W).

        Linf: uniform in the cube of half-width eps. L2 and L1: the draw rescaled to lie in the ball. Patch: the draw in
        a square whose place it chooses.
        """
        if self.norm == "patch":
            return painted_by_draws(images, unit, int(self.eps))
        return self.project(images, images + unit * self.reach(unit.shape[1:].numel()))

    def reach(self, size: int) -> float:
        """Return how far each of ``size`` coordinates can move at the same time: eps, eps / sqrt(size), eps / size."""
        if counts(self.norm):
            return 1.0
        return self.eps / {"Linf": 1.0, "L2": math.sqrt(size), "L1": size}[self.norm]

    def __str__(self) -> str:
        return f"{self.norm} {self.radius} {self.access}"


def has_ball(norm: str) -> bool:
    """Tell whether a norm bounds how far an image is moved; a severity of common corruptions does not."""
    return norm != "corruption"


def counts(norm: str) -> bool:
    """Tell whether a norm's eps is a whole number: pixels in L0, the side of a patch, a severity of corruptions."""
    return norm in ("L0", "patch") or not has_ball(norm)


def _length(delta: Tensor) -> Tensor:
    """Return the Euclidean length of each row, summed in float64.

    In float32 the 150,528 equal squares of a sign step at 224 x 224 add up to a length 7e-5 too large: far outside.
    """
    # MPS has no float64.
    exact = delta.cpu().double() if delta.device.type == "mps" else delta.double()
    length: Tensor = exact.norm(dim=1)
    return length.to(delta)


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


def parse_number(text: str | float | int) -> float:
    """Read ``0.03``, ``1e-3`` or ``8/255`` as a float; raise ValueError for anything else, NaN included."""
    if isinstance(text, bool):
        raise ValueError("a truth value is not a number")
    try:
        top, slash, bottom = text.partition("/") if isinstance(text, str) else (text, "", "")
        value, divisor = float(top), float(bottom) if slash else 1.0
        value = value / divisor if math.isfinite(divisor) else divisor
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except OverflowError:
        raise ValueError("not a finite number") from None
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def parse_eps(text: str | float, norm: Norm = "Linf") -> float:
    """Read ``8/255`` or ``0.03`` as eps in pixel units; raise SpecError with the reason otherwise."""
    try:
        value = parse_number(text)
    except ValueError as error:
        write = "a fraction such as 8/255 or a decimal such as 0.03"
        if norm == "L0":
            write = "the number of pixels alone, such as 24"
        elif norm == "patch":
            write = "the side of the square in pixels alone, such as 5"
        elif not has_ball(norm):
            write = f"the severity alone, from {SEVERITIES[0]} to {SEVERITIES[-1]}"
        raise SpecError(f"eps '{text}' is not a number ({error}). Write {write}.") from None
    check_eps(value, norm)
    return value


def check_eps(eps: float, norm: Norm) -> None:
    """Refuse a radius that is no number, negative, or (Linf) larger than the pixel range, and what is no severity."""
    if not math.isfinite(eps) or eps < 0:
        raise SpecError(f"eps {eps:g} is not a radius; give a number of at least 0, such as 8/255.")
    if norm == "L0" and eps != int(eps):
        raise SpecError(
            f"eps {format_eps(eps)} is no number of pixels, which L0 counts; give a whole one, such as --eps 24."
        )
    if norm == "patch" and eps != int(eps):
        raise SpecError(f"eps {format_eps(eps)} is no side of a patch in pixels; give a whole number, such as --eps 5.")
    if not has_ball(norm) and eps not in (0, *SEVERITIES):
        raise SpecError(
            f"eps {eps:g} is no severity of a corruption; give a whole number from {SEVERITIES[0]} to {SEVERITIES[-1]}."
        )
    if norm == "Linf" and eps > 1:
        raise SpecError(
            f"eps {eps:g} is larger than the whole pixel range: images are in [0, 1], so eps is too. "
            f"For {eps:g} grey levels of 255 write --eps {eps:g}/255."
        )


def format_eps(eps: float) -> str:
    """Write eps the way the field does: ``0.5`` if that is exact, ``8/255`` for a (half, ...) grey level."""
    plain = f"{eps:g}"
    if float(plain) == eps:
        return plain
    levels = eps * 255
    nearest = Fraction(levels).limit_denominator(8)
    if nearest and abs(levels - float(nearest)) < 1e-6 * max(levels, 1):
        return f"{float(nearest):g}/255"
    return plain


def radius_of(eps: float, norm: str) -> str:
    """Write eps with what it counts: ``8/255``, ``0.5``, in L0 ``24 px``, of a patch ``5 px``, or ``severity 3``.

    A radius of Linf that is no short decimal is written in grey levels, whatever their fraction: ``3.27/255``.
    """
    if norm in ("L0", "patch"):
        return f"{eps:.4g} px"
    if not has_ball(norm):
        return f"severity {eps:.4g}"
    written = format_eps(eps)
    measured = norm == "Linf" and "/" not in written and float(written) != eps
    return f"{eps * 255:.4g}/255" if measured else written
