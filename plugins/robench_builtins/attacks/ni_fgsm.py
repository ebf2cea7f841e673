"""NI-FGSM: momentum that looks ahead."""

from __future__ import annotations

from robench import parameter
from robench_builtins.attacks.shared.momentum_fgsm import HELP, MomentumFGSM


class NIFGSM(MomentumFGSM):
    """Take the gradient where the momentum leads, as Nesterov does, so that a step corrects itself.

    MI-FGSM with g_t taken at x_t + alpha * mu * m_{t-1}. With ``scales=5`` it is SI-NI-FGSM, with ``diversity=0.5`` and
    ``kernel=7`` besides SI-NI-TI-DIM. torchattacks' NIFGSM has the same rule.
    """

    name = "ni-fgsm"
    source = (
        "Lin et al. 2020, Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks, "
        "https://arxiv.org/abs/1908.06281, section 3 (10 steps of eps / 10, mu 1; SI: 5 scales)"
    )

    nesterov: bool = parameter(default=True, help=HELP["nesterov"])
