"""Randomized smoothing: train under Gaussian noise, and let noisy copies vote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import ContractError, SpecError, parameter
from robench_builtins.defenses.gaussian import Gaussian

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Examples, Task, Value


class Smoothing(Gaussian):
    """Train under Gaussian noise, then answer what most of several noisy copies are answered.

    g(x) = argmax_k P(f(clip(x + sigma n, 0, 1)) = k),  n ~ N(0, 1) for each pixel, estimated by ``votes`` draws

    The certificate ``randomized-smoothing`` speaks of it in L2. The attacker knows the noise: the mean over draws is
    attacked (EOT), backward through the mean softmax of the copies (SmoothAdv, Salman et al. 2019). A forward here is
    ``votes`` forwards of the victim. ``epochs=0`` trains nothing and smooths the victim as it is.
    """

    name = "smoothing"
    source = (
        "Cohen, Rosenfeld and Kolter 2019, Certified Adversarial Robustness via Randomized Smoothing (ICML), "
        "https://arxiv.org/abs/1902.02918; its gradient: Salman et al. 2019, https://arxiv.org/abs/1906.04584"
    )
    gradient = "straight-through"
    randomized = True

    epochs: int = parameter(default=20, help="passes over the training images; 0: train nothing", minimum=0)
    learning_rate: float = parameter(default=0.02, help="peak learning rate", minimum=0)
    votes: int = parameter(default=11, help="noisy copies that vote on an answer; odd, so that no two tie", minimum=1)

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim behind its vote."""
        from robench_builtins.defenses.shared.votes import Voting

        if self.votes % 2 == 0:
            raise SpecError(f"smoothing.votes {self.votes} may end in a tie; give an odd number, such as 11.")
        return Voting(super().wrap(victim, task) if self.epochs else victim, self.sigma, self.votes)

    def fit(self, defended: Classifier, train: Examples, task: Task) -> None:
        """Train what votes on images under noise."""
        from robench import Classifier

        if not isinstance(defended.network, Classifier):
            raise ContractError("smoothing trains what its own wrap returned, and nothing else.")
        if self.epochs:
            super().fit(defended.network, train, task)

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe of the training, and the vote."""
        training = super().recipe() if self.epochs else {"sigma": self.sigma}
        return {**training, "votes": self.votes}
