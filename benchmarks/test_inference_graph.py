"""What robench.runtime.inference.prepare gains per attack step: batch norms folded, channels last.

    python -m pytest benchmarks/test_inference_graph.py -s --benchmark-disable-gc

One step is a forward and a backward to the input. No time is asserted.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from robench import Classifier, input_gradient
from robench.runtime.inference import freeze, prepare

from .interleave import interleave, ratios, report, timed_rows
from .resnet20 import SHAPE, resnet20

ROUNDS = 7
BATCH = 128


def test_step_on_the_prepared_graph(benchmark):
    images = torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(1))
    plain = freeze(Classifier(resnet20(), 10), "cpu")
    prepared = prepare(plain, images[:32])
    labels = plain(images).argmax(1)
    gradients = {}

    def step(name, model):
        def run():
            _, gradients[name] = input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), images)

        return run

    contestants = {"plain": step("plain", plain), "prepared": step("prepared", prepared.model)}
    seconds = benchmark.pedantic(interleave, (contestants, ROUNDS), rounds=1, iterations=1)
    table = ratios(seconds, "plain")
    same = float((gradients["plain"].sign() == gradients["prepared"].sign()).float().mean())
    benchmark.extra_info.update(
        ratio_to_plain=table,
        seconds=seconds,
        steps=prepared.steps,
        logit_difference=prepared.difference,
        same_sign=same,
    )

    assert prepared.steps == ("batch norms folded", "channels last")
    assert same > 0.999
    report(
        f"forward + backward to the input, batch {BATCH}, median of {ROUNDS} rounds; gradient signs alike: {same:.5f}",
        [("", "ratio to plain", "seconds"), *timed_rows(seconds, table)],
    )
