"""DI-FGSM: gradients of images resized and padded at random."""

from __future__ import annotations

from robench import parameter
from robench_builtins.attacks.shared.momentum_fgsm import HELP, MomentumFGSM


class DIFGSM(MomentumFGSM):
    """Take each gradient on the image resized and padded at random, so that it fits no one model too well.

    Iterative FGSM on f(T(x)), where T shrinks the image to 0.9 to 1 of its side and pads it with black, with
    probability 0.5. Size, place and chance are drawn for each image; torchattacks' DIFGSM, otherwise the same, draws
    them once a batch, so that its results depend on the batch. ``decay=1`` gives M-DI-FGSM (DIM).
    """

    name = "di-fgsm"
    source = (
        "Xie et al. 2019, Improving Transferability of Adversarial Examples with Input Diversity, "
        "https://arxiv.org/abs/1803.06978, section 3 (probability 0.5, 299 pixels of 330; mu 0, or 1 for M-DI). "
        "The paper takes min(eps + 4, 1.25 eps) steps of one grey level, its successors 10 of eps / 10"
    )

    decay: float = parameter(default=0.0, help=HELP["decay"], minimum=0.0)
    diversity: float = parameter(default=0.5, help=HELP["diversity"], minimum=0.0, maximum=1.0)
