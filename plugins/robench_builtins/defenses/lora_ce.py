"""LoRA with cross-entropy on transferred adversarial images: the defense of the source reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.defenses.shared.clip_fine_tuning import LoraTuning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value


class LoraCE(LoraTuning):
    """Train LoRA with cross-entropy on images crafted on a fixed surrogate.

    min over A, B of CE(s * cos(z(x_a), t), y), with W x + (alpha / rank) B A x in place of W x;
    x_a = PGD on the surrogate (transfer), PGD on the tower in training (white-box), or x itself (clean).

    z is (N, D), the class texts t are (K, D) and frozen, s = 1 / temperature is frozen. The loss is TeCoA's:
    with adversary=white-box and equal steps this *is* TeCoA with LoRA, and the recipes say so. Transferred
    images protect against the surrogate's attacks; only a white-box attack tells whether against others.

    The reports behind it used temperature=1, which divides the gradient by about 100. Vision q and v at rank
    8 are 294,912 parameters of ViT-B/32. The surrogate's images are crafted anew each epoch.
    """

    name = "lora-ce"
    source = (
        "LoRA: Hu et al. 2022, https://arxiv.org/abs/2106.09685; adversarial training: Madry et al. 2018, "
        "https://arxiv.org/abs/1706.06083"
    )

    adversary: Literal["white-box", "transfer", "clean"] = parameter(
        default="transfer",
        help="model that training images are crafted on: the defended model itself, a surrogate, or none",
    )
    attack_steps: int = parameter(default=7, help="PGD steps of the training attack", minimum=1)
    dropout: float = parameter(
        default=0.1, help="dropout before A during updates; off while crafting", minimum=0, maximum=0.9
    )

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim with LoRA on the targets."""
        return self.add_lora(victim, task)

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe; it equals TeCoA's where the adversary is white-box."""
        return self.lora_recipe()
