"""Bounds hold at every point that is tried, are exact where they can be, and refuse what they are not known for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robench import Classifier, ContractError, Preprocess, ThreatModel
from robench.bounds.linear_bounds import certified, margin_bounds
from robench.bounds.relu_chain import chain_of

METHODS = ("interval", "crown-ibp", "crown")


def network(seed: int, kind: str) -> Classifier:
    """Return a random classifier of (2, 6, 6) images in 4 classes, with layers of every kind that is bounded."""
    torch.manual_seed(seed)
    if kind == "linear":
        layers = [
            nn.Flatten(),
            nn.Linear(72, 10),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(10, 6),
            nn.ReLU(),
            nn.Linear(6, 4),
        ]
    else:
        norm = nn.BatchNorm2d(3)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.data.normal_()
        first = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), norm)
        layers = [first, nn.ReLU(), nn.AvgPool2d(3, padding=1), nn.Identity(), nn.Flatten(), nn.Linear(3, 4)]
    return Classifier(nn.Sequential(*layers), 4, Preprocess((0.4, 0.5), (0.2, 0.3))).eval().requires_grad_(False)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000), kind=st.sampled_from(["linear", "convolution"]), norm=st.sampled_from(["Linf", "L2"]),
    eps=st.sampled_from([0.005, 0.05, 0.4]),
)  # fmt: skip
def test_no_point_of_the_ball_lies_below_a_bound(seed, kind, norm, eps):
    model, threat = network(seed, kind), ThreatModel(norm, eps)
    images = torch.rand(2, 2, 6, 6)
    labels = model(images).argmax(1)
    tried = torch.stack([
        images,
        *(threat.from_uniform(images, unit) for unit in torch.rand(40, *images.shape) * 2 - 1),
        *(threat.project(images, images + eps * unit.sign()) for unit in torch.randn(40, *images.shape)),
    ])  # fmt: skip
    logits = model(tried.flatten(0, 1)).view(len(tried), 2, 4)
    margins = logits.gather(2, labels.expand(len(tried), 2)[..., None]) - logits
    lowest = margins.amin(0)
    chain = chain_of(model)
    assert torch.allclose(chain(images).float(), model(images), atol=1e-4)
    found = {method: margin_bounds(chain, images, labels, threat, method) for method in METHODS}
    others = torch.ones(2, 4, dtype=torch.bool).scatter(1, labels[:, None], False)
    for bounds in found.values():
        assert (bounds[others] <= lowest[others] + 1e-4).all()
        assert bounds[~others].isinf().all()
        proved = certified(model, images, labels, threat, "crown")
        assert not (proved & (lowest[others].view(2, 3) < 0).any(1)).any()


def test_bounds_of_a_linear_map_are_exact():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    model = Classifier(nn.Sequential(nn.Flatten(), layer), 2).eval().requires_grad_(False)
    image = torch.tensor([[[[0.5, 0.1]]]])  # a margin of 1.1
    chain, label = chain_of(model), torch.tensor([0])
    for method in METHODS:
        linf = margin_bounds(chain, image, label, ThreatModel("Linf", 0.1), method)[0, 1]
        assert linf == pytest.approx(1.1 - 0.7, abs=1e-5)  # 1e-6 of it is what the harness forgives
        l2 = margin_bounds(chain, image, label, ThreatModel("L2", 0.1), method)[0, 1]
        assert l2 == pytest.approx(1.1 - 0.5, abs=1e-5)
        assert certified(model, image, label, ThreatModel("L2", 0.21), method).tolist() == [True]
        assert certified(model, image, label, ThreatModel("L2", 0.23), method).tolist() == [False]


def test_crown_by_hand():
    """The margin is 1 - relu(x - 0.5), x in [0.3, 0.9]: the upper line of the ReLU, 2/3 (x - 0.3), is exact at 0.9."""
    hidden, out = nn.Linear(1, 1), nn.Linear(1, 2)
    hidden.weight.data, hidden.bias.data = torch.ones(1, 1), torch.tensor([-0.5])
    out.weight.data, out.bias.data = torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 0.0])
    model = Classifier(nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), out), 2).eval().requires_grad_(False)
    image = torch.full((1, 1, 1, 1), 0.6)
    for method in METHODS:
        bound = margin_bounds(chain_of(model), image, torch.tensor([0]), ThreatModel("Linf", 0.3), method)[0, 1]
        assert bound == pytest.approx(0.6, abs=1e-5)


def test_another_norm_is_refused():
    model = network(0, "linear")
    with pytest.raises(ContractError, match=r"^bounds are known here for Linf and L2, not for L1\.$"):
        certified(model, torch.rand(1, 2, 6, 6), torch.tensor([0]), ThreatModel("L1", 1.0), "crown")


def test_what_no_bound_is_known_for_is_refused():
    class Own(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs).sin()

    sigmoid = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2))
    for layers, name in ((sigmoid, "Sigmoid"), (nn.Sequential(nn.Flatten(), Own(4, 2)), "Own")):
        with pytest.raises(ContractError) as raised:
            chain_of(Classifier(layers, 2))
        assert str(raised.value) == (
            f"{name} has no bound here: certificates take chains of Linear, Conv2d, ReLU, BatchNorm, AvgPool2d and "
            "Flatten (nn.Sequential), normalised at most. Of any other model randomized smoothing certifies the vote "
            "over noisy copies, in L2."
        )
