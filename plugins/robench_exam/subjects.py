"""The models that attacks are examined on."""

from __future__ import annotations

from collections.abc import Sequence

from robench import SpecError, ThreatModel
from robench.errors import suggestion
from robench_exam.brightness import brightness
from robench_exam.ground import Subject
from robench_exam.linear_maps import linear, overconfident
from robench_exam.nearest_neighbour import few_neighbours, nearest_neighbour
from robench_exam.one_for_all import two_halves
from robench_exam.relu_networks import convolution, relu, relu_regions
from robench_exam.ridges import periodic, saturated, staircase

CLOSED = "closed form, pixel by pixel"
SORTED = "closed form: the pixels whose channels gain most, sorted"
SQUARES = "closed form: the square that gains most, of all"
#: The radii leave about half of the images robust.
SUBJECTS = (
    Subject("linear", "plain", ThreatModel("Linf", 4 / 255), "ten classes, a linear map", CLOSED, linear),
    Subject(
        "linear-l2", "plain", ThreatModel("L2", 0.2), "the same in L2", "closed form, by the multiplier", linear
    ),
    Subject(
        "nearest-neighbour", "plain", ThreatModel("Linf", 12 / 255),
        "four classes of four prototypes, each logit minus the least squared distance",
        "a linear program for each prototype of another class", nearest_neighbour,
    ),
    Subject(
        "nearest-neighbour-l2", "plain", ThreatModel("L2", 0.7), "the same in L2",
        "a quadratic program for each prototype of another class (least distance, by non-negative least squares)",
        nearest_neighbour,
    ),
    Subject(
        "relu", "plain", ThreatModel("Linf", 3 / 255), "five classes, two hidden layers of 12 and 8 ReLUs",
        "mixed-integer programs (HiGHS)", relu,
    ),
    Subject(
        "relu-l2", "plain", ThreatModel("L2", 0.08), "five classes, one hidden layer of six ReLUs",
        "the nearest error in each of its linear regions", relu_regions,
    ),
    Subject(
        "convolution", "plain", ThreatModel("Linf", 3 / 255), "five classes, one convolution with 64 ReLUs",
        "mixed-integer programs (HiGHS)", convolution,
    ),
    Subject(
        "overconfident", "masked", ThreatModel("Linf", 4 / 255), "`linear` with its logits times 3,000",
        CLOSED, overconfident,
    ),
    Subject(
        "saturated", "masked", ThreatModel("Linf", 8 / 255), "two classes, 8 tanh(20 w.x): flat but near its border",
        CLOSED, saturated,
    ),
    Subject(
        "staircase", "masked", ThreatModel("Linf", 8 / 255), "two classes, w.x rounded down to steps: no gradient",
        CLOSED, staircase,
    ),
    Subject(
        "periodic", "masked", ThreatModel("Linf", 8 / 255), "two classes, w.x with waves: many local minima",
        "the values of w.x in the ball are an interval, on which the wave's least value is known", periodic,
    ),
    Subject(
        "linear-l0", "plain", ThreatModel("L0", 3), "`linear`, images farther from their borders", SORTED, linear,
    ),
    Subject(
        "nearest-neighbour-l0", "plain", ThreatModel("L0", 4),
        "three classes of two prototypes, each logit minus the least squared distance",
        "a mixed-integer program (HiGHS) for each prototype of another class", few_neighbours,
    ),
    Subject("linear-patch", "plain", ThreatModel("patch", 2), "`linear-l0`'s map and images", SQUARES, linear),
    Subject(
        "two-halves", "plain", ThreatModel("Linf", 4 / 255),
        "three classes, for all images of which one perturbation is the worst", CLOSED, two_halves, shared=True,
    ),
    Subject(
        "brightness", "plain", ThreatModel("corruption", 3), "two classes, a threshold on the mean of grey images",
        "by hand: brightness adds 0.3, up to white", brightness, kind="brightness",
    ),
    Subject(
        "overconfident-l0", "masked", ThreatModel("L0", 3), "`linear-l0` with its logits times 3,000", SORTED,
        overconfident,
    ),
    Subject(
        "overconfident-patch", "masked", ThreatModel("patch", 2), "`linear-patch` with its logits times 3,000", SQUARES,
        overconfident,
    ),
    Subject("staircase-l0", "masked", ThreatModel("L0", 3), "`staircase` in L0", SORTED, staircase),
    Subject("staircase-patch", "masked", ThreatModel("patch", 2), "`staircase` under a patch", SQUARES, staircase),
    Subject("periodic-l2", "masked", ThreatModel("L2", 0.5), "the same in L2", "likewise", periodic),
)  # fmt: skip


def chosen(names: Sequence[str]) -> list[Subject]:
    """Return the subjects of these names, or all; SpecError for one that there is not."""
    known = {subject.name: subject for subject in SUBJECTS}
    for name in names:
        if name not in known:
            raise SpecError(f"robench exam has no model '{name}'; {suggestion(name, known)}")
    return [known[name] for name in dict.fromkeys(names)] if names else [*SUBJECTS]
