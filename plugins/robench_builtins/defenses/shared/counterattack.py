"""The forward of TTC: an attack on the features of each image, inside the model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from robench import ThreatModel, ZeroShotClassifier
from robench_builtins.defenses.shared.divergence_objectives import squared


class Counterattacking(ZeroShotClassifier):
    """Answer to the countered image: forward exactly TTC, backward through its steps with a softened sign.

    Args:
        victim: what is defended; its tower, texts and preprocessing are taken over.
        eps: Linf radius of the counterattack.
        steps: how many steps it takes.
        step_size: their length.
        threshold: relative change of the features under noise below which an image is countered.
        beta: how much more each later step weighs.
    """

    def __init__(
        self, victim: ZeroShotClassifier, *, eps: float, steps: int, step_size: float, threshold: float, beta: float
    ) -> None:
        texts = victim.get_buffer("text_features")
        super().__init__(victim.image_tower, texts, victim.logit_scale, victim.preprocess, victim.encode_text)
        self.victim, self.eps, self.steps, self.step_size = victim, eps, steps, step_size
        self.threshold, self.beta = threshold, beta
        self.train(victim.training)

    def features(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of the countered images."""
        if torch.is_grad_enabled() and images.requires_grad:
            return self.victim.features(self.counter(images, tracked=True))
        with torch.enable_grad():
            countered = self.counter(images.detach().requires_grad_(True), tracked=False)
        return self.victim.features(countered.detach())

    def counter(self, images: Tensor, *, tracked: bool) -> Tensor:
        """Return the countered images (N, C, H, W), in the box; a gradient passes through it if ``tracked``."""
        threat = ThreatModel(norm="Linf", eps=self.eps)
        iterate = threat.from_uniform(images, torch.rand_like(images) * 2 - 1)
        deltas, stable = [iterate - images], torch.zeros(())
        # The fused attention kernels cannot be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            own = self.victim.features(images)
            for step in range(self.steps):
                moved = squared(self.victim.features(iterate), own if tracked else own.detach())
                if step == 0:  # its root is |phi(x + d_0) - phi(x)|, so that noise costs no forward of its own
                    stable = moved.detach().sqrt() < self.threshold * own.detach().norm(dim=1)
                (gradient,) = torch.autograd.grad(moved.sum(), iterate, create_graph=tracked)
                iterate = threat.project(images, iterate + self.step_size * soft_sign(gradient))
                deltas.append(iterate - images)
        weights = torch.softmax(self.beta * torch.arange(len(deltas), device=images.device), 0)
        countered = sum(weight * delta for weight, delta in zip(weights, deltas, strict=True))
        chosen = torch.where(stable[:, None, None, None], countered, deltas[0])
        return (images + chosen).clamp(0, 1)


def soft_sign(gradient: Tensor) -> Tensor:
    """Return the sign exactly, with the derivative of tanh(g / s), s the image's mean |g|: a sign has none (BPDA)."""
    scale = gradient.detach().abs().flatten(1).mean(1).clamp_min(1e-30)
    soft = torch.tanh(gradient / scale[:, None, None, None])
    return gradient.detach().sign() + (soft - soft.detach())
