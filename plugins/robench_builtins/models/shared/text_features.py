"""Features of the prompts of a CLIP's classes: embedded on the task's device and, where they are many, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, cat, nn

from robench import SpecError, Task

#: Prompts that go through the text tower at once: an ensemble for 1,000 classes would not fit.
PROMPTS = 512
#: Prompts that are embedded faster than they are looked up.
FEW = 64

EncodeText = Callable[[Sequence[str]], Tensor]


def prompts_of(classes: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Return the prompts of all classes, template by template."""
    return [template.replace("{}", name) for template in templates for name in classes]


def class_features(encode_text: EncodeText, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return one normalised row a class: the mean over templates of normalised text features (K, D)."""
    for template in templates:
        if "{}" not in template:
            raise SpecError(
                f"template '{template}' has no place for the class name; write one with {{}}, "
                "such as 'a photo of a {}'."
            )
    prompts = prompts_of(classes, templates)
    parts = [encode_text(prompts[start : start + PROMPTS]) for start in range(0, len(prompts), PROMPTS)]
    features = F.normalize(cat(parts), dim=1).view(len(templates), len(classes), -1)
    return F.normalize(features.mean(dim=0), dim=1)


def features_once(
    task: Task,
    templates: Sequence[str],
    model: nn.Module,
    encode_text: EncodeText,
    tokens: Callable[[Sequence[str]], Tensor],
    words: Sequence[object],
) -> Tensor:
    """Return the features of the task's classes (K, D), with ``model`` on the task's device meanwhile.

    Those of more than ``FEW`` prompts are kept in the store: by the ``tokens`` of the prompts and by ``words``, the
    parts of the model that embed texts among them, so that another load need not embed them.
    """

    def made() -> Tensor:
        model.to(task.device)
        try:
            return class_features(encode_text, task.classes, templates)
        finally:
            model.to("cpu")

    prompts = prompts_of(task.classes, templates)
    if len(prompts) <= FEW:
        return made()
    shape = f"{len(templates)} x {len(task.classes)}"
    return task.remembered(made, "text features", shape, *words, tokens(prompts))
