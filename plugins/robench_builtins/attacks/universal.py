"""A universal perturbation or patch: one for all images, fitted on training images."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from robench import Attack, DataError, SpecError, ThreatModel, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Examples, Task

#: What was fitted to a model in this process: a run asks batch by batch, and each batch gets the same.
_FITTED: weakref.WeakKeyDictionary[Classifier, dict[tuple[object, ...], _Change]] = weakref.WeakKeyDictionary()


class _Change(NamedTuple):
    """Hold what is added to every image (1, C, H, W), or the colours that are painted where ``square`` holds."""

    values: Tensor
    square: Tensor | None = None

    def on(self, images: Tensor) -> Tensor:
        """Return the images with the change, in the box."""
        if self.square is None:
            return (images + self.values).clamp(0, 1)
        return self.values.expand_as(images).where(self.square, images)


class Universal(Attack):
    """Fit one perturbation on training images by stochastic gradient steps, and add it to every test image.

    max over |delta| <= eps of mean_i min(CE(f(clip(x_i + delta)), y_i), beta) over images x_i of the training split.
    In each batch delta takes a step along the sign (L2: the direction) of the gradient of the mean and is moved back to
    the ball; the step begins at decay * eps and shrinks by decay each epoch. The clipped loss keeps a few images that
    are far gone from deciding alone. No test image is seen while fitting.

    In the norm patch it is one square of side eps, in the same colours and at the same place in every image. The first
    epoch looks for the place: the square in which the images gain most together, were the mean loss linear. It is
    painted in the colours of that gain, which the other epochs climb by sign steps, shares of the whole range.

    Whoever may choose a perturbation for each image does no worse, so what stands here speaks for no row: the card is
    measured, judged and shown beside the others, and ranks nothing by itself.
    """

    name = "universal"
    source = (
        "Moosavi-Dezfooli et al. 2017, Universal adversarial perturbations, https://arxiv.org/abs/1610.08401, fitted "
        "by gradient steps as in Shafahi et al. 2020, Universal adversarial training, "
        "https://arxiv.org/abs/1811.11304; "
        "the patch, Brown et al. 2017, Adversarial patch, https://arxiv.org/abs/1712.09665, here at one place"
    )
    norms = ("Linf", "L2", "patch")
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
        change = self._fitted(model, images, task)
        return task.threat.project(images, images + change.values if change.square is None else change.on(images))

    def _fitted(self, model: Classifier, images: Tensor, task: Task) -> _Change:
        """Return the change for this model, fitted once a seed and threat model."""
        known = _FITTED.setdefault(model, {})
        key = (self, task.threat.norm, task.threat.eps, task.seed, str(images.device))
        if key not in known:
            known[key] = self._fit(model, task.training_images(), task, images[:1] * 0.0)
        return known[key]

    def _fit(self, model: Classifier, train: Examples, task: Task, nothing: Tensor) -> _Change:
        some = train.sample(min(self.images, len(train)), task.fork("universal").seed)
        change = _Change(nothing)
        if task.threat.norm == "patch":
            change = self._painted(model, some, task)
        step = self.decay if change.square is not None else self.decay * task.threat.eps
        for epoch in range(change.square is not None, self.epochs):
            shuffle = task.generator("universal", epoch)
            for images, labels, _ in some.batches(self.batch, task.device, shuffle=shuffle):
                change = self._stepped(change, self._slope(model, images, labels, change), step, task.threat)
            step *= self.decay
        return change

    def _painted(self, model: Classifier, some: Examples, task: Task) -> _Change:
        """Return the square in which all images gain most together, in the colours of that gain."""
        slope = middle = None
        for images, labels, _ in some.batches(self.batch, task.device):
            share = len(images) / len(some)
            gradient = share * self._slope(model, images, labels, _Change(images[:1] * 0.0))
            mean = share * images.mean(0, keepdim=True)
            slope, middle = (gradient, mean) if slope is None or middle is None else (slope + gradient, middle + mean)
        if slope is None or middle is None:
            raise DataError("universal has no training images to fit a patch on.")
        # What images gain with one slope, on the mean, is what their mean gains. No value of it is at its edge already.
        middle = middle.clamp(0.001, 0.999)
        painted = task.threat.one_step(middle, slope)
        return _Change(painted, (painted != middle).any(1, keepdim=True))

    def _slope(self, model: Classifier, images: Tensor, labels: Tensor, change: _Change) -> Tensor:
        """Return the gradient of the mean clipped cross-entropy with respect to the change (1, C, H, W)."""
        from robench import input_gradient

        def loss(values: Tensor) -> Tensor:
            return self._losses(model, change._replace(values=values).on(images), labels).mean()[None]

        return input_gradient(loss, change.values)[1]

    def _losses(self, model: Classifier, moved: Tensor, labels: Tensor) -> Tensor:
        """Return the clipped cross-entropy of each image (N,)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(model(moved), labels, reduction="none").clamp_max(self.beta)

    def _stepped(self, change: _Change, gradient: Tensor, step: float, threat: ThreatModel) -> _Change:
        """Return the change after a step, moved back to the ball; the box is each image's own."""
        if change.square is not None:
            return change._replace(values=(change.values + step * gradient.sign()).clamp(0, 1))
        values = change.values + step * threat.steepest(gradient)
        if threat.norm == "Linf":
            return _Change(values.clamp(-threat.eps, threat.eps))
        length = threat.distance(values * 0.0, values).view(-1, 1, 1, 1)
        return _Change(values * (threat.eps / length.clamp_min(threat.eps)))
