"""illustrate: which images are kept, that what is kept is what was scored, and that nothing else changes."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from robench import Classifier, Dataset, Examples, Task
from robench.evidence.adversarial_set import AdversarialSet
from robench.evidence.gallery import KIND, PICTURES, gallery_key
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.pipeline.stages.illustrate import choose, illustrate
from robench.pipeline.stages.score import KIND as OUTCOMES

EPS = 8 / 255


def answers(correct, labels=None):
    labels = torch.zeros(len(correct), dtype=torch.int64) if labels is None else labels
    flags = torch.tensor(correct, dtype=torch.bool)
    return SimpleNamespace(labels=labels, correct=flags)


def pictures(grey, card):
    return Store(grey.store).get(KIND, gallery_key(card.id)).tensors()


# Which images


def test_flipped_images_come_first_then_right_ones_then_any():
    clean = answers([False, True, True, True, True, False, True, True])
    robust = answers([True, True, False, True, False, False, True, False])
    chosen = choose(clean, robust, seed=3)
    assert len(chosen) == PICTURES == 6
    assert set(chosen[:3]) == {2, 4, 7}
    assert set(chosen[3:]) == {1, 3, 6}


def test_few_images_are_all_kept_lost_ones_last():
    assert choose(answers([False, True]), answers([True, True]), seed=0) == [1, 0]


def test_the_seed_chooses_among_images_of_equal_interest():
    clean, robust = answers([True] * 200), answers([False] * 200)
    drawn = [tuple(choose(clean, robust, seed)) for seed in range(20)]
    assert len(set(drawn)) == 20
    assert choose(clean, robust, 7) == choose(clean, robust, 7)
    assert len({place for chosen in drawn for place in chosen}) > 60


def test_two_cells_show_the_same_images_where_both_flip():
    clean = answers([True] * 100)
    weak, strong = answers([place % 2 == 0 for place in range(100)]), answers([False] * 100)
    shared = choose(clean, strong, 5)
    assert [place for place in shared if place % 2] == [place for place in choose(clean, weak, 5) if place in shared]


# What is kept


def test_the_pictures_are_the_scored_ones(grey):
    (card,) = grey.run(eps=EPS, gallery=True)
    kept = pictures(grey, card)
    rows, store = kept["indices"], Store(grey.store)
    clean = store.get(OUTCOMES, card.clean.artifact).tensors()
    robust = store.get(OUTCOMES, card.robust.artifact).tensors()
    assert kept["clean"].shape == kept["adversarial"].shape == (6, 1, 4, 4)
    assert torch.equal(kept["labels"], clean["labels"][rows])
    assert torch.equal(kept["predictions"], torch.stack([clean["predictions"], robust["predictions"]], 1)[rows])
    assert torch.equal(kept["confidence"], torch.stack([clean["confidence"], robust["confidence"]], 1)[rows])
    assert bool((kept["predictions"][:, 0] == kept["labels"]).all())
    assert bool((kept["predictions"][:, 1] != kept["labels"]).all())
    moved = (kept["adversarial"] - kept["clean"]).abs().amax((1, 2, 3))
    # 0.5 + d grey levels of margin fall to a radius of 8, so each of these moved by the whole radius.
    assert torch.allclose(moved, torch.full((6,), EPS), atol=1e-6)


def test_saliency_is_the_gradient_known_by_hand(grey):
    (card,) = grey.run(eps=EPS, gallery=True)
    kept = pictures(grey, card)
    for name in ("clean", "adversarial"):
        for image, label, found in zip(kept[name], kept["labels"], kept[f"saliency_{name}"], strict=True):
            side = 1 if int(label) == 0 else -1
            right = 1 / (1 + math.exp(-20 * side * (float(image.mean()) - 0.5)))
            assert found.shape == (4, 4)
            assert torch.allclose(found, torch.full((4, 4), 20 * (1 - right) / 16), rtol=1e-4)


class Many(Dataset):
    """Serve more greys than one stored chunk holds."""

    name = "many"
    victim = "mean"

    def classes(self):
        return ("bright", "dark")

    def load(self, split):
        levels = [128 + place % 100 for place in range(600)]
        images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
        return Examples.from_tensors(images, torch.zeros(600, dtype=torch.int64))


def test_pictures_come_from_every_chunk(grey):
    (card,) = grey.run(("dataset", Many), dataset="many", eps=EPS, gallery=True)
    kept = pictures(grey, card)
    levels = 128 + kept["indices"] % 100
    assert torch.equal((kept["clean"].mean((1, 2, 3)) * 255).round().long(), levels)
    assert torch.allclose(kept["adversarial"], kept["clean"] - EPS, atol=1e-6)
    assert len({int(row) // 256 for row in kept["indices"]}) > 1


# That nothing else changes


def test_only_what_is_asked_for_is_kept(grey):
    (card,) = grey.run(eps=EPS)
    assert Store(grey.store).get(KIND, gallery_key(card.id)) is None


def test_the_passes_are_in_no_cost(grey, tmp_path):
    def passes(card):
        stages = (card.cost.fit, card.cost.craft, card.cost.score, card.cost.gate)
        return [(stage.images, stage.forwards, stage.backwards) for stage in stages]

    cards = [
        grey.run(defense=["none", "scale"], eps=EPS, store=tmp_path / str(kept), gallery=kept) for kept in (False, True)
    ]
    for without, with_pictures in zip(*cards, strict=True):
        assert passes(without) == passes(with_pictures)
        assert (without.clean, without.robust, without.gate) == (
            with_pictures.clean,
            with_pictures.robust,
            with_pictures.gate,
        )


def test_pictures_of_stored_cards_are_made_later_and_the_cards_stay(grey):
    before = grey.run(defense=["none", "scale"], eps=EPS)
    after = grey.run(defense=["none", "scale"], eps=EPS, gallery=True)
    assert after == before
    kept = [pictures(grey, card) for card in after]
    models = len(grey.Mean.calls)
    assert grey.run(defense=["none", "scale"], eps=EPS, gallery=True) == before
    assert len(grey.Mean.calls) == models
    assert all(set(tensors) == set(kept[0]) for tensors in kept)


def test_the_same_pictures_at_any_batch_size(grey, tmp_path):
    kept = []
    for size in (3, 64):
        (card,) = grey.run(eps=EPS, gallery=True, batch_size=size, store=tmp_path / str(size))
        kept.append(Store(tmp_path / str(size)).get(KIND, gallery_key(card.id)).tensors())
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_the_model_is_left_without_gradients(grey):
    grey.run(eps=EPS, gallery=True)
    assert all(network.gain.grad is None for network in grey.Mean.calls)


class Rounded(Classifier):
    """Round the image, which has no gradient."""

    def forward(self, images):
        return super().forward((images * 255).round().detach() / 255)


class Flat(Classifier):
    """Have a gradient that is not finite."""

    def forward(self, images):
        return super().forward(images) + (images - images).abs().sqrt().sum()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Rounded, "ContractError: The model's logits carry no gradient"), (Flat, "the gradient is not finite")],
)
def test_a_model_without_gradients_has_pictures_without_maps(grey, tmp_path, kind, reason):
    test = grey.Greys().load("test")
    store, images = Store(tmp_path), next(test.batches(len(test))).images
    chunk = store.put("adversarial", "a" * 64, {}, {"images": images})
    scored = SimpleNamespace(
        labels=test.labels,
        predictions=test.labels,
        correct=torch.ones(len(test), dtype=torch.bool),
        confidence=torch.full((len(test),), 0.5),
    )
    task = Task(classes=("bright", "dark"), shape=test.shape)
    model = kind(MeanOf(), classes=2)
    adversarial = AdversarialSet("a" * 64, [chunk], test.labels, Meter())
    artifact = illustrate(model, test, adversarial, scored, scored, task, store, "b" * 64)
    assert artifact.meta["no_saliency"].startswith(reason)
    assert not any(name.startswith("saliency") for name in artifact.tensors())
    assert torch.equal(artifact.tensors()["adversarial"], images[artifact.tensors()["indices"]])


class MeanOf(torch.nn.Module):
    def forward(self, images):
        brightness = 10 * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, -brightness], 1)
