"""Crafting that breaks off inside a chunk and goes on there: images, counts, and the attack's own state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Attack, Classifier, Examples, Task, ThreatModel, parameter
from robench.errors import ContractError
from robench.evidence import craft_checkpoint
from robench.evidence.store import Store
from robench.pipeline.stages.craft import craft

N, BATCH = 20, 4
#: (first image of the batch, number of the pass) of every pass that was made.
PASSES: list[tuple[int, int]] = []


class Flat(nn.Module):
    def forward(self, images):
        mean = images.flatten(1).mean(1)
        return torch.stack([mean, -mean], 1)


class Breaks(Attack):
    """Move every image in three passes, keeping its state after each; break off at a given pass of a given image."""

    name = "breaks"
    image: int = parameter(default=-1, help="where it breaks off; -1: nowhere")
    number: int = parameter(default=0, help="before which pass")

    def craft(self, model, images, labels, task):
        kept = task.checkpoint.load()
        moved, first = (images.clone(), 0) if kept is None else (kept["images"], kept["pass"])
        for number in range(first, 3):
            if self.image in task.indices and self.number == number:
                raise RuntimeError("killed")
            PASSES.append((task.indices[0], number))
            model(moved)
            moved = moved + task.uniform(images, number) * task.threat.eps / 3
            task.checkpoint.save({"images": moved, "pass": number + 1})
        return moved


def breaking(at):
    PASSES.clear()
    return Breaks() if at is None else Breaks(image=at[0], number=at[1])


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(craft_checkpoint, "EVERY", 0.0)
    monkeypatch.setattr(craft_checkpoint, "SHARE", 0)


def go(attack, store, worth=None, **changes):
    images = torch.full((N, 1, 2, 2), 128, dtype=torch.uint8)
    test = Examples.from_tensors(images, torch.zeros(N, dtype=torch.long))
    given = {"classes": ("a", "b"), "shape": (1, 2, 2), "threat_model": ThreatModel("Linf", 0.1), "batch_size": BATCH}
    model = Classifier(Flat(), classes=2).requires_grad_(False)
    return craft(attack, model, test, worth, Task(**{**given, **changes}), store, "key")


def facts(found):
    meter = found.meter
    return found.fingerprint, meter.forwards, meter.backwards, meter.images, meter.batch_size, found.total("attacked")


@pytest.mark.parametrize("place", [0, 5, 19])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_it_goes_on_at_the_pass_where_it_broke_off(tmp_path, place, number):
    straight = facts(go(breaking(None), Store(tmp_path / "straight")))
    store = Store(tmp_path / "broken")
    with pytest.raises(ContractError, match=r"^breaks failed on images .*: RuntimeError: killed"):
        go(breaking((place, number)), store)

    attack = breaking(None)
    found = go(attack, store)

    assert facts(found) == straight
    first = place - place % BATCH
    assert PASSES[0] == (first, number)
    assert len(PASSES) == 3 * (N - first) // BATCH - number
    assert not list(store.root.glob("tmp/*"))


def test_it_goes_on_after_breaking_off_again_and_again(tmp_path):
    straight = facts(go(breaking(None), Store(tmp_path / "straight")))
    store = Store(tmp_path / "broken")
    for at in ((0, 1), (0, 2), (9, 0), (9, 1), (18, 2)):
        with pytest.raises(ContractError):
            go(breaking(at), store)
    assert facts(go(breaking(None), store)) == straight


def test_images_that_are_not_worth_attacking_stay_clean(tmp_path):
    worth = torch.arange(N) % 3 == 0
    straight = facts(go(breaking(None), Store(tmp_path / "straight"), worth))
    store = Store(tmp_path / "broken")
    with pytest.raises(ContractError):
        go(breaking((9, 1)), store, worth)
    found = go(breaking(None), store, worth)
    assert facts(found) == straight
    images = torch.cat([batch.images for batch in found.batches(N, "cpu")])
    assert torch.equal(images[~worth], torch.full((int((~worth).sum()), 1, 2, 2), 128 / 255))


def test_another_batch_size_keeps_the_images_and_drops_the_state(tmp_path):
    straight = go(breaking(None), Store(tmp_path / "straight"))
    store = Store(tmp_path / "broken")
    with pytest.raises(ContractError):
        go(breaking((9, 1)), store)
    attack = breaking(None)
    assert go(attack, store, batch_size=10).fingerprint == straight.fingerprint
    assert PASSES[0] == (8, 0)  # the two batches of four that were done are not attacked again


def test_a_batch_that_no_longer_fits_starts_afresh_in_halves(tmp_path):
    straight = go(breaking(None), Store(tmp_path / "straight"))
    store = Store(tmp_path / "broken")
    with pytest.raises(ContractError):
        go(breaking((9, 2)), store)

    class Small(Breaks):
        """Fit two images into memory."""

        name = "breaks"

        def craft(self, model, images, labels, task):
            if len(images) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().craft(model, images, labels, task)

    assert go(Small(), store).fingerprint == straight.fingerprint
