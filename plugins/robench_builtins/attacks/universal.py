"""A universal perturbation: one for all images, fitted on training images."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ClassVar

from robench import Attack, SpecError, ThreatModel, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Examples, Task

#: What was fitted to a model in this process: a run asks batch by batch, and each batch gets the same.
_FITTED: weakref.WeakKeyDictionary[Classifier, dict[tuple[object, ...], Tensor]] = weakref.WeakKeyDictionary()


class Universal(Attack):
    """Fit one perturbation on training images by stochastic gradient steps, and add it to every test image.

    max over |delta| <= eps of mean_i min(CE(f(clip(x_i + delta)), y_i), beta) over images x_i of the training split.
    In each batch delta takes a step along the sign (L2: the direction) of the gradient of the mean and is moved back to
    the ball; the step begins at decay * eps and shrinks by decay each epoch. The clipped loss keeps a few images that
    are far gone from deciding alone. No test image is seen while fitting.

    Whoever may choose a perturbation for each image does no worse, so what stands here speaks for no row: the card is
    measured, judged and shown beside the others, and ranks nothing by itself.
    """

    name = "universal"
    source = (
        "Moosavi-Dezfooli et al. 2017, Universal adversarial perturbations, https://arxiv.org/abs/1610.08401, fitted "
        "by gradient steps as in Shafahi et al. 2020, Universal adversarial training, https://arxiv.org/abs/1811.11304"
    )
    norms = ("Linf", "L2")
    shared: ClassVar[bool] = True

    epochs: int = parameter(default=10, help="passes over the training images", minimum=1)
    images: int = parameter(default=1000, help="training images it is fitted on, or all if there are fewer", minimum=1)
    batch: int = parameter(default=128, help="training images a step", minimum=1)
    decay: float = parameter(
        default=0.8,
        help="the first step as a share of eps, and of each epoch's step the next's",
        minimum=0.0,
        maximum=1.0,
    )
    beta: float = parameter(default=12.0, help="most that an image's loss counts", minimum=0.0)

    @property
    def iterative(self) -> bool:
        """Tell that many steps are taken."""
        return True

    def passes(self) -> tuple[int, int]:
        """Return that a test image costs no pass."""
        return 0, 0

    def passes_once(self) -> tuple[int, int]:
        """Return what the fit costs, all steps together."""
        return self.epochs * self.images, self.epochs * self.images

    def check(self, threat: ThreatModel) -> None:
        """Refuse steps of no length and a loss that is cut off at 0."""
        super().check(threat)
        for name, value in (("decay", self.decay), ("beta", self.beta)):
            if not value:
                raise SpecError(f"universal.{name} = 0 moves nothing; leave it out for the default.")

    def weakness(self, threat: ThreatModel) -> str:
        """Say why it speaks for no row."""
        return "one perturbation for all images, which one for each image would undercut"

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the images with the perturbation added, in the box."""
        if task.threat.eps == 0:
            return images.clone()
        return task.threat.project(images, images + self._fitted(model, images, task))

    def _fitted(self, model: Classifier, images: Tensor, task: Task) -> Tensor:
        """Return delta (1, C, H, W) for this model, fitted once a seed and threat model."""
        known = _FITTED.setdefault(model, {})
        key = (self, task.threat.norm, task.threat.eps, task.seed, str(images.device))
        if key not in known:
            known[key] = self._fit(model, task.training_images(), task, images[:1] * 0.0)
        return known[key]

    def _fit(self, model: Classifier, train: Examples, task: Task, delta: Tensor) -> Tensor:
        from robench import input_gradient

        some = train.sample(min(self.images, len(train)), task.fork("universal").seed)
        step = task.threat.eps
        for epoch in range(self.epochs):
            step *= self.decay
            shuffle = task.generator("universal", epoch)
            for images, labels, _ in some.batches(self.batch, task.device, shuffle=shuffle):

                def loss(delta: Tensor, images: Tensor = images, labels: Tensor = labels) -> Tensor:
                    return self._losses(model, images, labels, delta).mean()[None]

                _, gradient = input_gradient(loss, delta)
                delta = self._within(delta + step * task.threat.steepest(gradient), task.threat)
        return delta

    def _losses(self, model: Classifier, images: Tensor, labels: Tensor, delta: Tensor) -> Tensor:
        """Return the clipped cross-entropy of each image (N,)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(model((images + delta).clamp(0, 1)), labels, reduction="none").clamp_max(self.beta)

    def _within(self, delta: Tensor, threat: ThreatModel) -> Tensor:
        """Return delta moved back to the ball; the box is each image's own."""
        if threat.norm == "Linf":
            return delta.clamp(-threat.eps, threat.eps)
        length = threat.distance(delta * 0.0, delta).view(-1, 1, 1, 1)
        return delta * (threat.eps / length.clamp_min(threat.eps))
