"""A climb in L0: one pixel after another goes to the colour of steepest slope, which is looked for anew each time."""

from __future__ import annotations

import torch
from torch import Tensor

from robench.attacks.best_so_far import Best
from robench.attacks.loss_probe import Inputs, LossProbe
from robench.attacks.losses import Loss
from robench.contracts.classifier import Classifier
from robench.contracts.l0_ball import highest_in_l0
from robench.contracts.task import Task


def pixels(model: Classifier, images: Tensor, labels: Tensor, task: Task, *, loss: Loss, steps: int) -> Tensor:
    """Return each image with the best set of at most eps pixels found (N, C, H, W).

    In each of at most ``steps`` rounds the pixels of which a linearised model gains most, and that have not been
    changed, go to their best colours; with fewer steps than pixels several at once. A saliency map's greedy choice
    (Papernot et al. 2016, arXiv 1511.07528), made from the box's edges as in the exact step of this norm.

    Cost of an image that is never lost: a forward more than rounds, and as many backwards.

    Args:
        model: logits out; its parameters receive no gradient.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) true classes.
        task: threat model L0, and ``stop_early``: an image is done at its first error.
        loss: what is climbed, but for the targeted one.
        steps: the most rounds.
    """
    best, most = Best(images), int(task.threat.eps)
    if most == 0:
        return best.images
    probe, rounds = LossProbe(model, loss, 1), max(min(steps, most), 1)
    rows, here = torch.arange(len(images), device=images.device), images
    changed = torch.zeros_like(images[:, :1], dtype=torch.bool)
    for turn in range(rounds + 1):
        inputs = Inputs(rows, images[rows], labels[rows], labels[rows])
        fooled, value, gradient = probe.evaluate(here, inputs, need_gradient=turn < rounds)
        best.offer(rows, here, fooled, value)
        if turn == rounds:
            break
        if task.stop_early:
            left = (~fooled).nonzero().flatten()
            rows, here, gradient, changed = rows[left], here[left], gradient[left], changed[left]
        if not len(rows):
            break
        count = round(most * (turn + 1) / rounds) - round(most * turn / rounds)
        moved = highest_in_l0(here, gradient.masked_fill(changed, 0.0), count)
        changed, here = changed | (moved != here).any(1, keepdim=True), moved
    return best.images
