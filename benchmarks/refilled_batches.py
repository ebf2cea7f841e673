"""Kernels that an attack starts on a GPU, handed a batch at a time or four together, counted on the pretended one.

    python -m benchmarks.refilled_batches

4,096 random images of 8 x 8, a small ReLU network, no defense, batches of 1,024. Most images fall within three
steps, and some never do: batches shrink, and what is left of four fits into one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import torch

from robench import Examples
from robench.evidence.store import Store
from robench.pipeline.stages.craft import craft
from robench.testing import pretended_cuda
from robench.testing.fixtures import Setting, chain, pictures
from robench_builtins.attacks.apgd import APGD
from robench_builtins.attacks.cw import CW
from robench_builtins.attacks.mi_fgsm import MIFGSM
from robench_builtins.attacks.pgd import PGD

from .interleave import report

IMAGES, BATCH, EPS, LENGTH = 4096, 1024, 8 / 255, 0.25
SETTING = Setting(10, (3, 8, 8))


def counted(attack, parts):
    """Return the calls of the model, the images it was asked for, the kernels, and the share that stands."""
    images = pictures(SETTING, IMAGES).mul(255).round().to(torch.uint8)
    labels = chain(SETTING)(images / 255).argmax(1)
    norm, eps = ("Linf", EPS) if "Linf" in attack.norms else ("L2", LENGTH)
    task = SETTING.attack(norm, IMAGES, eps=eps).replace(batch_size=BATCH, device="cuda", indices=())
    with pretended_cuda() as counts, tempfile.TemporaryDirectory() as folder:
        model, sizes = chain(SETTING).to("cuda"), []
        model.register_forward_pre_hook(lambda _model, given: sizes.append(len(given[0])))
        with mock.patch.object(type(attack), "asks_in_parts", parts):
            made = craft(attack, model, Examples.from_tensors(images, labels), None, task, Store(Path(folder)), "set")
        kernels = sum(counts.launches.values())
        moved = torch.cat([made.images(place) for place in range(len(made.chunks))])
    standing = float((chain(SETTING)(moved).argmax(1) == labels).float().mean())
    return len(sizes) - 1, sum(sizes[1:]), kernels, standing, made.fingerprint


def main():
    """Print the table."""
    rows = []
    attacks = (PGD(steps=10), PGD(steps=50), APGD(steps=10), APGD(steps=100), MIFGSM(), CW(steps=100, constant=1.0))
    for attack in attacks:
        for how, found in (("batch by batch", counted(attack, False)), ("refilled", counted(attack, True))):
            calls, images, kernels, standing, made = found
            rows.append((f"{attack.name}-{attack.steps}, {how}", calls, images, kernels, f"{standing:.1%}", made[:8]))
    report("attack | calls of the model | images asked for | kernels | standing | adversarial images", rows)


if __name__ == "__main__":
    main()
