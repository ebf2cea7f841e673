"""Randomized smoothing: certify by how often noisy copies are answered by the label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import Certificate, ContractError, ThreatModel, parameter

if TYPE_CHECKING:
    from torch import Tensor

    from robench import Classifier, Task
    from robench_builtins.defenses.shared.votes import Voting

#: What the harness takes for inside a ball.
TOLERANCE = 1e-6


class RandomizedSmoothing(Certificate):
    """Certify where the label holds sigma * Phi^-1(p) around the image, p being how often the label is voted for.

    R = sigma Phi^-1(p),  p = the lower Clopper-Pearson bound, at confidence 1 - alpha, of count of samples

    Certified are images with R > eps. Each is certified wrongly with probability alpha at most, over the noise. The
    samples are drawn for it alone, image by image. Cohen's algorithm first guesses the class from other draws and
    abstains where it is unsure; here the label is known, and is the only class that a certificate could be for. It
    speaks of the defense ``smoothing``.
    """

    name = "randomized-smoothing"
    source = (
        "Cohen, Rosenfeld and Kolter 2019, Certified Adversarial Robustness via Randomized Smoothing (ICML), "
        "theorem 1 and section 3.2.2, https://arxiv.org/abs/1902.02918"
    )
    norms = ("L2",)
    randomized = True

    samples: int = parameter(default=1000, help="noisy copies of each image (Cohen et al.: 100,000)", minimum=1)
    alpha: float = parameter(
        default=0.001, help="how often one image may be certified wrongly", minimum=1e-12, maximum=0.5
    )

    @property
    def error(self) -> float:
        """Return alpha."""
        return self.alpha

    def passes_in(self, threat: ThreatModel) -> tuple[int, int]:
        """Return a forward a sample."""
        return self.samples, 0

    def certify(self, model: Classifier, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Return for which images the certified radius is larger than eps."""
        import torch
        from scipy.stats import beta, norm

        from robench_builtins.defenses.shared.votes import Voting

        if not isinstance(model, Voting):
            raise ContractError(
                "randomized-smoothing certifies the vote of noisy copies (--defense smoothing), and this defense takes "
                "none; name that defense, or another certificate."
            )
        counts = [
            self._count(model, image, int(label), index, task)
            for image, label, index in zip(images, labels, task.indices, strict=True)
        ]
        found = torch.tensor(counts, dtype=torch.float64)
        lower = torch.from_numpy(beta.ppf(self.alpha, found.numpy(), self.samples - found.numpy() + 1)).nan_to_num(0.0)
        radii = model.sigma * torch.from_numpy(norm.ppf(lower.numpy()))
        return (radii > task.threat.eps + TOLERANCE).to(images.device)

    def _count(self, model: Voting, image: Tensor, label: int, index: int, task: Task) -> int:
        """Return how many noisy copies of one image (C, H, W) are answered by the label."""
        right, size = 0, max(task.batch_size, 1)
        for start in range(0, self.samples, size):
            count = min(size, self.samples - start)
            copies = image.expand(count, *image.shape)
            noise = task.replace(indices=range(start, start + count)).normal(copies, "noise", index)
            right += int((model.answers(copies, noise).argmax(1) == label).sum())
        return right
