"""How fast ``make bench-gpu`` finds PGD: in several hands, in one process or several, compiled or not."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from robench import Examples, input_gradient
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.pipeline.stages.craft import craft
from robench.runtime.compiled_network import AnyBatch
from robench_builtins.attacks.pgd import PGD

from .gpu_clock import Row, operations, products_a_second, seconds, wait
from .gpu_victims import Sizes, Victim, contestants, victim

#: What each of several processes runs.
WORKER = ("-m", "benchmarks.gpu_worker")


def speed(device: str, sizes: Sizes) -> Iterator[Row]:
    """Time PGD in several hands on each victim, with memory and energy."""
    rate = products_a_second(device, sizes.matrix, sizes.rounds)
    for name, count, batch in (("ResNet-20", sizes.resnet, sizes.resnet_batch), *sizes.clip):
        found = victim(name, count, batch, device)
        counted = operations(found.model, found.images[:1])
        for steps in sizes.steps:
            times = {
                hand: seconds(work, device, sizes.rounds, warm=steps == sizes.steps[0])
                for hand, work in contestants(found, steps, device).items()
            }
            least = counted * steps * count / rate
            says = f"{least:.3f} s, {least / times['passes alone']:.2f} of the passes alone"
            how = f"{counted / 1e9:.2f} GFLOP an image and step at the rate of matrix products"
            yield f"{name}, PGD-{steps}: counted floor", says, how
            yield from _ratios(found, steps, times)
            meter = Meter(device=device)
            with meter.clock():
                contestants(found, steps, device)["robench"]()
            joules = f", {meter.joules:.0f} J" if meter.joules is not None else ""
            how = f"batch {batch}; joules where nvidia-ml-py is installed"
            yield f"{name}, PGD-{steps}: peak memory", f"{meter.peak_bytes / 2**30:.2f} GiB{joules}", how
        yield _stage(found, sizes, device)
        del found


def _ratios(found: Victim, steps: int, times: dict[str, float]) -> Iterator[Row]:
    for hand, spent in times.items():
        over = f"{spent / times['passes alone']:.2f} of the passes alone"
        rate = f"{len(found.images) * steps / spent:,.0f} image-steps/s"
        yield f"{found.name}, PGD-{steps}: {hand}", f"{spent:.3f} s, {over}, {rate}", f"{len(found.images):,} images"


def _stage(found: Victim, sizes: Sizes, device: str) -> Row:
    """Time the whole stage, which serves, checks and stores the images too."""
    steps = sizes.steps[0]
    octets = found.images.mul(255).round().to(torch.uint8).cpu()
    test = Examples.from_tensors(octets, found.labels.cpu())
    attack = PGD(steps=steps, step_size=2 / 255)

    def work():
        with tempfile.TemporaryDirectory() as folder:
            craft(attack, found.model, test, None, found.task(device), Store(Path(folder)), "set")

    spent = seconds(work, device, 1, warm=False)
    what = f"{found.name}, PGD-{steps}: the stage"
    return what, f"{spent:.3f} s", "images served, crafted, checked, compressed and stored"


def processes(device: str, sizes: Sizes) -> Iterator[Row]:
    """Let one process attack all images of ResNet-20, then several an equal part each, at the same time."""
    alone = _together(1, device, sizes)
    several = _together(sizes.processes, device, sizes)
    ratio = f"{alone:.2f} s by one, {several:.2f} s by {sizes.processes}"
    yield "PGD on ResNet-20, one process or several", ratio, f"{sizes.resnet:,} images, PGD-{sizes.steps[-1]}"


def _together(count: int, device: str, sizes: Sizes) -> float:
    with tempfile.TemporaryDirectory() as folder:
        given = [device, sizes.resnet // count, sizes.resnet_batch, sizes.steps[-1], folder]
        words = [sys.executable, *WORKER, *map(str, given)]
        root = Path(__file__).parents[1]
        started = [subprocess.Popen(words, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        try:
            limit = time.monotonic() + 120
            while len(list(Path(folder).glob("ready-*"))) < count:
                if time.monotonic() > limit or any(worker.poll() not in (None, 0) for worker in started):
                    raise RuntimeError("a process did not begin")
                time.sleep(0.01)
            (Path(folder) / "go").touch()
            spans = [json.loads(worker.communicate(timeout=120)[0]) for worker in started]
        finally:
            for worker in started:
                worker.kill()
                worker.communicate()
    return max(end for _, end in spans) - min(begin for begin, _ in spans)


def compiled(device: str, sizes: Sizes) -> Iterator[Row]:
    """Compile each victim for any batch size, and for one size with its kernels started as one (CUDA graphs)."""
    for name, count, batch in (("ResNet-20", sizes.resnet_batch, sizes.resnet_batch), *sizes.clip[:1]):
        found = victim(name, min(count, batch), batch, device)
        ways = {
            "any size": lambda network: AnyBatch(network),
            "CUDA graphs": lambda network: torch.compile(network, mode="reduce-overhead", dynamic=False),
        }
        alone = found.batches()[0][0]
        plain = seconds(lambda found=found, alone=alone: _gradient(found.model, alone), device, sizes.rounds)
        expected = _gradient(found.model, alone)
        for way, compile_ in ways.items():
            torch.compiler.reset()
            model = copy.deepcopy(found.model)
            model.network = compile_(model.network)
            begun = time.perf_counter()
            gap = float((_gradient(model, alone) - expected).norm() / expected.norm())
            wait(device)
            first = time.perf_counter() - begun
            spent = seconds(lambda model=model, alone=alone: _gradient(model, alone), device, sizes.rounds)
            says = f"{spent / plain:.2f} of the time, gradients differ by {gap:.1e}"
            yield f"{name}: torch.compile, {way}", says, f"batch {len(alone)}; compiled in {first:.0f} s"


def _gradient(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    return input_gradient(lambda x: model(x).logsumexp(1), images)[1].clone()
