"""A whole run on a pretended GPU: the CPU's numbers, and what only a GPU can get wrong."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torch import nn

import robench
from robench import Classifier, Examples, Preprocess, SpecError, ThreatModel
from robench.contracts.task import Silent, Task
from robench.errors import ContractError, DeviceError
from robench.evidence.image_signatures import image_hashes, signatures
from robench.evidence.meter import Meter
from robench.evidence.provenance import rounded_products
from robench.evidence.store import Store
from robench.pipeline.stages.craft import craft
from robench.pipeline.workbench import use_device
from robench.runtime.deterministic import repeatably
from robench.runtime.float32 import compute_in_float32, held_to_float32
from robench.runtime.lost_device import DeviceLost, check_device
from robench.runtime.out_of_memory import is_out_of_memory, most_at_once, retry_in_halves
from robench.testing import pretended_cuda
from robench.verify.recompute import verify
from robench_builtins.attacks.pgd import PGD

from ..grey import Mean, MeanNetwork, grey

__all__ = ["grey"]


@pytest.fixture(autouse=True)
def exact():
    """Leave torch's arithmetic as robench sets it."""
    yield
    compute_in_float32()


REQUEST = {"dataset": "digits", "victim": "tiny-clip", "defense": ["none"], "attack": ["pgd[steps=3]"], "n": 6}


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """Return one cell's card from the CPU, its card from a pretended GPU, what verify finds there, and the counts."""
    store = tmp_path_factory.mktemp("store")
    (expected,) = robench.run(store=store, device="cpu", gate="quick", **REQUEST)
    with pretended_cuda() as counts:
        (found,) = robench.run(store=store, device="cuda", gate="standard", gate_cost=10, gallery=True, **REQUEST)
        findings = list(verify(found, store, "cuda", Silent()))
    return expected, found, findings, counts


class TestAWholeRun:
    def test_gives_the_cpus_numbers(self, cards):
        expected, found, *_ = cards
        assert found.adversarial.fingerprint == expected.adversarial.fingerprint
        assert (found.clean.bits, found.robust.bits) == (expected.clean.bits, expected.robust.bits)
        assert found.data == expected.data
        assert found.cost.craft.forwards == expected.cost.craft.forwards

    def test_verifies_there(self, cards):
        *_, findings, _ = cards
        assert [finding for finding in findings if finding.good is False] == []
        assert len([finding for finding in findings if finding.good]) >= 3

    def test_says_on_what_the_images_were_crafted(self, cards):
        _, found, *_ = cards
        (where,) = found.environment.crafted_on
        assert where.startswith("pretended GPU 0, torch ")
        assert "cuDNN" in where
        assert found.environment.unrepeatable == []

    def test_waits_and_copies_are_bounded(self, cards):
        *_, counts = cards
        launches = sum(counts.launches.values())
        assert launches > 1000
        assert sum(counts.waits.values()) < launches / 8


