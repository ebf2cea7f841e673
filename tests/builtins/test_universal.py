"""universal: one perturbation, fitted on training images; its optimum by hand and by search, and how it is judged."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from robench import Attack, Classifier, ContractError, Examples, Task, ThreatModel
from robench.runtime.inference import freeze
from robench_builtins.attacks.universal import Universal

from ..grey import catalog_of, checks, grey

__all__ = ["catalog_of", "grey"]


def linear(weights, size=4):
    """Return a classifier whose second logit leads by weights . x."""
    layer = nn.Linear(size, 2)
    layer.weight.data = torch.stack([torch.zeros(size), torch.tensor(weights)])
    layer.bias.data.zero_()
    return freeze(Classifier(nn.Sequential(nn.Flatten(), layer), 2), "cpu")


def task(norm, eps, images, labels, seed=0):
    train = Examples.from_tensors(images, torch.tensor(labels))
    return Task(
        classes=("no", "yes"), shape=tuple(images.shape[1:]), seed=seed, indices=range(len(images)),
        threat_model=ThreatModel(norm, eps), training_images=lambda: train,
    )  # fmt: skip


def test_on_a_linear_model_and_one_class_it_is_the_steepest_way_to_the_edge():
    grey_images, weights = torch.full((8, 1, 2, 2), 0.5), [2.0, -1.0, 0.5, -4.0]
    for label, way in ((0, 1.0), (1, -1.0)):
        model, labels = linear(weights), [label] * 8
        there = task("Linf", 0.1, grey_images, labels)
        found = Universal().craft(model, grey_images, torch.tensor(labels), there) - grey_images
        assert found[0].flatten().tolist() == pytest.approx([way * 0.1, -way * 0.1, way * 0.1, -way * 0.1], abs=1e-6)
        there = task("L2", 0.1, grey_images, labels)
        found = Universal().craft(model, grey_images, torch.tensor(labels), there) - grey_images
        straight = way * 0.1 * torch.tensor(weights) / torch.tensor(weights).norm()
        assert found[3].flatten().tolist() == pytest.approx(straight.tolist(), abs=1e-3)


def test_where_classes_pull_apart_it_ends_where_a_search_of_the_whole_ball_does():
    levels = torch.tensor([0.2, 0.3, 0.45, 0.6, 0.7, 0.75]).view(-1, 1, 1, 1)
    labels = [0, 1, 0, 1, 1, 0]
    model = linear([9.0], size=1)
    there = task("Linf", 0.15, levels, labels)
    found = Universal(epochs=30, beta=1.0).craft(model, levels, torch.tensor(labels), there) - levels

    def mean_loss(delta):
        moved = (levels + delta).clamp(0, 1)
        return float(cross_entropy(model(moved), torch.tensor(labels), reduction="none").clamp_max(1.0).mean())

    best = max(mean_loss(delta) for delta in torch.linspace(-0.15, 0.15, 301).tolist())
    assert found.std() == pytest.approx(0.0, abs=1e-6)
    assert mean_loss(float(found.mean())) >= best - 0.01


def test_it_is_fitted_once_and_on_training_images_only():
    served = []
    images = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    model, labels = linear([1.0, -2.0, 3.0, -4.0]), [0, 1] * 4
    there = task("Linf", 0.1, images, labels)
    there = there.replace(training_images=lambda train=there.training_images: served.append(1) or train())
    attack = Universal(epochs=2)
    first = attack.craft(model, images[:3], torch.tensor(labels[:3]), there.replace(indices=[0, 1, 2]))
    second = attack.craft(model, images[3:], torch.tensor(labels[3:]), there.replace(indices=[3, 4, 5, 6, 7]))
    other = attack.craft(model, images, torch.tensor(labels), there.replace(seed=1))

    assert served == [1, 1]  # another seed is another fit
    assert torch.equal(torch.cat([first, second]), attack.craft(model, images, torch.tensor(labels), there))
    assert other.shape == images.shape
    with pytest.raises(ContractError, match="training images were asked for outside a run"):
        attack.craft(linear([1.0, -2.0, 3.0, -4.0]), images, torch.tensor(labels), there.replace(
            training_images=Task(classes=(), shape=(1, 2, 2)).training_images))  # fmt: skip


@pytest.mark.parametrize("gate", ["quick", "standard"])
def test_its_card_is_not_accused_of_what_it_leaves_standing_and_ranks_nothing(grey, gate):
    (card,) = grey.run(("attack", Universal), attack="universal", eps="8/255", gate=gate, gate_cost=10)

    # Bright and dark images pull apart: at most one side can fall, which PGD-like attacks beat at once.
    assert card.robust.correct > grey.survivors[8]
    assert card.gate.verdict == "VALID", [one for one in card.gate.checks if one.status in ("suspect", "invalid")]
    stronger = checks(card)["stronger attack"]
    assert stronger.status == "skipped"
    assert stronger.meaning.startswith("Not applicable: one perturbation serves all images")
    assert card.cell.weakness == "one perturbation for all images, which one for each image would undercut"


def test_beside_an_attack_on_each_image_both_are_judged(grey):
    cards = grey.run(("attack", Universal), attack=["universal", "steps"], eps="8/255")

    assert {card.cell.attack.name: card.gate.verdict for card in cards} == {"universal": "VALID", "steps": "VALID"}


def test_an_attack_that_is_not_shared_is_accused_as_before(grey):
    class Lazy(Universal):
        """Claim to attack each image."""

        name = "lazy"
        shared = False

        def weakness(self, threat):
            return Attack.weakness(self, threat)

    (card,) = grey.run(("attack", Lazy), attack="lazy", eps="8/255", gate="standard", gate_cost=10)

    assert card.gate.verdict != "VALID"


def test_the_exam_refuses_it_where_there_is_nothing_to_fit_it_on():
    from robench import SpecError
    from robench_exam.candidates import attacks
    from robench_exam.subjects import chosen

    with pytest.raises(SpecError, match="universal is fitted on training images, which linear has none of"):
        attacks(["universal"], chosen(["linear"]))
    with pytest.raises(SpecError, match="two-halves is for attacks that make one perturbation for all images"):
        attacks(["pgd"], chosen(["two-halves"]))


def test_one_patch_is_at_the_square_of_which_all_images_gain_most():
    """On a linear model and one class every square can be looked at: the best is the one whose corner gains most."""
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(20, 3, 5, 5, generator=generator)
    layer = nn.Linear(75, 2, bias=False)
    layer.weight.data = torch.stack([0.05 * torch.randn(75, generator=generator), torch.zeros(75)])
    model = freeze(Classifier(nn.Sequential(nn.Flatten(), layer), 2), "cpu")
    there = task("patch", 2.0, images, [0] * 20)
    found = Universal(epochs=3, batch=7).craft(model, images, torch.tensor([0] * 20), there)
    way = -layer.weight.data[0].view(3, 5, 5)

    def gain(moved):
        return float(((moved - images) * way).flatten(1).sum(1).mean())

    best = []
    for top in range(4):
        for left in range(4):
            painted = images.clone()
            corner = (way > 0).float()[:, top : top + 2, left : left + 2]
            painted[:, :, top : top + 2, left : left + 2] = corner
            best.append(gain(painted))
    assert gain(found) == pytest.approx(max(best), abs=1e-5)
    assert (there.threat.distance(images, found) <= 2).all()


def test_one_patch_is_judged_as_one_perturbation_is(grey):
    (card,) = grey.run(
        ("attack", Universal), attack="universal[epochs=2]", norm="patch", eps="2", gate="standard", gate_cost=10
    )
    found = checks(card)

    assert card.gate.verdict == "VALID", [one for one in card.gate.checks if one.status in ("suspect", "invalid")]
    assert found["one perturbation"].status == "pass"
    assert found["stronger attack"].status in ("pass", "skipped")
