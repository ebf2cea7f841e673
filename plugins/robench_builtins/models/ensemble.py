"""Several surrogates as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import Model, SpecError, parameter

if TYPE_CHECKING:
    from robench import Classifier, Task


class Ensemble(Model):
    """Average several models, so that what is crafted fits none of them alone: ``resnet20+tiny-clip``.

    ``logits``: z = mean of z_k, which Dong et al. found to transfer best; ``probabilities``: z = log of the mean of
    softmax(z_k), as Liu et al. The mean of the members' losses has no logits of its own (the exponentials of -loss do
    not sum to 1 over the classes), so it is not offered. Members keep their own preprocessing; their parameters are
    given by name, ``-p resnet20.checkpoint=FILE``, and each must be as accurate as it states.
    """

    name = "ensemble"
    source = (
        "Dong et al. 2018, https://arxiv.org/abs/1710.06081, section 3 (logits); Liu et al. 2017, "
        "https://arxiv.org/abs/1611.02770 (probabilities)"
    )
    licence = "the members' own"

    models: str = parameter(default="", help="the members by name, joined by +, such as resnet20+tiny-clip")
    mean: Literal["logits", "probabilities"] = parameter(default="logits", help="what is averaged, with equal weights")

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``resnet20+tiny-clip`` and ``hf-dir:FOLDER+resnet20``, not the plus signs of paths like ``a+b.pt``."""
        parts = text.split("+")
        # A component's name, up to a colon if there is one, has no dot and no slash.
        named = all(part.strip() and not set("./\\") & set(part.partition(":")[0]) for part in parts)
        return {"models": text} if len(parts) > 1 and named else None

    def members(self) -> tuple[str, ...]:
        """Return the members' names; SpecError unless there are two at least, none of them twice."""
        names = tuple(part.strip() for part in self.models.split("+"))
        if len(names) < 2 or len(set(names)) < len(names) or not all(names):
            raise SpecError(
                f"ensemble.models '{self.models}' must name two or more different models; join them by +, such as "
                "resnet20+tiny-clip."
            )
        for name in names:
            if name.partition(":")[0] in (self.name, "self"):
                raise SpecError(
                    f"ensemble.models cannot hold '{name}'; name models, the victim too, by their own names."
                )
        return names

    def load(self, task: Task) -> Classifier:
        """Return the mean of the members."""
        from robench import Classifier
        from robench_builtins.models.shared.ensemble_mean import EnsembleMean

        members = [task.load_model(name) for name in self.members()]
        return Classifier(EnsembleMean(members, self.mean == "probabilities"), classes=len(task.classes))
