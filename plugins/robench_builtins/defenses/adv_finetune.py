"""Adversarial fine-tuning of chosen layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.defenses.shared.adversarial_training import AdversarialTraining
from robench_builtins.defenses.shared.trained_defense import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Value


class AdvFinetune(AdversarialTraining):
    """Train some layers of a trained victim on adversarial images and freeze the others bit for bit.

    theta_S = argmin of E max over |d|_inf <= eps of CE(f(x + d), y), S the layers that are not frozen.

    frozen names layers as the network does (``layer1``, ``blocks.*.attn``); what lies inside a layer is frozen with
    it, a batch norm's statistics too. last=N trains the last N layers that are left, a layer being a module with
    parameters of its own. With nothing frozen this is pgd-at with gentler updates, and the recipes say so.
    """

    name = "adv-finetune"
    source = (
        "Adversarial training: Madry et al. 2018, equation 2.1, https://arxiv.org/abs/1706.06083; of a network that is "
        "already trained: Jeddi, Shafiee and Wong 2020, A Simple Fine-tuning Is All You Need, "
        "https://arxiv.org/abs/2012.13628"
    )

    frozen: str = parameter(
        default="", help="layers that stay as they are: names or patterns, separated by commas, spaces or +"
    )
    last: int | None = parameter(default=None, help="train the last so many layers only; none: all", minimum=1)
    attack_steps: int = parameter(default=10, help="PGD steps of the training attack", minimum=1)
    epochs: int = parameter(default=10, help="passes over the training images", minimum=1)
    start: Literal["victim"] = parameter(default="victim", help="begin with the victim's weights")

    def frozen_layers(self) -> tuple[str, ...]:
        """Return the names and patterns in ``frozen``, sorted."""
        return tuple(sorted(set(words(self.frozen))))

    def last_layers(self) -> int | None:
        """Return ``last``."""
        return self.last

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe; it equals pgd-at's where nothing is frozen."""
        frozen = ",".join(self.frozen_layers())
        parts = ([f"without {frozen}"] if frozen else []) + ([f"last {self.last} layers"] if self.last else [])
        return self.supervised_recipe(trainable=", ".join(parts) or "full")
