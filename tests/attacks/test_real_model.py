"""AutoAttack on the real ResNet-20 and real CIFAR-10 images, beside the official code (all: docs/autoattack.md)."""

from __future__ import annotations

import logging

import pytest

from robench import Task, ThreatModel, autoattack

pytestmark = pytest.mark.kit

official = pytest.importorskip("pyautoattack")

#: A tenth of theirs: both take them, and half of the images.
STEPS = 10


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 1 / 255), ("L2", 0.15), ("L1", 2.0)])
def test_the_same_images_stand_as_under_the_official_attacks(lab, resnet, norm, eps):
    model, images, labels = resnet
    reference = official.AutoAttack(model, norm=norm, eps=eps, seed=0, version="custom", attacks=["apgd-ce", "apgd-t"])
    reference.logger = logging.getLogger("tests")
    reference.logger.disabled = True
    reference.apgd.n_restarts = 1
    images, labels, reference.apgd.n_iter, reference.apgd_targeted.n_iter = images[12:], labels[12:], STEPS, STEPS
    if norm == "L1":  # as its own version for L1 has it, but for 5 restarts and 5 classes
        reference.apgd.n_restarts, reference.apgd_targeted.n_target_classes = 1, 2
        reference.apgd.use_largereps = reference.apgd_targeted.use_largereps = True
    theirs, _ = reference.run_standard_evaluation(images, labels, batch_size=64)

    task = Task(
        classes=("c",) * 10,
        shape=(3, 32, 32),
        threat_model=ThreatModel(norm, eps),
        stop_early=True,
        indices=range(len(images)),
    )
    mine = autoattack(model, images, labels, task, steps=STEPS, queries=100)

    left, expected = lab.right(model, mine, labels), lab.right(model, theirs, labels)
    assert 0 < expected.sum() < len(images) / 2
    assert (left != expected).sum() <= 1
    assert task.threat.distance(images, mine).max() <= eps + 1e-6
