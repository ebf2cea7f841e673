"""What a fit really trained, compared with what the defense declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from robench.contracts.classifier import Classifier
from robench.contracts.components import Defense
from robench.runtime.inference import BATCH_NORMS


def training_record(
    defense: Defense,
    defended: Classifier,
    declared: Sequence[str],
    before: Mapping[str, str],
    after: Mapping[str, str],
    touched: set[str] | None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what was trained, as the card's training record has it, and the tensors that were changed or declared.

    Args:
        defense: what was fitted.
        defended: the model after the fit.
        declared: names of the parameters for which ``wrap`` left gradients on.
        before: digests of the model's tensors before the fit.
        after: and after it.
        touched: names of the parameters that received a gradient; None if nothing is trained.
    """
    changed = sorted(name for name, digest in after.items() if digest != before.get(name))
    parameters = dict(defended.named_parameters())
    tensors = {**parameters, **dict(defended.named_buffers())}
    buffers = [name for name in changed if name not in parameters]
    gathered = {name for name in buffers if _by_batch_norm(defended, name)}
    stated = {name for name in buffers if name.rpartition(".")[2] in defense.statistics}
    computed = [name for name in buffers if name not in gathered]
    training = {
        "trainable": sum(tensors[name].numel() for name in [*declared, *computed]),
        "names": list(declared),
        "without_gradient": sorted({*declared} - touched) if touched is not None else [],
        "undeclared": [name for name in changed if name not in {*declared, *gathered, *stated}],
        "buffers": buffers,
        "gradient": defense.gradient,
        "randomized": defense.randomized,
    }
    return training, {name: tensors[name] for name in sorted({*changed, *declared})}


def _by_batch_norm(defended: Classifier, name: str) -> bool:
    return isinstance(defended.get_submodule(name.rpartition(".")[0]), BATCH_NORMS)


@contextmanager
def gradients_seen(model: nn.Module, touched: set[str]) -> Iterator[None]:
    """Collect the names of parameters that receive a non-zero gradient inside."""

    def hook_for(name: str) -> Any:
        def seen(parameter: Tensor) -> None:
            if name not in touched and parameter.grad is not None and bool(parameter.grad.any()):
                touched.add(name)

        return seen

    handles = [
        parameter.register_post_accumulate_grad_hook(hook_for(name))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
