"""Attacks of torchattacks, foolbox and ART by name on the real ResNet-20: image for image what the library makes."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

from robench import Task, ThreatModel
from robench.plan.references import build_reference
from robench.plugin.catalog import catalog

pytestmark = pytest.mark.kit


def of_torchattacks(model, images, labels, eps, name, **settings):
    library = pytest.importorskip("torchattacks")
    return getattr(library, name)(model, eps=eps, **settings)(images, labels)


def of_foolbox(model, images, labels, eps, name, **settings):
    library = pytest.importorskip("foolbox")
    seen = library.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return getattr(library.attacks, name)(**settings)(seen, images, library.criteria.Misclassification(labels),
                                                      epsilons=eps)[1]  # fmt: skip


def of_art(model, images, labels, eps, name, **settings):
    pytest.importorskip("art")
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    loss = torch.nn.CrossEntropyLoss()
    seen = PyTorchClassifier(model, loss, (3, 32, 32), 10, clip_values=(0.0, 1.0), device_type="cpu")
    attack = getattr(evasion, name)(seen, eps=eps, batch_size=len(images), verbose=False, **settings)
    return torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))


CASES = [
    ("torchattacks:MIFGSM[steps=5,alpha=0.5/255]", of_torchattacks, "Linf", {"steps": 5, "alpha": 0.5 / 255}),
    ("torchattacks:PGDL2[steps=5,alpha=0.1,random_start=false]", of_torchattacks, "L2",
     {"steps": 5, "alpha": 0.1, "random_start": False}),
    ("foolbox:LinfBasicIterativeAttack[steps=5]", of_foolbox, "Linf", {"steps": 5}),
    ("foolbox:L2DeepFoolAttack[steps=10]", of_foolbox, "L2", {"steps": 10}),
    ("art:MomentumIterativeMethod[eps_step=0.5/255,max_iter=5]", of_art, "Linf",
     {"eps_step": 0.5 / 255, "max_iter": 5}),
    ("art:ProjectedGradientDescent[eps_step=0.1,max_iter=5]", of_art, "L2",
     {"eps_step": 0.1, "max_iter": 5, "norm": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("reference", "library", "norm", "settings"), CASES, ids=[case[0] for case in CASES])
def test_images_are_those_of_the_library(lab, resnet, reference, library, norm, settings):
    model, images, labels = (resnet[0], *(part[:12] for part in resnet[1:]))
    eps = {"Linf": 2 / 255, "L2": 0.25}[norm]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what these libraries call is deprecated
        theirs = library(model, images, labels, eps, reference.partition(":")[2].partition("[")[0], **settings)
        attack = build_reference(catalog(), "attack", reference)
        task = Task(classes=("c",) * 10, shape=(3, 32, 32), threat_model=ThreatModel(norm, eps), indices=range(12))
        attack.check(task.threat)
        mine = attack.craft(model, images, labels, task)
    assert torch.equal(mine, theirs.detach())
    assert task.threat.distance(images, mine).max() <= eps * (1 + 1e-5)
    found = SimpleNamespace(mine=lab.right(model, mine, labels), theirs=lab.right(model, theirs, labels))
    assert torch.equal(found.mine, found.theirs)
    assert found.mine.sum() < 6
