"""What the trained defenses share: the parameters of adversarial fine-tuning, and what they ask of a victim.

Nothing here imports torch; the loop itself is in ``training.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Defense, SpecError, parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Examples, Task, Value, ZeroShotClassifier


class FineTuning(Defense):
    """Minimise CE(cos(image, class texts) / temperature, y) on images that an attack has moved.

    A subclass says which parameters (``wrap``) and on which model the images are crafted (``crafts_on``).
    """

    eps: float = parameter(
        default=8 / 255, help="Linf radius of the training attack in pixel units", minimum=0, maximum=1
    )
    attack_steps: int = parameter(default=5, help="PGD steps of the training attack", minimum=1)
    step_size: float | None = parameter(
        default=None,
        help="alpha of the training attack in pixel units; none: 2.5 * eps / steps, at most 0.75 * eps",
        minimum=0,
    )
    temperature: float | None = parameter(
        default=None, help="temperature of the training loss; none: the victim's own, 1 / logit_scale", minimum=1e-4
    )
    epochs: int = parameter(default=3, help="passes over the training images", minimum=1)
    batch_size: int = parameter(default=64, help="images per update", minimum=1)
    optimizer: Literal["adamw", "sgd"] = parameter(default="adamw", help="update rule")
    learning_rate: float = parameter(default=1e-4, help="peak learning rate", minimum=0)
    weight_decay: float = parameter(default=1e-4, help="weight decay", minimum=0)
    momentum: float = parameter(default=0.9, help="momentum of sgd; adamw ignores it", minimum=0, maximum=1)
    schedule: Literal["onecycle", "cosine", "constant"] = parameter(
        default="onecycle",
        help="learning rate over the updates: cosine up and down, linear up and cosine to 0, or constant",
    )
    warmup: float = parameter(
        default=0.15,
        help="part of the updates in which the learning rate rises; constant ignores it",
        minimum=0,
        maximum=0.9,
    )

    def crafts_on(self, defended: Classifier, task: Task) -> Classifier | None:
        """Return the model that training images are crafted on; None trains on clean images."""
        return defended

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train, one checkpoint an epoch; the same seed gives the same bits, interrupted or not."""
        from robench_builtins.defenses.training import Training

        Training(zero_shot(defended, self.name), train, task, self, self.crafts_on(defended, task)).run()

    def passes(self, images: int) -> tuple[int, int]:
        """Return the passes of a fit: per epoch a clean forward, the attack's steps, and the update."""
        return self.epochs * images * (self.attack_steps + 2), self.epochs * images * (self.attack_steps + 1)

    def loss_recipe(self, adversary: str, **trained: Value) -> Mapping[str, Value]:
        """Return what is trained on what; how fast (rate, epochs, batch, dropout) makes no other defense."""
        clean = adversary == "clean"
        return {
            "loss": "cross-entropy of cos(image, class texts) / temperature",
            "temperature": "1 / logit_scale of the victim" if self.temperature is None else self.temperature,
            "adversary": adversary,
            "eps": None if clean else self.eps,
            "attack_steps": None if clean else self.attack_steps,
            **trained,
        }


class LoraTuning(FineTuning):
    """Fine-tune low-rank updates of linear maps in the vision tower: W x + (alpha / rank) B A x.

    W is (out, in) and stays as it is; A is (rank, in); B is (out, rank) and 0 at first.
    """

    rank: int = parameter(default=8, help="rank of the LoRA update", minimum=1)
    alpha: int = parameter(default=32, help="numerator of the LoRA scale alpha / rank", minimum=0)
    dropout: float = parameter(
        default=0.0, help="dropout before A during updates; off while crafting", minimum=0, maximum=0.9
    )
    targets: str = parameter(
        default="q_proj,v_proj", help="linear modules of the vision tower to adapt, separated by commas"
    )

    def target_names(self) -> tuple[str, ...]:
        """Return the names in ``targets``, sorted, so that their order makes no other defense."""
        names = tuple(sorted({name.strip() for name in self.targets.split(",")} - {""}))
        if not names:
            raise SpecError(f"{self.name}.targets is empty; name linear modules, such as q_proj,v_proj.")
        return names

    def add_lora(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim with LoRA on the targets, drawn from the task's seed."""
        from robench_builtins.defenses.lora import add_lora

        clip = zero_shot(victim, self.name)
        return add_lora(
            clip, self.target_names(), self.rank, self.alpha, self.dropout, task.fork("lora").seed, self.name
        )

    def lora_recipe(self, adversary: str) -> Mapping[str, Value]:
        """Return the recipe of a LoRA trained on images from ``adversary``."""
        return self.loss_recipe(adversary, trainable="lora", rank=self.rank, targets=",".join(self.target_names()))


def zero_shot(victim: Classifier, defense: str) -> ZeroShotClassifier:
    """Return ``victim`` as what it must be; raise SpecError if it has no class-text features."""
    from robench import ZeroShotClassifier

    if not isinstance(victim, ZeroShotClassifier):
        raise SpecError(
            f"{defense} compares images with class texts, and this victim has none (it is no CLIP); "
            "choose a zero-shot victim, such as tiny-clip, or the defense 'none'."
        )
    return victim
