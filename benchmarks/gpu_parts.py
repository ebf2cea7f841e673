"""The parts of ``make bench-gpu``: each returns rows of (what, measured, how)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import robench
from robench import Examples
from robench.runtime.deterministic import repeatably
from robench.testing.fixtures import EPS, USUAL, examples, network, pictures
from robench_builtins import robench_attacks
from robench_builtins.attacks.pgd import PGD

from .gpu_clock import Row, kernels, products_a_second, seconds
from .gpu_search import precision, refill
from .gpu_speed import compiled, processes, speed
from .gpu_victims import Sizes, victim

#: Attacks of other libraries, those that read files or never ask the model, and one whose four parts are compared one
#: by one.
NOT_COMPARED = ("art", "foolbox", "torchattacks", "images", "corruption", "autoattack")
#: Parameters that are set lower, so that a CPU is quick too.
SHORTER = {"steps": 10, "queries": 200}


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


def gate(device: str, sizes: Sizes) -> Iterator[Row]:
    """Run one cell with the standard gate and say what share of the time it takes."""
    with tempfile.TemporaryDirectory() as folder:
        request = {"dataset": "digits", "victim": "tiny-clip", "defense": "none", "attack": "pgd[steps=10]"}
        (card,) = robench.run(**request, n=sizes.gate, gate=sizes.level, device=device, store=Path(folder) / "store")
    own, probes = card.cost.craft, card.cost.gate
    share = f"{probes.seconds:.2f} s against the attack's {own.seconds:.2f} s"
    counted = f"{probes.forwards:,} forwards against {own.forwards:,}"
    yield "the gate on tiny-clip, PGD-10", f"{share}; {counted}", f"{card.cell.n} digits, --gate {sizes.level}"


PARTS: dict[str, Callable[[str, Sizes], Iterator[Row]]] = {
    "against the CPU": parity,
    "repeated": repeats,
    "ceilings": ceilings,
    "speed": speed,
    "gate": gate,
    "processes": processes,
    "refill": refill,
    "precision": precision,
    "compiled": compiled,
}
#: Seconds that are kept for each part while those before it run, and that have to be left for it to be begun.
NEEDED = {
    "against the CPU": 60.0,
    "repeated": 15.0,
    "ceilings": 5.0,
    "speed": 150.0,
    "gate": 20.0,
    "processes": 30.0,
    "refill": 20.0,
    "precision": 40.0,
    "compiled": 100.0,
}
