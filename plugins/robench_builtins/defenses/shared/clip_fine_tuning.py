"""What the trained defenses of CLIP share: the contrastive loss, and what they ask of a victim.

Nothing here imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from robench import SpecError, parameter
from robench_builtins.defenses.shared.trained_defense import AdversarialDefense, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value, ZeroShotClassifier
    from robench_builtins.training.objective import Objective

#: What a defense without class texts says to a victim that is no CLIP.
FEATURES = "moves the image features of a CLIP, and this victim is none"


class TowerTraining(AdversarialDefense):
    """Train the whole image tower of a CLIP, as FARE and PMG-AFT do."""

    #: What a victim that is no CLIP is told; empty: that class texts are missing.
    use: ClassVar[str] = ""

    step_size: float | None = parameter(
        default=1 / 255,
        help="alpha of the training attack in pixel units; none: 2.5 * eps / steps, at most 0.75 * eps",
        minimum=0,
    )
    schedule: Literal["onecycle", "cosine", "triangular", "step", "constant"] = parameter(
        default="cosine", help="learning rate over the updates; cosine: linear up, then cosine to 0"
    )

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim with gradients on for the whole image tower."""
        zero_shot(victim, self.name, self.use).image_tower.requires_grad_(True)
        return victim


class ClipFineTuning(AdversarialDefense):
    """Minimise CE(cos(image, class texts) / temperature, y) on images that an attack has moved.

    A subclass says which parameters (``wrap``).
    """

    temperature: float | None = parameter(
        default=None, help="temperature of the training loss; none: the victim's own, 1 / logit_scale", minimum=1e-4
    )
    adversary: Literal["white-box", "transfer", "clean"] = parameter(
        default="white-box",
        help="model that training images are crafted on: the defended model itself, a surrogate, or none",
    )
    surrogate: str = parameter(default="self", help="surrogate of adversary=transfer; self: the undefended victim")

    def surrogates(self) -> tuple[str, ...]:
        """Return the surrogate, where images are transferred."""
        return (self.surrogate,) if self.adversary == "transfer" else ()

    def crafts_on(self, defended: Classifier, task: Task) -> Classifier | None:
        """Return the surrogate, the defended model or None, as ``adversary`` says."""
        if self.adversary == "transfer":
            return task.load_model(self.surrogate).to(task.device)
        return defended if self.adversary == "white-box" else None

    def objective(self, defended: Classifier, task: Task) -> Objective:
        """Return TeCoA's loss."""
        from robench_builtins.defenses.shared.cross_entropy_objectives import ContrastiveCrossEntropy

        clip = zero_shot(defended, self.name)
        return ContrastiveCrossEntropy(clip, self, self.crafts_on(defended, task), self.temperature)

    def contrastive_recipe(self, **trained: Value) -> Mapping[str, Value]:
        """Return the recipe of what is ``trained`` on images from the ``adversary``."""
        transfer = self.adversary == "transfer"
        adversary = f"transfer from {self.surrogate}" if transfer else self.adversary
        clean = adversary == "clean"
        own = self.temperature is None
        return cross_entropy_recipe(
            "cross-entropy of the victim's logits" if own else "cross-entropy of cos(image, class texts) / temperature",
            "the victim's own" if own else self.temperature,
            adversary,
            None if clean else self.eps,
            None if clean else self.attack_steps,
            trained,
        )


class LoraTuning(ClipFineTuning):
    """Fine-tune low-rank updates of linear maps in the vision tower: W x + (alpha / rank) B A x.

    W is (out, in) and stays as it is; A is (rank, in); B is (out, rank) and 0 at first.
    """

    rank: int = parameter(default=8, help="rank of the LoRA update", minimum=1)
    alpha: int = parameter(default=32, help="numerator of the LoRA scale alpha / rank", minimum=0)
    dropout: float = parameter(
        default=0.0, help="dropout before A during updates; off while crafting", minimum=0, maximum=0.9
    )
    targets: str = parameter(
        default="q_proj,v_proj", help="linear modules of the vision tower to adapt, separated by commas, spaces or +"
    )

    def target_names(self) -> tuple[str, ...]:
        """Return the names in ``targets``, sorted, so that their order makes no other defense."""
        names = tuple(sorted(set(words(self.targets))))
        if not names:
            raise SpecError(f"{self.name}.targets is empty; name linear modules, such as q_proj,v_proj.")
        return names

    def add_lora(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim with LoRA on the targets, drawn from the task's seed."""
        from robench_builtins.defenses.shared.lora_adapters import add_lora

        clip = zero_shot(victim, self.name)
        return add_lora(
            clip, self.target_names(), self.rank, self.alpha, self.dropout, task.fork("lora").seed, self.name
        )

    def lora_recipe(self) -> Mapping[str, Value]:
        """Return the recipe of a LoRA."""
        return self.contrastive_recipe(trainable="lora", rank=self.rank, targets=",".join(self.target_names()))


def cross_entropy_recipe(
    loss: str,
    temperature: Value,
    adversary: str,
    eps: float | None,
    attack_steps: int | None,
    trained: Mapping[str, Value],
) -> Mapping[str, Value]:
    """Return what is trained on what; how fast (rate, epochs, batch, dropout) makes no other defense.

    One form for CLIP and for any classifier: TeCoA of the whole tower *is* adversarial training of a CLIP.
    """
    return {
        "loss": loss,
        "temperature": temperature,
        "adversary": adversary,
        "eps": eps,
        "attack_steps": attack_steps,
        **trained,
    }


def zero_shot(victim: Classifier, defense: str, use: str = "") -> ZeroShotClassifier:
    """Return ``victim`` as what it must be; raise SpecError, with what it is of ``use`` for, if it is no CLIP."""
    from robench import ZeroShotClassifier

    if not isinstance(victim, ZeroShotClassifier):
        raise SpecError(
            f"{defense} {use or 'compares images with class texts, and this victim has none (it is no CLIP)'}; "
            "choose a zero-shot victim, such as tiny-clip, or the defense 'none'."
        )
    return victim
