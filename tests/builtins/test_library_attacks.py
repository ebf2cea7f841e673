"""Attacks of torchattacks, foolbox and ART by name: beside the libraries themselves, and what they cannot do."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import robench
from robench import SpecError
from robench.contracts.task import Task
from robench.contracts.threat_model import ThreatModel
from robench.plan.spec import Spec, plan
from robench.plugin.catalog import catalog

pytest.importorskip("torchattacks")
EPS = 8 / 255


@pytest.fixture(scope="module")
def digits():
    """Return the tiny CLIP, sixteen test digits that it gets right, and the task of an attack on them."""
    test = robench.load_test("digits", n=24)
    (batch,) = test.batches(24, "cpu")
    images, labels = batch.images, batch.labels
    offer = catalog().find("victim", "tiny-clip")
    data = catalog().find("dataset", "digits").build({})
    task = Task(
        classes=data.classes(),
        templates=data.templates,
        shape=tuple(images.shape[1:]),
        threat_model=ThreatModel("Linf", EPS),
    )
    model = offer.build({}).load(task).eval()
    rows = (model(images).argmax(1) == labels).nonzero().flatten()[:16]
    return model, images[rows], labels[rows], task.replace(indices=rows.tolist())


def attack(reference: str, **parameters):
    word, _, name = reference.partition(":")
    return catalog().find("attack", word).build({"attack": name, **parameters})


def quiet(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


def test_torchattacks_moves_the_images_as_when_it_is_called_directly(digits):
    import torchattacks

    model, images, labels, task = digits
    mine = attack("torchattacks:MIFGSM", steps="5", decay="0.9").craft(model, images, labels, task)
    theirs = torchattacks.MIFGSM(model, eps=EPS, steps=5, decay=0.9)(images, labels)
    assert torch.equal(mine, theirs.detach())
    assert (model(mine).argmax(1) != labels).any()


@pytest.mark.parametrize(
    ("norm", "eps", "name"), [("Linf", EPS, "LinfDeepFoolAttack"), ("L2", 0.5, "L2DeepFoolAttack")]
)
def test_foolbox_moves_the_images_as_when_it_is_called_directly(digits, norm, eps, name):
    foolbox = quiet(lambda: pytest.importorskip("foolbox"))
    model, images, labels, task = digits
    mine = attack(f"foolbox:{name}").craft(model, images, labels, task.replace(threat_model=ThreatModel(norm, eps)))
    seen = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(labels)
    _, theirs, fooled = quiet(lambda: getattr(foolbox.attacks, name)()(seen, images, criterion, epsilons=eps))
    assert torch.equal(mine, theirs)
    assert torch.equal(model(mine).argmax(1) != labels, fooled)
    assert fooled.any()


def test_art_moves_the_images_as_when_it_is_called_directly(digits):
    quiet(lambda: pytest.importorskip("art"))
    from art.attacks.evasion import MomentumIterativeMethod
    from art.estimators.classification import PyTorchClassifier

    model, images, labels, task = digits
    named = attack("art:MomentumIterativeMethod", eps_step="2/255", max_iter="5")
    mine = named.craft(model, images, labels, task)
    seen = PyTorchClassifier(
        model, torch.nn.CrossEntropyLoss(), tuple(images.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    theirs = MomentumIterativeMethod(seen, eps=EPS, eps_step=2 / 255, max_iter=5, batch_size=16, verbose=False)
    assert torch.equal(mine, torch.from_numpy(quiet(lambda: theirs.generate(images.numpy(), labels.numpy()))))
    assert named.iterative


class Bright(torch.nn.Module):
    """Answer 1 where the mean exceeds 0.5, else 0; nothing can be differentiated."""

    def forward(self, images):
        lead = torch.where(images.mean((1, 2, 3)) > 0.5, 1.0, -1.0)
        return torch.stack([-lead, lead], 1)


@pytest.mark.parametrize(
    ("reference", "parameters"),
    [
        ("foolbox:HopSkipJumpAttack", {"constraint": "linf", "steps": "4"}),
        ("art:HopSkipJump", {"max_iter": "4", "max_eval": "400"}),
    ],
)
def test_label_only_attacks_ask_for_answers_and_stay_in_the_ball(reference, parameters):
    quiet(lambda: pytest.importorskip(reference.partition(":")[0]))
    named = attack(reference, **parameters)
    # The boundary is 0.01 away for the first and 0.2 for the second, in Linf; the model has no gradient.
    images = torch.stack([torch.full((1, 4, 4), 0.49), torch.full((1, 4, 4), 0.3)])
    labels, model = torch.zeros(2, dtype=torch.long), Bright()
    task = Task(classes=("a", "b"), shape=(1, 4, 4), threat_model=ThreatModel("Linf", 0.1), indices=range(2))
    moved = named.craft(model, images, labels, task)

    assert named.queries_only
    assert not attack("foolbox:LinfPGD").queries_only
    assert float((moved - images).abs().max()) <= 0.1 + 1e-6
    assert model(moved).argmax(1).tolist() == [1, 0]


def test_an_image_that_no_noise_makes_another_class_of_stays(digits):
    class One(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([1.0, 0.0]).expand(len(images), 2)

    quiet(lambda: pytest.importorskip("foolbox"))
    _, images, _, task = digits
    named = attack("foolbox:HopSkipJumpAttack", constraint="linf", steps="1")

    assert torch.equal(named.craft(One(), images[:2], torch.zeros(2, dtype=torch.long), task), images[:2])


@pytest.mark.parametrize(
    ("reference", "parameters"),
    [
        ("torchattacks:PGD", {"steps": "3"}),
        ("foolbox:LinfPGD", {"steps": "3"}),
        ("art:ProjectedGradientDescent", {"max_iter": "3", "num_random_init": "1"}),
    ],
)
def test_draws_repeat_and_leave_the_generators_of_the_process_alone(digits, reference, parameters):
    model, images, labels, task = digits
    named = attack(reference, **parameters)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = named.craft(model, images, labels, task)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, named.craft(model, images, labels, task))
    assert not torch.equal(first, named.craft(model, images, labels, task.fork("another")))
    assert torch.equal(named.craft(model, images, labels, task.replace(threat_model=ThreatModel("Linf", 0.0))), images)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("torchattacks:CW", "torchattacks:CW works in L2, not in Linf; choose another --norm or attack."),
        ("torchattacks:OnePixel", "torchattacks:OnePixel works in L0, not in Linf; choose another --norm or attack."),
        ("torchattacks:MIFGM", "torchattacks has no attack 'MIFGM'; did you mean MIFGSM"),
        ("torchattacks:LGV", "torchattacks:LGV needs trainloader, which a run does not give an attack."),
        ("torchattacks:PGD[eps=3]", "torchattacks:PGD is given eps by the run (--eps, --norm, --n); leave it out."),
        ("torchattacks:PGD[step=3]", "torchattacks:PGD has no parameter 'step'; did you mean steps?"),
        ("torchattacks:PGD[steps=few]", "torchattacks:PGD takes a number as steps, not 'few'."),
        ("torchattacks", "torchattacks needs the name of an attack; write --attack torchattacks:PGD."),
        ("torchatacks:PGD", "There is no attack 'torchatacks:PGD'; did you mean 'torchattacks:PGD'?"),
        ("foolbox:L2DeepFoolAttack", "foolbox:L2DeepFoolAttack works in L2, not in Linf"),
        ("art:CarliniL2Method", "art:CarliniL2Method works in L2, not in Linf"),
        ("art:AdversarialPatch", "is held to no norm that robench measures"),
    ],
)
def test_what_a_library_cannot_do_is_refused(reference, sentence):
    with pytest.raises(SpecError) as refused:
        quiet(lambda: plan(Spec(dataset="digits", victim="tiny-clip", attack=[reference]), "cpu"))
    assert sentence in str(refused.value)


def test_without_the_library_the_way_to_install_it_is_said(monkeypatch):
    monkeypatch.setattr("robench_builtins.attacks.shared.library_attack.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"without the package foolbox; install it with 'pip install foolbox', or all"):
        plan(Spec(dataset="digits", victim="tiny-clip", attack=["foolbox:LinfPGD"]), "cpu")
    (sentence,) = attack("art:SquareAttack").missing()
    assert "pip install robench[attacks]" in sentence


def test_arguments_are_one_parameter_whatever_their_order():
    one, other = (
        plan(Spec(dataset="digits", victim="tiny-clip", attack=[f"torchattacks:MIFGSM[{inside}]"]), "cpu")[0]
        for inside in ("decay=0.9,steps=20", "steps=20,decay=0.9")
    )
    assert one.attack.record().changed == {"attack": "MIFGSM", "arguments": "decay=0.9,steps=20"}
    assert one.score_id == other.score_id
    named = plan(
        Spec(
            dataset="digits", victim="tiny-clip", attack=["torchattacks:MIFGSM"], parameters={"torchattacks.steps": "7"}
        ),
        "cpu",
    )
    assert named[0].attack.record().changed["arguments"] == "steps=7"


@pytest.mark.parametrize(("text", "value"), [("0.5/255", 0.5 / 255), ("2/255", 2 / 255), ("1e-3", 1e-3), ("3", 3)])
def test_numbers_are_read_as_people_write_steps(text, value):
    assert attack("torchattacks:PGD", alpha=text).settings() == {"alpha": value}


@pytest.mark.parametrize("text", ["1/0", "nan", "a/b", "inf"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(SpecError, match=f"takes a number as alpha, not '{text}'"):
        attack("torchattacks:PGD", alpha=text).settings()


def test_one_that_swallows_its_errors_and_returns_clean_images_is_said(tmp_path: Path, monkeypatch):
    import torchattacks

    class Swallows(torchattacks.PGD):
        def forward(self, inputs, labels=None, *args, **kwargs):
            try:
                raise RuntimeError("an error of its own")
            except RuntimeError:
                return inputs.clone()

    monkeypatch.setattr(torchattacks, "Swallows", Swallows, raising=False)
    (card,) = robench.run(victim="tiny-clip", attack="torchattacks:Swallows", n=24, store=tmp_path, progress=False)
    (check,) = [one for one in card.gate.checks if one.name == "images moved"]
    assert (check.status, card.gate.verdict) == ("invalid", "INVALID")
    assert "torchattacks" in check.meaning or "moved" in check.meaning
