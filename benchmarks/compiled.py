"""Does torch.compile pay? Forward and backward of a prepared model, compiled and not, on batches of many sizes.

    python -m benchmarks.compiled [resnet20|vit] [ROUNDS]

Interleaved in one process; the sizes are those of batches that images leave as they fall. A few sizes are asked before.
"""

from __future__ import annotations

import sys
import time

import torch
import torch.nn.functional as F
from torch._dynamo.utils import counters

from robench import Classifier, input_gradient
from robench.runtime.inference import _compile, freeze, prepare
from robench_builtins.models.shared.small_vision_transformer import SmallViT

from .interleave import interleave, ratios, report, timed_rows
from .resnet20 import resnet20

SIZES = (128, 121, 97, 64, 50, 33, 17)


def networks(name):
    """Return a network of random weights at 32 px."""
    torch.manual_seed(0)
    if name == "resnet20":
        return resnet20()
    return SmallViT(
        10, patch=4, stride=4, patches=64, width=64, heads=4, blocks=4, dropout=0.0, hidden=[128], head_dropout=0.0
    )


def asked(model, images):
    """Return the input gradient, as an attack's step asks for it."""
    labels = torch.zeros(len(images), dtype=torch.long)
    return input_gradient(lambda x: F.cross_entropy(model(x), labels, reduction="none"), images)[1]


def graphs():
    """Return how many graphs torch has compiled."""
    return counters["stats"]["unique_graphs"]


def main(name="resnet20", rounds=5):
    images = torch.rand(max(SIZES), 3, 32, 32, generator=torch.Generator().manual_seed(1))
    plain = prepare(freeze(Classifier(networks(name), 10), "cpu"), images[:8])
    compiled = _compile(plain.model)
    begun = time.perf_counter(), time.process_time()
    first = asked(compiled, images)
    spent = time.perf_counter() - begun[0], time.process_time() - begun[1]
    after_first, gap = graphs(), float((first - asked(plain.model, images)).norm() / first.norm())

    def all_sizes(model):
        for size in SIZES:
            asked(model, images[:size])

    all_sizes(compiled)
    after_all = graphs()
    whole = interleave(
        {"plain": lambda: asked(plain.model, images), "compiled": lambda: asked(compiled, images)}, int(rounds)
    )
    sizes = interleave({"plain": lambda: all_sizes(plain.model), "compiled": lambda: all_sizes(compiled)}, int(rounds))
    report(
        f"{name}, forward and backward to the input, {torch.get_num_threads()} thread(s); prepared: {plain.steps}",
        [
            ("what", "ratio", "seconds"),
            *timed_rows(whole, ratios(whole, "plain")),
            *(("sizes: " + row[0], *row[1:]) for row in timed_rows(sizes, ratios(sizes, "plain"))),
            ("compiling", f"{spent[0]:.0f} s", f"{spent[1]:.0f} s here"),
            ("graphs", after_first, after_all),
            ("gradients differ", f"{gap:.1e}", ""),
        ],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
