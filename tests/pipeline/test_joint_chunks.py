"""Batches larger than a chunk are full, and the images are those that chunks crafted one by one give."""

from __future__ import annotations

import pytest
import torch

from robench import Attack, Classifier, Examples, Task, ThreatModel
from robench.contracts.adaptive import Expected
from robench.evidence.adversarial_set import KIND, chunk_key
from robench.evidence.store import Store
from robench.pipeline.joint_chunks import by_part, groups, shared
from robench.pipeline.stages import craft as stage
from robench.pipeline.stages.craft import craft
from robench.runtime.host_copies import HostCopies
from robench.testing import pretended_cuda
from robench.testing.fixtures import USUAL, network, pictures
from robench_builtins.attacks.pgd import PGD

N, CHUNK = 44, 4
WORTH = torch.tensor([place % 11 != 3 for place in range(N)])


class Counted(PGD):
    """Say how many images each call was given, a batch at a time."""

    asks_in_parts = False
    sizes = ()

    def craft(self, model, images, labels, task):
        type(self).sizes += (len(images),)
        return super().craft(model, images, labels, task)


@pytest.fixture
def crafted(tmp_path, monkeypatch):
    """Return a function that crafts 44 images in chunks of 4, and the sizes of the attack's batches."""
    monkeypatch.setattr(stage, "CHUNK", CHUNK)
    images = pictures(USUAL, N).mul(255).round().to(torch.uint8)
    model = network(USUAL)
    labels = model(images / 255).argmax(1)
    test = Examples.from_tensors(images, labels)

    def go(batch_size, folder, *, worth=WORTH, device="cpu", wrap=lambda model: model):
        Counted.sizes = ()
        task = USUAL.attack("Linf", N).replace(batch_size=batch_size, device=device, indices=())
        attack, store = Counted(steps=3), Store(tmp_path / folder)
        return craft(attack, wrap(model.to(device)), test, worth, task, store, "set"), Counted.sizes

    return go


def images_of(made):
    return torch.cat([made.images(place) for place in range(len(made.chunks))])


def test_batches_are_full_and_the_images_are_the_same(crafted):
    one, alone = crafted(CHUNK, "one")
    joint, together = crafted(16, "joint")
    assert (len(alone), max(alone)) == (11, 4)
    assert together == (14, 15, 11)  # of four chunks, four and three: a fifth would not fit into 16
    assert sum(alone) == sum(together) == int(WORTH.sum()) == 40
    assert torch.equal(images_of(joint), images_of(one))
    assert joint.fingerprint == one.fingerprint
    for name in ("attacked", "unmoved", "outside_ball", "outside_box"):
        assert [chunk.meta[name] for chunk in joint.chunks] == [chunk.meta[name] for chunk in one.chunks], name
    for name in ("forwards", "backwards", "images"):
        assert getattr(joint.meter, name) == getattr(one.meter, name), name


def test_a_chunk_that_is_stored_is_kept(crafted, tmp_path):
    crafted(CHUNK, "again")
    store = Store(tmp_path / "again")
    assert store.remove(KIND, chunk_key("set", 8))
    _, sizes = crafted(16, "again")
    assert sizes == (int(WORTH[8:12].sum()),)


def test_a_gpu_is_given_fewer_kernels(crafted):
    with pretended_cuda() as counts:
        one, _ = crafted(CHUNK, "one", device="cuda")
        before = sum(counts.launches.values())
        counts.clear()
        joint, _ = crafted(32, "joint", device="cuda")
        after = sum(counts.launches.values())
    assert joint.fingerprint == one.fingerprint
    assert after < 0.5 * before


