"""The fast gradient sign method: one step, as far as the ball allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Attack

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task


class FGSM(Attack):
    """Take one step of length eps along the loss gradient at the clean image.

    x_adv = P(x + eps * d), where d = sign(g) in Linf and g / |g|_2 in L2, g is the gradient of the
    cross-entropy CE(f(x), y) with respect to x, and P projects onto the eps-ball and the box [0, 1]. In L1 the
    coordinates of largest |g| go to the edge of the box, one after the other, until eps is used up.
    """

    name = "fgsm"
    source = "Goodfellow et al. 2015, Explaining and Harnessing Adversarial Examples, https://arxiv.org/abs/1412.6572"
    norms = ("Linf", "L2", "L1")

    def craft(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return the projected step; one forward and one backward an image."""
        import torch.nn.functional as F  # noqa: N812 - torch's own spelling

        from robench import input_gradient

        threat = task.threat
        if threat.eps == 0:
            return images.clone()
        _, gradient = input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), images)
        return threat.one_step(images, gradient)
