"""TI-FGSM: smoothed gradients."""

from __future__ import annotations

from robench import parameter
from robench_builtins.attacks.shared.momentum_fgsm import HELP, MomentumFGSM


class TIFGSM(MomentumFGSM):
    """Smooth each gradient with a Gaussian: about the gradient over shifted copies of the image.

    Iterative FGSM with W * g in place of g, W 15 x 15 pixels, made for sides of 299; take 3 to 7 for a side of 32.
    ``decay=1`` gives TI-MI-FGSM, ``diversity=0.5`` besides TI-DIM. torchattacks' TIFGSM also resizes and pads (it
    is TI-DI unless diversity_prob is 0) and takes three channels only.
    """

    name = "ti-fgsm"
    source = (
        "Dong et al. 2019, Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks, "
        "https://arxiv.org/abs/1904.02884, section 3 (Gaussian of 15 x 15, 10 steps of eps / 10)"
    )

    decay: float = parameter(default=0.0, help=HELP["decay"], minimum=0.0)
    kernel: int = parameter(default=15, help=HELP["kernel"], minimum=1)
