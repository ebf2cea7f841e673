"""Randomized smoothing of a linear map, of which votes, radii and their certainty are known by hand."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import beta, binom, norm
from torch import nn

from robench import Classifier, ContractError, SpecError, Task, ThreatModel
from robench.evidence.compound_rules import STRAYS, UNEXPLAINED, certified_stand
from robench_builtins.certificates.randomized_smoothing import RandomizedSmoothing
from robench_builtins.defenses.shared.votes import Voting
from robench_builtins.defenses.smoothing import Smoothing

SIGMA = 0.05
#: Images of 16 equal pixels at these distances (L2) from the plane where the answer changes.
DISTANCES = torch.tensor([0.002, 0.02, 0.05, 0.08, 0.1, 0.115, 0.13, 0.16, 0.3])


def line() -> Classifier:
    """Return the map that tells whether the mean is above one half."""
    layer = nn.Linear(16, 2, bias=True)
    layer.weight.data = torch.tensor([[10.0], [-10.0]]).expand(2, 16) / 16
    layer.bias.data = torch.tensor([-5.0, 5.0])
    return Classifier(nn.Sequential(nn.Flatten(), layer), classes=2).eval().requires_grad_(False)


def images() -> torch.Tensor:
    return (0.5 + DISTANCES / 4).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()


def task(eps: float, seed: int = 0) -> Task:
    threat = ThreatModel("L2", eps)
    return Task(classes=("bright", "dark"), shape=(1, 4, 4), seed=seed, threat_model=threat, indices=range(9))


def certified(eps, seed=0, **parameters):
    labels = torch.zeros(9, dtype=torch.int64)
    return RandomizedSmoothing(**parameters).certify(Voting(line(), SIGMA, 11), images(), labels, task(eps, seed))


@pytest.mark.parametrize("eps", [0.01, 0.06, 0.09])
def test_what_is_certified_is_what_the_distance_allows_less_what_the_samples_leave_open(eps):
    """The share of votes at distance d is Phi(d / sigma), so that the radius would be d with samples without end."""
    found = certified(eps, samples=2000)
    counts = binom(2000, norm.cdf(DISTANCES.numpy() / SIGMA))
    # What 5 standard deviations more, or fewer, votes would prove.
    far = counts.mean() - 5 * counts.std(), counts.mean() + 5 * counts.std()
    low, high = (
        SIGMA * norm.ppf(beta.ppf(0.001, k.clip(1, 2000), 2000 - k.clip(1, 2000) + 1)) for k in far
    )  # fmt: skip
    assert not found[torch.from_numpy(high <= eps)].any()
    assert found[torch.from_numpy(low > eps + 1e-6)].all()
    assert not found[eps > DISTANCES].any()


def test_unanimous_votes_prove_no_more_than_their_number_allows():
    """All of n votes: p is at least alpha^(1/n), so that 100 votes prove 1.50 sigma and no more."""
    most = SIGMA * norm.ppf(0.001 ** (1 / 100))
    assert most == pytest.approx(1.500 * SIGMA, abs=2e-3 * SIGMA)
    assert certified(most - 1e-3 * SIGMA - 1e-6, samples=100)[-1]
    assert not certified(most + 1e-3 * SIGMA, samples=100)[-1]
    assert (
        not RandomizedSmoothing()
        .certify(Voting(line(), SIGMA, 11), images(), torch.ones(9, dtype=torch.int64), task(0.0))[2:]
        .any()
    )  # not one vote for the label


def test_samples_are_drawn_for_each_image_and_seed_alone():
    whole, model = certified(0.05, samples=50), Voting(line(), SIGMA, 11)
    labels = torch.zeros(9, dtype=torch.int64)
    torch.manual_seed(5)
    parts = [
        RandomizedSmoothing(samples=50).certify(
            model, images()[rows], labels[rows], task(0.05).replace(indices=rows, batch_size=7)
        )
        for rows in ([0, 1], [2, 3, 4, 5, 6], [7, 8])
    ]
    assert torch.equal(whole, torch.cat(parts))
    many = {tuple(certified(0.05, seed, samples=50).tolist()) for seed in range(8)}
    assert len(many) > 1


def test_without_noise_the_vote_is_unanimous_and_its_slope_is_that_of_the_softmax():
    model, given = Voting(line(), 0.0, 11), images().requires_grad_(True)
    logits = model(given)
    chance = line()(given).softmax(1)
    votes = torch.tensor([11.0, 0.0])
    assert torch.allclose(logits, (votes + chance / 2 + 0.25).log(), atol=1e-6)
    (slope,) = torch.autograd.grad(logits[:, 0].sum(), given)
    (wanted,) = torch.autograd.grad(line()(given).log_softmax(1)[:, 0].sum(), given)
    assert torch.allclose(slope, wanted, atol=1e-6)
    assert torch.equal(model(given).argmax(1), line()(given).argmax(1))


def test_what_cannot_be_is_refused_in_a_sentence():
    with pytest.raises(SpecError, match=r"smoothing.votes 10 may end in a tie; give an odd number, such as 11\."):
        Smoothing(votes=10).wrap(line(), task(0.0))
    with pytest.raises(ContractError, match=r"certifies the vote of noisy copies \(--defense smoothing\), and"):
        RandomizedSmoothing().certify(line(), images(), torch.zeros(9, dtype=torch.int64), task(0.0))
    with pytest.raises(SpecError, match="randomized-smoothing certifies in L2, not in Linf"):
        RandomizedSmoothing().check(ThreatModel("Linf", 0.1))


@pytest.mark.parametrize(("fallen", "status"), [(0, "pass"), (1, "pass"), (2, "pass"), (3, "pass"), (4, "invalid")])
def test_no_more_falls_are_allowed_than_error_and_chance_explain(fallen, status):
    found = certified_stand({"certified": 100, "fallen": fallen, "error": 0.001, "looks": 2})
    chance = 0.001 + 2 * STRAYS
    assert bool(binom.sf(fallen - 1, 100, chance) < UNEXPLAINED) == (status == "invalid")
    assert (found.status, found.value, found.n) == (status, fallen, 100)
    assert found.threshold == "no more than 0.30% an image explains"
