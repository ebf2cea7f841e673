"""Does the model give one answer to one image: again, in another batch, and while it is attacked?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robench.evidence.card import Check
from robench.evidence.check_rules import SHARES
from robench.evidence.check_verdict import check, share, skip, zero
from robench.gate.measurement import Measurement
from robench.gate.probe_context import ProbeContext
from robench.runtime.inference import BATCH_NORMS

#: Images on which answers are compared.
IMAGES = 8
#: Largest difference in logits, relative to the largest logit, that rounding and batch size explain.
TOLERANCE = 1e-3
#: Softmax confidence at which float32 has no room left for another class.
SATURATED = 1 - 1e-7
#: Share of the images tried on which the softmax may leave the cross-entropy no gradient.
MOST_SATURATED = SHARES["logit scale"].limits[0]


def probe(context: ProbeContext) -> dict[str, Any]:
    """Return how many of a few images are answered otherwise when asked again, in another batch, under gradients."""
    count = context.budget.images("answers", 6 + max(1, context.price - 1), IMAGES)
    rows = context.some(torch.ones_like(context.clean), count, "answers")
    if not rows:
        return {"n": 0, "again": 0, "company": 0, "attacked": 0, "training": _training(context.plain)}
    images = torch.cat([batch.images for batch in context.batches(rows)])
    model = context.prepared
    with torch.no_grad():
        first = model(images)
        # Of a randomized defense two answers may agree by chance.
        again = max(different(first, model(images)) for _ in range(max(1, context.price - 1)))
        alone = torch.cat([model(image) for image in images.split(1)])
        noise = context.task.uniform(images[:1].expand(len(images), -1, -1, -1), "company") / 2 + 0.5
        company = model(torch.cat([noise.to(images.device), images.flip(0)]))[len(images) :].flip(0)
        plain = context.plain(images)
    with torch.enable_grad():
        differentiated = context.plain(images.detach().clone().requires_grad_(True)).detach()
    return {
        "n": len(rows),
        "again": again,
        "company": max(different(first, alone), different(first, company)),
        "attacked": different(plain, differentiated),
        "training": _training(context.plain),
    }


def different(one: Tensor, other: Tensor) -> int:
    """Return on how many images two sets of logits differ by more than rounding."""
    scale = one.abs().amax().clamp_min(1e-6)
    return int(((one - other).abs().amax(1) > TOLERANCE * scale).sum())


def _training(model: nn.Module) -> list[str]:
    """Return the modules that behave as in training although the model is in eval mode."""
    return sorted(
        name or type(module).__name__
        for name, module in model.named_modules()
        if module.training or (isinstance(module, BATCH_NORMS) and module.running_mean is None)
    )


def deterministic(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """Hold the declaration of randomness to what two forwards of one image give."""
    found, name = measured.model_probes["answers"], "deterministic"
    n, differ, declared = found["n"], found["again"], measured.fitted.training.randomized
    if dear := measured.too_dear("answers"):
        return skip(name, "> 0 images differ" if declared else "= 0 images differ", dear)
    if declared:
        good = bool(differ)
        meaning = (
            f"Declared randomized, and it is: judged by the mean over {measured.robust.draws} draws."
            if good
            else "The defense declares randomized = True, but all forwards of one image agree: declare False, so that "
            "single answers count."
        )
        return check("deterministic", "pass" if good else "suspect", differ, "> 0 images differ", n, meaning)
    return zero(
        name, differ, "images differ", n, "Two forwards of one image agree.",
        "Two forwards of one image differ, and the defense does not declare randomized = True: an attack that meets "
        "another model at every step proves nothing. Declare it, and the harness attacks the expectation (EOT).",
    )  # fmt: skip


def batch_mates(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the other images of a batch do not change an answer."""
    return _same_answers(
        measured, "batch-mates", "company",
        "An image is answered the same alone and among others.",
        "An image is answered differently in another batch: the model mixes the images of a batch (batch statistics, "
        "a norm over the whole batch), so its answers under attack are not those it gives alone.",
    )  # fmt: skip


def same_under_gradients(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the model gives the same answer whether or not a gradient is asked for."""
    return _same_answers(
        measured, "same answer while attacked", "attacked",
        "The logits are the same with and without gradients.",
        "The model answers differently when a gradient is asked for (torch.is_grad_enabled, requires_grad): the attack "
        "was shown another model than the one that is scored.",
    )  # fmt: skip


def _same_answers(measured: Measurement, name: str, figure: str, good: str, bad: str) -> Check:
    found = measured.model_probes["answers"]
    if measured.fitted.training.randomized:
        return skip(name, "= 0 images differ", "Answers of a randomized defense differ anyway.")
    if dear := measured.too_dear("answers"):
        return skip(name, "= 0 images differ", dear)
    return zero(name, found[figure], "images differ", found["n"], good, bad)


def evaluation(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that no layer behaves as in training."""
    names = measured.model_probes["answers"]["training"]
    return zero(
        "evaluation mode", len(names), "modules", 0,
        "Every layer is in evaluation mode.",
        f"{', '.join(names[:5])} behave as in training (dropout on, or batch norm without running statistics), "
        "although the harness switched the model to eval(): keep running statistics, and do not override train().",
    )  # fmt: skip


def saturated(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See whether the softmax leaves the cross-entropy a gradient."""
    right = measured.clean.correct
    full = int((measured.clean.confidence[right] >= SATURATED).sum())
    clean = full / max(int(right.sum()), 1)
    blind, tried = measured.model_probes["gradients"]["ce_blind"], measured.model_probes["gradients"]["n"]
    if dear := measured.too_dear("gradients"):
        return skip("logit scale", f"<= {MOST_SATURATED:.0%} of the images tried", dear)
    return share(
        "logit scale", blind, tried, (MOST_SATURATED, 1.0),
        "The softmax leaves the cross-entropy a gradient wherever the margin has one.",
        f"{blind} of {tried} images still standing give the cross-entropy no gradient, though their margin has one: "
        f"the logits are so large that the softmax is exactly 1 ({clean:.0%} of the clean images). An attack "
        "that climbs the cross-entropy is blind there: use apgd with loss=dlr, or divide the logits by a temperature.",
        worst="suspect",
    )  # fmt: skip
