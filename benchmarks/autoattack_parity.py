"""Run our AutoAttack and the official one on the same weights and images, and compare them image by image.

    python benchmarks/autoattack_parity.py KIT --eps 1/255

KIT holds ``resnet20_cifar10.safetensors`` and ``cifar10-lossless-subset.npz``. Needs the package pyautoattack, a
packaging of the official code. Prints what docs/autoattack.md shows.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robench import Classifier, Task, ThreatModel, parse_eps
from robench.attacks.autoattack import plan
from robench_builtins.models.resnet20 import ResNet20

#: (official name, prefixes of our stages that together are the same attack)
GROUPS = (("apgd-ce", "apgd-ce"), ("apgd-t", "apgd-t"), ("fab-t", "fab-t"), ("square", "square"))


def load(kit: Path, count: int | None) -> tuple[Classifier, Tensor, Tensor]:
    """Return the model and the images that it classifies correctly, with their labels."""
    with np.load(kit / "cifar10-lossless-subset.npz", allow_pickle=False) as data:
        images = torch.from_numpy(data["x_test"]).permute(0, 3, 1, 2).contiguous().float()[:count] / 255
        labels = torch.from_numpy(data["y_test"]).long()[:count]
        names = tuple(str(name) for name in data["class_names"])
    task = Task(classes=names, shape=(3, 32, 32))
    model = ResNet20(checkpoint=str(kit / "resnet20_cifar10.safetensors")).load(task).eval().requires_grad_(False)
    right = right_of(model, images, labels)
    print(f"images {len(images)}, clean {int(right.sum())}")  # noqa: T201 - the table is what this file is run for
    return model, images[right], labels[right]


def right_of(model: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Return (N,) bool: whether the model answers correctly."""
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(128)]).argmax(1) == labels


def in_a_row(
    run: Callable[[str, Tensor, Tensor, Tensor], Tensor], model: Classifier, images: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """Return (N,) bool after each attack, of which each takes what the ones before left standing."""
    left, found = torch.ones(len(images), dtype=torch.bool), {}
    for name, _ in GROUPS:
        begun = time.perf_counter()
        for rows in left.nonzero().flatten().split(128):
            left[rows] = right_of(model, run(name, images[rows], labels[rows], rows), labels[rows])
        found[name] = left.clone()
        print(f"  {name}: {int(left.sum())} right, {time.perf_counter() - begun:.0f} s", flush=True)  # noqa: T201 - the table is what this file is run for
    return found


def ours(model: Classifier, threat: ThreatModel, seed: int) -> Callable[[str, Tensor, Tensor, Tensor], Tensor]:
    """Return how our attacks are run."""
    stages = plan(model.classes, "standard", 100, 5000, 1, threat.norm)
    prefix = dict(GROUPS)

    def run(name: str, images: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        result, left = images.clone(), torch.ones(len(images), dtype=torch.bool)
        for stage in stages:
            if not stage.name.startswith(prefix[name]) or not left.any():
                continue
            task = Task(
                classes=("",) * model.classes, shape=(3, 32, 32), threat_model=threat, stop_early=True, seed=seed
            )
            given = task.replace(indices=rows[left].tolist()).fork("autoattack", stage.name)
            result[left] = stage.attack(model, images[left], labels[left], given)
            left = right_of(model, result, labels)
        return result

    return run


def theirs(model: Classifier, threat: ThreatModel, seed: int) -> Callable[[str, Tensor, Tensor, Tensor], Tensor]:
    """Return how the official attacks are run."""
    from pyautoattack import AutoAttack

    logging.disable(logging.CRITICAL)

    def asked(images: Tensor) -> Tensor:
        # The official code views gradients, which convolutions may hand back in another memory layout.
        images = images.view_as(images)
        if images.requires_grad:
            images.register_hook(lambda gradient: gradient.contiguous())
        return model(images)

    official = AutoAttack(asked, norm=threat.norm, eps=threat.eps, seed=seed, version="standard")
    official.fab.targeted = True
    attacks = {
        "apgd-ce": official.apgd,
        "apgd-t": official.apgd_targeted,
        "fab-t": official.fab,
        "square": official.square,
    }
    return lambda name, images, labels, _: attacks[name].perturb(images, labels)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kit", type=Path)
    parser.add_argument("--norm", choices=("Linf", "L2", "L1"), default="Linf")
    parser.add_argument("--eps", default="1/255")
    parser.add_argument("--n", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # the official code warns of gradients that are zero
    threat = ThreatModel(given.norm, parse_eps(given.eps, given.norm))
    model, images, labels = load(given.kit, given.n)
    print("ours")  # noqa: T201 - the table is what this file is run for
    mine = in_a_row(ours(model, threat, given.seed), model, images, labels)
    print("official")  # noqa: T201 - the table is what this file is run for
    other = in_a_row(theirs(model, threat, given.seed), model, images, labels)
    for name, _ in GROUPS:
        agree = int((mine[name] == other[name]).sum())
        print(f"after {name}: ours {int(mine[name].sum())}, official {int(other[name].sum())}, agree {agree}", end="")  # noqa: T201 - the table is what this file is run for
        print(f" of {len(images)}")  # noqa: T201 - the table is what this file is run for


if __name__ == "__main__":
    main()
