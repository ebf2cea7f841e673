"""On a GPU an attack is handed several batches' worth of images, and those that stand fill the batches together."""

from __future__ import annotations

from math import ceil

import pytest
import torch

from robench import Classifier, Examples, ThreatModel
from robench.contracts.adaptive import Expected
from robench.contracts.asked_in_parts import asked_at_once, in_parts, logits_of
from robench.contracts.classifier import input_gradient
from robench.contracts.task import Silent
from robench.errors import ContractError
from robench.evidence.adversarial_set import KIND, chunk_key
from robench.evidence.store import Store
from robench.pipeline.stages import craft as stage
from robench.pipeline.stages.craft import craft
from robench.testing import pretended_cuda
from robench.testing.attack_checks import OneByOne
from robench.testing.fixtures import Setting, chain, pictures
from robench_builtins.attacks.apgd import APGD
from robench_builtins.attacks.autoattack import AutoAttack
from robench_builtins.attacks.cw import CW
from robench_builtins.attacks.mi_fgsm import MIFGSM
from robench_builtins.attacks.patch import Patch
from robench_builtins.attacks.patch_rs import PatchRS
from robench_builtins.attacks.pgd import PGD

N, CHUNK, BATCH = 32, 2, 4
#: Four batches' worth, as craft holds at most.
HELD = 16
EPS = 8 / 255
TINY = Setting(5, (1, 8, 8))


def exact(model):
    """Return the model with answers whose bits no neighbour changes."""
    return Classifier(OneByOne(model), model.classes)


class Notes(Silent):
    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


class Run:
    """Hold what a run gave: the set, how many images each call of the attack and of the model had, and kernels."""

    def __init__(self, made, handed, asked, kernels, notes):
        self.made, self.handed, self.asked, self.kernels, self.notes = made, handed, asked, kernels, notes
        self.images = torch.cat([made.images(place) for place in range(len(made.chunks))])


@pytest.fixture
def crafted(tmp_path, monkeypatch):
    """Return a function that crafts 32 images in chunks of 2 and batches of 4 on a pretended GPU."""
    monkeypatch.setattr(stage, "CHUNK", CHUNK)
    images = pictures(TINY, N).mul(255).round().to(torch.uint8)
    labels = chain(TINY)(images / 255).argmax(1)
    test = Examples.from_tensors(images, labels)

    def go(attack, folder, *, wrap=exact, device="cuda", parts=True, **changes):
        handed, notes = [], Notes()

        class Watched(type(attack)):
            """Say how many images each call was given."""

            name = attack.name
            asks_in_parts = parts

            def craft(self, model, given, labels, task):
                handed.append(len(given))
                return super().craft(model, given, labels, task)

        threat = ThreatModel("Linf", EPS)
        fixed = {"batch_size": BATCH, "device": device, "indices": (), "threat_model": threat, "progress": notes}
        task = TINY.attack("Linf", N).replace(**{**fixed, **changes})
        with pretended_cuda() as counts:
            model = wrap(chain(TINY).to(device))
            asked = []
            model.register_forward_pre_hook(lambda _model, given: asked.append(len(given[0])))
            made = craft(Watched(**attack.parameters), model, test, None, task, Store(tmp_path / folder), "set")
            return Run(made, handed, asked[1:], sum(counts.launches.values()), notes.texts)  # the first is the warm-up

    go.images, go.labels = images / 255, labels
    return go


ATTACKS = {
    "pgd": PGD(steps=3, restarts=2, target="least-likely"),
    "apgd": APGD(steps=5),
    "autoattack": AutoAttack(steps=1, queries=3),  # APGD towards classes, FAB and Square are among it
    "mi-fgsm": MIFGSM(steps=6),
    "with all that its relatives add": MIFGSM(steps=4, nesterov=True, scales=2, diversity=0.5, kernel=3, neighbours=2),
    "cw": CW(steps=12, searches=2, constant=1.0, learning_rate=0.05),
    "patch": Patch(steps=3, places=2, tries=3),
    "patch-rs": PatchRS(queries=8),
}
#: Of those that do not work in Linf.
THREATS = {"cw": ThreatModel("L2", 0.5), "patch": ThreatModel("patch", 1), "patch-rs": ThreatModel("patch", 2)}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_images_and_passes_are_the_same_and_the_model_is_asked_less_often(crafted, attack):
    given = {"threat_model": THREATS.get(attack.name, ThreatModel("Linf", EPS))}
    assert attack.asks_in_parts
    before, after = crafted(attack, "before", parts=False, **given), crafted(attack, "after", **given)
    assert set(before.handed) == {BATCH}
    assert after.handed == [HELD, HELD]
    assert torch.equal(after.images, before.images)
    assert after.made.fingerprint == before.made.fingerprint
    for name in ("forwards", "backwards", "images", "batch_size"):
        assert getattr(after.made.meter, name) == getattr(before.made.meter, name), name
    for name in ("attacked", "unmoved", "outside_ball", "outside_box"):
        assert [chunk.meta[name] for chunk in after.made.chunks] == [chunk.meta[name] for chunk in before.made.chunks]
    assert max(after.asked) <= BATCH
    assert sum(after.asked) == sum(before.asked)
    assert len(after.asked) < len(before.asked)


