"""What the Adversarial Robustness Toolbox checks of gradients."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import ClassVar

from robench import Detector, Evaluated, parameter


class ARTGradients(Detector):
    """Ask ART for images whose loss has a zero, NaN or infinite gradient, by its function loss_gradient_check."""

    name = "art-gradients"
    source = "Nicolae et al. 2018, Adversarial Robustness Toolbox, https://arxiv.org/abs/1807.01069"
    licence = "MIT"
    model_only: ClassVar[bool] = True

    images: int = parameter(default=24, help="images that are looked at", minimum=1)

    def missing(self) -> tuple[str, ...]:
        """Return how to install the library where it is absent."""
        lacks = (
            "art-gradients cannot be asked without the package adversarial-robustness-toolbox; install it with "
            "'pip install robench[attacks]'."
        )
        return () if find_spec("art") else (lacks,)

    def warnings(self, evaluated: Evaluated) -> tuple[str, ...]:
        """Return which kinds of bad gradient ART finds on at least one image."""
        import torch

        model, test = evaluated.model, evaluated.test[: self.images]
        images, labels, _ = next(test.batches(len(test)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ART calls NumPy and torch in ways that they deprecate
            from art.estimators.classification import PyTorchClassifier
            from art.metrics import loss_gradient_check

            seen = PyTorchClassifier(
                model, torch.nn.CrossEntropyLoss(), tuple(images.shape[1:]), model.classes, clip_values=(0.0, 1.0),
                device_type="cpu",
            )  # fmt: skip
            # One-hot, since a column of zeros and ones is what ART takes for two classes with one output.
            known = torch.nn.functional.one_hot(labels, model.classes).float().numpy()
            bad = loss_gradient_check(seen, images.numpy(), known, verbose=False)
        kinds = ("zero gradient", "NaN gradient", "infinite gradient")
        return tuple(kind for kind, found in zip(kinds, bad.any(0), strict=True) if found)