class Notes(Silent):
    """Keep what the user would be told."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def task_of(**changes):
    given = {"classes": ("a", "b"), "shape": (1, 4, 4), "threat_model": ThreatModel("Linf", 8 / 255)}
    return Task(**{**given, "progress": Notes(), **changes})


class TestGreyLevels:
    LEVELS = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)

    def served(self, device):
        (batch,) = Examples.from_tensors(self.LEVELS, torch.zeros(4)).batches(4, device)
        return batch.images.cpu()

    def test_have_the_same_bits_on_every_device(self):
        expected = self.LEVELS.to(torch.float32) / 255
        assert torch.equal(self.served("cpu"), expected)
        with pretended_cuda(reciprocal=True):
            assert torch.equal(self.served("cuda"), expected)

    def test_leaked_images_are_found_on_a_gpu(self):
        known = signatures([self.served("cpu")])
        with pretended_cuda(reciprocal=True):
            (batch,) = Examples.from_tensors(self.LEVELS, torch.zeros(4)).batches(4, "cuda")
            assert int(torch.isin(image_hashes(batch.images), known.hashes).sum()) == 4

    def test_from_files_too(self, tmp_path):
        Image.fromarray(self.LEVELS.view(16, 16).numpy()).convert("RGB").save(tmp_path / "a.png")
        with pretended_cuda(reciprocal=True):
            (batch,) = Examples.from_files([tmp_path / "a.png"], [0], 16).batches(1, "cuda")
            assert torch.equal(batch.images[0, 0].cpu().flatten(), torch.arange(256.0) / 255)


class Crowded(nn.Module):
    """Run out of memory above so many images at once."""

    sizes: ClassVar[list[int]] = []

    def __init__(self, most, error):
        super().__init__()
        self.inner, self.most, self.error = MeanNetwork(), most, error

    def forward(self, images):
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise self.error
        return self.inner(images)


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
]


class TestMemory:
    @pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:30])
    def test_that_runs_out_is_known_by_its_words(self, error):
        assert is_out_of_memory(error)
        wrapped = ContractError("tecoa.fit failed")
        wrapped.__cause__ = error
        assert is_out_of_memory(wrapped)
        assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))

    def test_the_size_that_fitted_is_remembered(self):
        model, sizes = nn.Identity(), []

        def work(images, labels, places):
            sizes.append(len(images))
            if len(images) > 3:
                raise MemoryError
            return images

        task = task_of()
        for _ in range(2):
            images = torch.arange(7.0)
            assert torch.equal(retry_in_halves(work, images, images, range(7), task, model), images)
        assert sizes == [7, 3, 3, 1, 3, 3, 1]
        assert task.progress.texts == ["Out of memory with 7 images at once; going on with 3 (see --batch-size)."]
        assert (most_at_once(model, 100), most_at_once(nn.Identity(), 100)) == (3, 100)

    def test_the_gate_goes_on_with_fewer_and_tries_all_it_would_have_tried(self, grey, monkeypatch):
        (plain,) = grey.run(gate="standard")
        crowded = Crowded(20, torch.OutOfMemoryError("CUDA out of memory"))
        monkeypatch.setattr(Mean, "load", lambda self, task: Classifier(copy.deepcopy(crowded), classes=2))
        (found,) = grey.run(gate="standard", store=grey.store / "again")
        assert max(Crowded.sizes) > 20
        told = {check.name: (check.status, check.n) for check in found.gate.checks}
        assert told == {check.name: (check.status, check.n) for check in plain.gate.checks}
        assert found.robust.bits == plain.robust.bits


class TestResize:
    IMAGES = torch.rand(3, 3, 10, 12, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
    @pytest.mark.parametrize("size", [6, 17])
    def test_is_differentiated_on_a_gpu_by_products(self, mode, size):
        resize = Preprocess((0.5,) * 3, (0.5,) * 3, size, mode)
        weights = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
        images = self.IMAGES.clone().requires_grad_(True)
        answer = resize(images)
        (expected,) = torch.autograd.grad((answer * weights).sum(), images)
        with pretended_cuda() as counts:
            moved = self.IMAGES.cuda().requires_grad_(True)
            there = resize.to("cuda")(moved)
            (found,) = torch.autograd.grad((there * weights.cuda()).sum(), moved)
            assert torch.equal(there.cpu(), answer)
            assert torch.allclose(found.cpu(), expected, atol=1e-5)
        assert not counts.unrepeatable


class TestRepeating:
    def test_an_operation_that_does_not_repeat_is_named_and_the_work_done_all_the_same(self, tmp_path):
        class Pooled(nn.Module):
            def forward(self, images):
                return nn.functional.adaptive_max_pool2d(images, 2).flatten(1)[:, :2]

        model = Classifier(Pooled(), classes=2)
        test = Examples.from_tensors(torch.rand(4, 1, 4, 4), torch.zeros(4))
        with pretended_cuda():
            task = task_of(device="cuda", stop_early=False)
            done = craft(PGD(steps=1), model, test, None, task, Store(tmp_path), "key")
        assert done.named("unrepeatable") == ["adaptive_max_pool2d_backward_cuda"]
        assert not torch.are_deterministic_algorithms_enabled()

    def test_on_a_cpu_nothing_is_changed(self):
        def work():
            return torch.are_deterministic_algorithms_enabled()

        assert repeatably(work, nn.Identity(), "a", "cpu") == (False, [])
        with pretended_cuda():
            assert repeatably(work, nn.Identity(), "a", "cuda") == (True, [])

    def test_other_errors_and_warnings_pass(self):
        def fails():
            raise RuntimeError("shapes differ")

        with pretended_cuda(), pytest.raises(RuntimeError, match="shapes differ"):
            repeatably(fails, nn.Identity(), "a", "cuda")


class TestFloat32:
    def test_is_asked_for_and_seen(self):
        torch.backends.cudnn.conv.fp32_precision = "tf32"
        torch.set_float32_matmul_precision("high")
        assert rounded_products()["cuda.conv"] == "tf32"
        compute_in_float32()
        assert rounded_products() == {}

    @pytest.mark.parametrize("where", ["load", "craft"])
    def test_a_component_that_rounds_is_named(self, grey, monkeypatch, where):
        def rounding(*_args, **_kwargs):
            torch.backends.cudnn.conv.fp32_precision = "tf32"

        if where == "load":
            load = Mean.load
            monkeypatch.setattr(Mean, "load", lambda self, task: rounding() or load(self, task))
            who = "Loading mean"
        else:
            move = grey.Steps.craft
            monkeypatch.setattr(grey.Steps, "craft", lambda self, *given: rounding() or move(self, *given))
            who = "steps"
        with pytest.raises(
            ContractError, match=f"{who} lets torch round products of float32 numbers .cuda.conv to tf32"
        ):
            grey.run()
        assert rounded_products() == {}

    def test_what_was_raised_inside_is_what_is_told(self):
        def fails():
            torch.set_float32_matmul_precision("high")
            raise ValueError("first")

        with pytest.raises(ValueError, match="first"), held_to_float32("x"):
            fails()


class TestDevices:
    def test_the_chosen_gpu_is_the_current_one_and_the_one_that_is_timed(self):
        with pretended_cuda(devices=3) as counts:
            assert use_device("cuda:2") == "cuda:2"
            assert torch.cuda.current_device() == 2
            torch.cuda.set_device(0)
            with Meter(device="cuda:2").clock():
                pass
        assert counts.events == [2, 2]

    def test_one_that_is_not_there_is_refused(self):
        with pretended_cuda(devices=2), pytest.raises(DeviceError, match="this machine has cuda:0 to cuda:1"):
            use_device("cuda:2")
        with pytest.raises(SpecError, match="is no device"):
            use_device("tpu")

    def test_crafting_on_two_is_told(self, tmp_path, monkeypatch):
        model = Classifier(MeanNetwork(), classes=2)
        test = Examples.from_tensors(torch.rand(6, 1, 4, 4), torch.zeros(6))
        monkeypatch.setattr("robench.pipeline.stages.craft.CHUNK", 3)
        store, task = Store(tmp_path), task_of()
        craft(PGD(steps=1), copy.deepcopy(model), test[:3], None, task, store, "key")
        with pretended_cuda():
            done = craft(PGD(steps=1), model.to("cuda"), test, None, task.replace(device="cuda"), store, "key")
        assert len(done.named("made_on")) == 2
        assert "they were crafted on 2 devices" in task.progress.texts[-1]


class TestALostDevice:
    def test_stops_the_run(self, monkeypatch):
        def broken(*_args, **_kwargs):
            raise RuntimeError("CUDA error: device-side assert triggered")

        cause = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later")
        with pretended_cuda():
            check_device("cuda", cause)  # it still answers
            monkeypatch.setattr(torch, "ones", broken)
            with pytest.raises(DeviceLost) as raised:
                check_device("cuda", cause)
            check_device("cpu", cause)
        assert str(raised.value) == (
            "cuda failed and answers nothing more in this process (CUDA error: device-side assert triggered). What was "
            "finished is stored: give the same command again to go on, with CUDA_LAUNCH_BLOCKING=1 before it to see "
            "which line fails."
        )

    def test_is_not_blamed_on_the_cells_after(self, grey, monkeypatch):
        tried = []

        def lost(device, error):
            tried.append(error)
            raise DeviceLost("cuda failed")

        monkeypatch.setattr("robench.pipeline.flow.check_device", lost)
        monkeypatch.setattr(Mean, "load", lambda self, task: SimpleNamespace())
        with pytest.raises(DeviceLost):
            grey.run(eps=["4/255", "8/255"])
        assert len(tried) == 1