def test_crafted_images_are_copied_from_a_gpu_while_the_next_batch_is_attacked(crafted, monkeypatch):
    put, settle, seen = HostCopies.put, HostCopies.settle, []

    def noted(self, places, images):
        seen.append(("put", len(Counted.sizes)))
        put(self, places, images)

    def waited(self):
        seen.extend(("arrived", len(Counted.sizes)) for _ in self._under_way)
        settle(self)

    monkeypatch.setattr(HostCopies, "put", noted)
    monkeypatch.setattr(HostCopies, "settle", waited)
    expected, _ = crafted(2, "cpu", worth=None)
    seen.clear()
    with pretended_cuda() as counts:
        made, sizes = crafted(2, "gpu", worth=None, device="cuda")
    assert made.fingerprint == expected.fingerprint
    # The first batch is attacked twice, since an operation of its network has no kernel that repeats its bits.
    assert sizes == (2,) * 23
    # Of a chunk's two batches the first arrives when the second has been attacked, and that before the chunk is stored.
    assert seen == [
        one for n in range(2, 23, 2) for one in (("put", n), ("arrived", n + 1), ("put", n + 1), ("arrived", n + 1))
    ]
    # What is waited for at once is what the harness found in each batch, seven numbers.
    assert (counts.launches["to cpu"], counts.waits["to cpu"]) == (22, 22)


def test_random_answers_are_drawn_chunk_by_chunk_whatever_the_batch(crafted):
    _, sizes = crafted(16, "expected", wrap=lambda model: Expected(model, 2))
    assert max(sizes) <= CHUNK


def test_an_attack_that_returns_something_else_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "CHUNK", 2)

    class Odd(Attack):
        """Return a list."""

        name = "odd"

        def craft(self, model, images, labels, task):
            return list(images)

    test = Examples.from_tensors(torch.rand(4, 1, 2, 2), torch.zeros(4))
    task = Task(classes=("a", "b"), shape=(1, 2, 2), threat_model=ThreatModel("Linf", 0.1), batch_size=4)
    model = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), 2)
    with pytest.raises(Exception, match="odd must return a tensor, not list"):
        craft(Odd(), model, test, None, task, Store(tmp_path), "set")


def test_groups_hold_a_batch_of_images_worth_attacking():
    assert groups([0, 4, 8], None, 4, 4) == [[0], [4], [8]]
    assert groups([0, 4, 8], None, 8, 4) == [[0, 4], [8]]
    assert groups([0, 4, 8, 12], torch.tensor([True, False] * 8), 5, 4) == [[0, 4], [8, 12]]
    assert groups([4 * place for place in range(9)], torch.zeros(36), 8, 4) == [[0, 4, 8, 12, 16, 20, 24, 28], [32]]
    assert groups([], None, 8, 4) == []


def test_places_are_told_apart_by_part():
    assert list(by_part([0, 3, 4, 9], [4, 4, 2])) == [(0, slice(0, 2)), (1, slice(2, 3)), (2, slice(3, 4))]
    assert list(by_part([5, 6], [4, 4])) == [(1, slice(0, 2))]


def test_shares_of_a_meter_add_up():
    state = {
        "forwards": 10,
        "backwards": 7,
        "images": 5,
        "seconds": 5.0,
        "peak_bytes": 9,
        "batch_size": 4,
        "joules": 10.0,
    }
    first, second, third = shared(state, [3, 0, 2])
    assert (first["forwards"], second["forwards"], third["forwards"]) == (6, 0, 4)
    assert (first["backwards"], second["backwards"], third["backwards"]) == (4, 0, 3)
    assert (first["images"], first["seconds"], first["joules"]) == (3, 3.0, 6.0)
    assert (third["peak_bytes"], third["batch_size"]) == (9, 4)
    assert shared(state, [5]) == [state]
    assert sum(one["forwards"] for one in shared({**state, "joules": None}, [0, 0, 0])) == 10


@pytest.mark.parametrize("size", [1, 3, 4, 6, 9, 44, 100])
def test_stored_images_are_served_in_batches_cut_where_the_clean_ones_are(crafted, size):
    made, _ = crafted(CHUNK, "one")
    batches = list(made.batches(size, "cpu"))
    assert [batch.indices for batch in batches] == [list(range(N))[start : start + size] for start in range(0, N, size)]
    assert torch.equal(torch.cat([batch.images for batch in batches]), images_of(made))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), made.labels)
