"""MI-FGSM: sign steps along a running sum of gradients."""

from __future__ import annotations

from robench_builtins.attacks.shared.momentum_fgsm import MomentumFGSM


class MIFGSM(MomentumFGSM):
    """Accumulate normalised gradients, so that steps keep a direction that other models share.

    m_t = mu m_{t-1} + g_t / |g_t|_1;  x_{t+1} = P(x_t + alpha * sign(m_t)), in L2 alpha * m / |m|_2. Made for transfer.
    torchattacks' MIFGSM has the same rule, but divides by zero where a gradient vanishes, after which the image stands
    still for good; here it goes on along what it has gathered.
    """

    name = "mi-fgsm"
    source = (
        "Dong et al. 2018, Boosting Adversarial Attacks with Momentum, https://arxiv.org/abs/1710.06081, algorithm 1 "
        "(10 steps of eps / 10, mu 1)"
    )
