"""TeCoA: adversarial fine-tuning of the image tower against the class texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.defenses.shared.clip_fine_tuning import LoraTuning, zero_shot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value


class Tecoa(LoraTuning):
    """Train the image tower on adversarial images of itself, with the text-guided contrastive loss.

    L(x, y) = -log( exp(cos(z(x), t_y) / tau) / sum_k exp(cos(z(x), t_k) / tau) )         (eq. 3)
    x_a     = argmax of L(x', y) over |x' - x|_inf <= eps, by PGD on the tower in training  (eq. 4)
    theta   = argmin of L(x_a, y)                                                          (eq. 5)

    z(x) is (D,), the texts t are (K, D), one row for each of all K classes (not for each caption of the
    batch), and frozen; tau is frozen too. This is the cross-entropy of the victim's own logits.

    The defaults adapt ViT-B/32 with LoRA. The paper fine-tunes the whole tower (87,849,216 parameters of
    ViT-B/32) or prompts (see ``vpt``): trainable=full, optimizer=sgd, momentum=0.9, learning_rate=1e-5,
    weight_decay=0, schedule=cosine, warmup=0.02 (1,000 of 50,000 updates), epochs=10, batch_size=256,
    eps=1/255, attack_steps=2, step_size=1/255.
    """

    name = "tecoa"
    source = (
        "Mao et al. 2023, Understanding Zero-Shot Adversarial Robustness for Large-Scale Models (ICLR), "
        "https://arxiv.org/abs/2212.07016; LoRA: Hu et al. 2022, https://arxiv.org/abs/2106.09685"
    )

    trainable: Literal["lora", "full"] = parameter(
        default="lora", help="what is trained: LoRA, or the whole image tower with its projection"
    )

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim with LoRA, or with gradients on for the whole image tower."""
        if self.trainable == "lora":
            return self.add_lora(victim, task)
        zero_shot(victim, self.name).image_tower.requires_grad_(True)
        return victim

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe; LoRA's parameters count only where LoRA is trained."""
        if self.trainable == "lora":
            return self.lora_recipe()
        return self.contrastive_recipe(trainable="full")
