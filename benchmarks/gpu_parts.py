"""The parts of ``make bench-gpu``: each returns rows of (what, measured, how)."""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

import robench
from robench import Examples, input_gradient
from robench.evidence.meter import Meter
from robench.evidence.store import Store
from robench.pipeline.stages.craft import craft
from robench.runtime.compiled_network import AnyBatch
from robench.runtime.deterministic import repeatably
from robench.testing.fixtures import EPS, USUAL, examples, network, pictures
from robench_builtins import robench_attacks
from robench_builtins.attacks.pgd import PGD

from .gpu_victims import Sizes, Victim, contestants, victim

Row = tuple[str, str, str]
#: Seconds after which a contestant is not run again.
ENOUGH = 6.0
#: What each of several processes runs.
WORKER = ("-m", "benchmarks.gpu_worker")
#: Attacks of other libraries, one that reads files, and one whose four parts are compared one by one.
NOT_COMPARED = ("art", "foolbox", "torchattacks", "images", "autoattack")
#: Parameters that are set lower, so that a CPU is quick too.
SHORTER = {"steps": 10, "queries": 200}


def wait(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str, rounds: int, warm: bool = True) -> float:
    """Return the median time of some rounds of ``work``, after one that does not count."""
    spent: list[float] = []
    for turn in range(rounds + warm):
        wait(device)
        begun = time.perf_counter()
        work()
        wait(device)
        if turn or not warm:
            spent.append(time.perf_counter() - begun)
        if spent and sum(spent) > ENOUGH:
            break
    return statistics.median(spent)


def kernels(work: Callable[[], object]) -> int:
    """Return how many kernels a CUDA device is given."""
    kinds = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA]) as profiled:
        work()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiled.events())


def products_a_second(device: str, side: int, rounds: int) -> float:
    """Return the float32 operations a second of a large product of matrices."""
    one = torch.rand(side, side, device=device)
    return 2 * side**3 / seconds(lambda: one @ one, device, rounds)


def operations(model: torch.nn.Module, image: torch.Tensor) -> int:
    """Return the operations of one image's forward and of the backward to it, counted."""
    own, image = copy.deepcopy(model).cpu(), image.cpu().requires_grad_(True)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(own(image.clone()).sum(), image)  # the counter's hooks refuse a leaf
    return int(counter.get_total_flops())


def parity(device: str, sizes: Sizes) -> Iterator[Row]:
    """Compare each attack with the CPU, whose bits the pretended device has."""
    images = pictures(USUAL, sizes.parity)
    labels = network(USUAL)(images).argmax(1)
    for kind in robench_attacks():
        if kind.name in NOT_COMPARED or kind.name not in (sizes.attacks or (kind.name,)):
            continue
        attack = kind(**{name: most for name, most in SHORTER.items() if name in kind.__dataclass_fields__})
        for norm in attack.norms:
            if norm not in EPS:  # what is in no ball is drawn on the CPU
                continue
            task = USUAL.attack(norm, sizes.parity).replace(training_images=lambda: examples(USUAL, 64))
            made, verdicts = [], []
            for place in ("cpu", device):
                model = network(USUAL).to(place)
                moved = attack.craft(model, images.to(place), labels.to(place), task.replace(device=place))
                verdicts.append((model(moved).argmax(1) != labels.to(place)).cpu())
                made.append(moved.detach().cpu())
            differ = int((verdicts[0] != verdicts[1]).sum())
            gap = float((made[0] - made[1]).abs().max())
            says = f"{differ} of {sizes.parity} verdicts differ, pixels by at most {255 * gap:.2g}/255"
            yield f"{kind.name}, {norm}: against the CPU", says, "small CNN, 32 px, the same seeds"


def repeats(device: str, sizes: Sizes) -> Iterator[Row]:
    """Craft twice on each family of victims and compare bit by bit."""
    for name, count, batch in (("ResNet-20", 64, 64), *sizes.clip):
        found = victim(name, min(count, batch, sizes.resnet_batch), batch, device)
        attack, task = PGD(steps=3, step_size=2 / 255), found.task(device)

        def work(attack=attack, found=found, task=task):
            return attack.craft(found.model, found.images, found.labels, task)

        first, names = repeatably(work, found.model, "pgd", device)
        second, _ = repeatably(work, found.model, "pgd", device)
        same = "the same bits" if torch.equal(first, second) else "other bits"
        besides = f"; no repeatable kernel for {', '.join(names)}" if names else ""
        yield f"{name}: PGD-3 twice", f"{same}{besides}", f"{len(found.images)} images"
        yield (
            f"{name}: kernels of PGD-3",
            str(kernels(work)),
            "by torch's profiler; the pretended device counts 124 a step",
        )


def ceilings(device: str, sizes: Sizes) -> Iterator[Row]:
    """Measure what the card multiplies and copies at most, in float32."""
    side = sizes.matrix
    rate = products_a_second(device, side, sizes.rounds)
    yield "products of float32 matrices", f"{rate / 1e12:.1f} TFLOP/s", f"{side} x {side}"
    one = torch.rand(side, side, device=device)
    spent = seconds(one.clone, device, sizes.rounds)
    yield "copying on the card", f"{8 * side**2 / spent / 1e9:.0f} GB/s", f"{4 * side**2 / 1e6:.0f} MB"
    images = torch.zeros(sizes.copied, 3, 224, 224, dtype=torch.uint8)
    test = Examples.from_tensors(images, torch.zeros(sizes.copied, dtype=torch.long))

    def served():
        for _ in test.batches(128, device):
            pass

    spent = seconds(served, device, sizes.rounds)
    yield "serving images at 224 px", f"{sizes.copied / spent:,.0f} images/s", "from memory, as bytes, then as floats"


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


def gate(device: str, sizes: Sizes) -> Iterator[Row]:
    """Run one cell with the standard gate and say what share of the time it takes."""
    with tempfile.TemporaryDirectory() as folder:
        request = {"dataset": "digits", "victim": "tiny-clip", "defense": "none", "attack": "pgd[steps=10]"}
        (card,) = robench.run(**request, n=sizes.gate, gate=sizes.level, device=device, store=Path(folder) / "store")
    own, probes = card.cost.craft, card.cost.gate
    share = f"{probes.seconds:.2f} s against the attack's {own.seconds:.2f} s"
    counted = f"{probes.forwards:,} forwards against {own.forwards:,}"
    yield "the gate on tiny-clip, PGD-10", f"{share}; {counted}", f"{card.cell.n} digits, --gate {sizes.level}"


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


PARTS: dict[str, Callable[[str, Sizes], Iterator[Row]]] = {
    "against the CPU": parity,
    "repeated": repeats,
    "ceilings": ceilings,
    "speed": speed,
    "gate": gate,
    "processes": processes,
    "compiled": compiled,
}
#: Seconds that have to be left for a part to be begun, of those that cannot stop in between.
NEEDED = {"compiled": 150.0}
