"""Every built-in attack, defense and model on a pretended GPU: no device mistake, and the CPU's bits."""

from __future__ import annotations

import copy

import pytest
import torch

from robench import Attack, Defense, seeded_globally
from robench.contracts.adaptive import adapt
from robench.contracts.components import Model
from robench.contracts.parameters import parameters_of
from robench.evidence.store import Store
from robench.pipeline.stages.fit import fit, trains
from robench.plugin.catalog import catalog
from robench.runtime.inference import freeze, prepare
from robench.testing import pretended_cuda
from robench.testing.fixtures import Setting, examples, network, pictures, zero_shot

SETTING = Setting(10, (3, 16, 16))
N = 6
SHORT = {
    "steps": 3, "queries": 12, "searches": 2, "restarts": 2, "neighbours": 2, "draws": 2, "targets": 2,
    "epochs": 1, "attack_steps": 2, "batch_size": 4,
}  # fmt: skip


def offered(base):
    """Return the built-in components of a role, each with its searches and training short."""
    kinds = {offer.component for offer in catalog().offers.values() if offer.plugin.name == "builtins"}
    kinds = sorted((kind for kind in kinds if issubclass(kind, base)), key=lambda kind: kind.name)
    short = [
        {name: SHORT[name] for name, p in parameters_of(kind).items() if type(p.default) is int and name in SHORT}
        for kind in kinds
    ]
    return [kind(**given) for kind, given in zip(kinds, short, strict=True)]


@pytest.fixture(scope="module")
def victim():
    return network(SETTING)


@pytest.mark.parametrize(
    "attack",
    [one for one in offered(Attack) if one.name != "images" and not one.undeclared],
    ids=lambda attack: attack.name,
)
def test_attacks_move_images_there_as_on_a_cpu(attack, victim):
    if attack.missing():
        pytest.skip("; ".join(attack.missing()))
    images = pictures(SETTING, N)
    labels = victim(images).argmax(1)
    for norm in attack.norms:
        for early in (True, False):
            task = SETTING.attack(norm, N, early=early)
            expected = attack.craft(victim, images.clone(), labels, task)
            with pretended_cuda():
                moved = copy.deepcopy(victim).to("cuda")
                found = attack.craft(moved, images.cuda(), labels.cuda(), task.replace(device="cuda"))
                assert found.device.type == "cuda"
                assert torch.equal(found.cpu(), expected), (norm, early)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("fits"))


@pytest.mark.parametrize("defense", offered(Defense), ids=lambda defense: defense.name)
def test_defenses_train_and_answer_there_as_on_a_cpu(defense, store):
    images = pictures(SETTING, 2)

    def answers(device, key):
        model = freeze(copy.deepcopy(undefended), device)
        task = SETTING.task(device=device)
        train = (lambda: examples(SETTING, 8)) if trains(defense) else None
        with seeded_globally(1):
            fitted = fit(defense, model, train, task, store, f"{defense.name}-{key}")
            prepared = prepare(fitted.model, images.to(device))
            target = adapt(defense, fitted.model, prepared.model, task)
        with seeded_globally(2):
            at = images.to(device).requires_grad_(True)
            logits = target(at)
            slope = torch.autograd.grad(logits.sum(), at)[0] if logits.requires_grad else at.detach()
        return fitted.digest, logits.detach().cpu(), slope.cpu()

    undefended = takes(defense)
    expected = answers("cpu", "cpu")
    with pretended_cuda():
        found = answers("cuda", "cuda")
    assert found[0] == expected[0]
    assert torch.allclose(found[1], expected[1], rtol=1e-4, atol=1e-4)
    assert torch.allclose(found[2], expected[2], rtol=1e-3, atol=1e-3)  # what is resized is differentiated otherwise


def takes(defense):
    """Return the victim that a defense takes."""
    from robench import SpecError

    try:
        defense.wrap(network(SETTING), SETTING.task())
    except SpecError:
        return zero_shot(SETTING)
    return network(SETTING)


LOCAL = {"tiny-clip": {}, "small-cnn": {}, "mlp": {}, "resnet20": {"weights": "none"}}


@pytest.mark.parametrize("name", LOCAL)
def test_models_answer_there_as_on_a_cpu(name):
    images = pictures(SETTING, 2)
    model = catalog().find("victim", name).build({**LOCAL[name]})
    assert isinstance(model, Model)
    with seeded_globally(0):
        loaded = freeze(model.load(SETTING.task()), "cpu")
    expected = loaded(images)
    with pretended_cuda():
        with seeded_globally(0):
            moved = freeze(model.load(SETTING.task(device="cuda")), "cuda")
        assert torch.equal(moved(images.cuda()).cpu(), expected)
        ready = prepare(moved, images.cuda())
    assert ready.steps == prepare(loaded, images).steps
