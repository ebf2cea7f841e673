"""VMI-FGSM: momentum tuned by the gradients nearby."""

from __future__ import annotations

from robench import parameter
from robench_builtins.attacks.shared.momentum_fgsm import HELP, MomentumFGSM


class VMIFGSM(MomentumFGSM):
    """Add to each gradient how the mean gradient around the last iterate differed from that at it.

    MI-FGSM with g_t + v_{t-1} in place of g_t, v_t = mean over 20 neighbours of x_t (uniform within +-1.5 eps, not cut
    off at the box) - g_t. ``nesterov=true`` gives VNI-FGSM, its neighbours around x_t as in the published code.
    torchattacks' VMIFGSM has the same rule with 5 neighbours.
    """

    name = "vmi-fgsm"
    source = (
        "Wang and He 2021, Enhancing the Transferability of Adversarial Attacks through Variance Tuning, "
        "https://arxiv.org/abs/2103.15571, algorithm 1 (10 steps of eps / 10, mu 1, N 20, beta 1.5)"
    )

    neighbours: int = parameter(default=20, help=HELP["neighbours"], minimum=0)