def test_the_model_is_asked_once_for_each_batch_of_those_that_stand(crafted):
    attack = PGD(steps=8)
    before, after = (crafted(attack, f"{parts}", parts=parts, wrap=lambda model: model) for parts in (False, True))
    model, sizes = chain(TINY), []
    model.register_forward_pre_hook(lambda _model, given: sizes.append(len(given[0])))
    wanted = 0
    for start in range(0, N, HELD):
        rows = range(start, start + HELD)
        task = TINY.attack("Linf", N).replace(indices=rows, threat_model=ThreatModel("Linf", EPS))
        attack.craft(model, crafted.images[rows], crafted.labels[rows], task)
        wanted += sum(ceil(standing / BATCH) for standing in sizes)
        sizes.clear()
    assert len(after.asked) == wanted
    assert wanted < 0.75 * len(before.asked)
    assert after.kernels < 0.75 * before.kernels


def test_a_cpu_and_random_answers_and_transfer_are_handed_a_batch(crafted):
    assert max(crafted(PGD(steps=2), "cpu", device="cpu").handed) == BATCH
    assert max(crafted(PGD(steps=2), "transfer", stop_early=False).handed) == BATCH
    assert max(crafted(PGD(steps=2), "random", wrap=lambda model: Expected(model, 2)).handed) <= CHUNK


def test_where_memory_runs_out_images_are_handed_batch_by_batch(crafted):
    class Greedy(PGD):
        """Need more memory than there is beside the model."""

        def craft(self, model, images, labels, task):
            if len(images) > BATCH:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().craft(model, images, labels, task)

    before, after = crafted(PGD(steps=3), "before", parts=False), crafted(Greedy(steps=3), "after")
    assert after.handed == [HELD, *[BATCH] * (N // BATCH)]
    assert after.notes == ["Out of memory with 16 images held at once; going on batch by batch."]
    assert after.made.fingerprint == before.made.fingerprint


def test_a_model_that_does_not_fit_is_asked_for_fewer(crafted):
    def crowded(model):
        def refuse(_model, given):
            if len(given[0]) > 2 and given[0].requires_grad:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

        warm = []
        model.register_forward_pre_hook(lambda module, given: refuse(module, given) if warm else warm.append(1))
        return model

    before = crafted(PGD(steps=3), "before", parts=False)
    after = crafted(PGD(steps=3), "after", wrap=crowded)
    assert after.made.fingerprint == before.made.fingerprint
    assert after.notes == [
        "Out of memory with 16 images held at once; going on batch by batch.",
        "Out of memory with 4 images at once; going on with 2 (see --batch-size).",
    ]


def test_while_others_work_on_the_set_a_batch_is_taken_at_a_time(crafted, tmp_path, monkeypatch):
    other = Store(tmp_path / "shared").lock(KIND, chunk_key("set", 0))
    other.__enter__()
    wait = Store.lock

    def lets_go_first(self, *given):
        if not released:
            released.append(other.__exit__(None, None, None))
        return wait(self, *given)

    released = []
    monkeypatch.setattr(Store, "lock", lets_go_first)
    shared = crafted(PGD(steps=3), "shared")
    assert shared.handed == [HELD - CHUNK, *[BATCH] * 4, CHUNK]
    assert shared.made.fingerprint == crafted(PGD(steps=3), "before", parts=False).made.fingerprint


def test_a_time_limit_is_one_of_a_batch(crafted):
    class Slow(PGD):
        """Wait for the clock."""

        def craft(self, model, images, labels, task):
            while True:
                pass

    with pytest.raises(ContractError, match=r"pgd took longer than 0.02 s for each of 4 batches and was given up"):
        crafted(Slow(steps=1), "after", timeout=0.02)


def test_a_killed_run_goes_on(crafted, tmp_path):
    whole = crafted(PGD(steps=3), "whole")
    store = Store(tmp_path / "whole")
    assert store.remove(KIND, chunk_key("set", 8))
    again = crafted(PGD(steps=3), "whole")
    assert again.handed == [CHUNK]
    assert again.made.fingerprint == whole.made.fingerprint


def test_parts_give_what_the_whole_gives():
    images, labels = torch.arange(10.0).view(10, 1, 1, 1), torch.arange(10) % 2
    asked = []

    def loss(part, rows):
        asked.append(len(part))
        return part.flatten(1).sum(1) ** 2 * (1 - rows)

    whole = input_gradient(loss, images, labels)
    with asked_at_once(4):
        parts = input_gradient(loss, images, labels)
        assert asked == [10, 4, 4, 2]
        assert torch.equal(logits_of(torch.nn.Flatten(), images), images.flatten(1))
        # Without anything along, nobody knows what the loss needs of each image.
        input_gradient(lambda x: loss(x, labels), images)
        assert in_parts(lambda x: (x,), images[:4])[0].shape == (4, 1, 1, 1)
    assert asked[4:] == [10]
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))
