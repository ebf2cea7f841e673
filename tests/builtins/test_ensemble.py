"""Ensembles of surrogates: what is averaged, how they are named, and a run through one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench import Classifier, ContractError, SpecError, Task
from robench.plan.references import foreign_code, resolve_reference
from robench.plan.spec import Spec, plan
from robench.plugin.catalog import catalog
from robench.testing import check_component
from robench_builtins.models.ensemble import Ensemble
from robench_builtins.models.shared.ensemble_mean import EnsembleMean

SHAPE = (3, 4, 4)


def linear(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
    for weight in network.parameters():
        weight.data = scale * torch.randn(weight.shape, generator=generator)
    return Classifier(network, 5).eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))


# --- the mean -----------------------------------------------------------------------------------------------


def test_logits_are_averaged(images):
    one, two = linear(1), linear(2)
    torch.testing.assert_close(EnsembleMean([one, two], False)(images), (one(images) + two(images)) / 2)


def test_probabilities_are_averaged_and_come_as_logits(images):
    models = [linear(seed) for seed in (1, 2, 3)]
    found = EnsembleMean(models, True)(images)
    mean = torch.stack([model(images).softmax(1) for model in models]).mean(0)
    torch.testing.assert_close(found.softmax(1), mean)
    # Liu et al.: the loss is the logarithm of the mean probability of the label.
    labels = torch.arange(6) % 5
    torch.testing.assert_close(F.cross_entropy(found, labels, reduction="none"), -mean[range(6), labels].log())


def test_a_probability_below_float32_still_has_a_gradient():
    one, two = linear(1, 400.0), linear(2, 400.0)
    images = torch.full((1, *SHAPE), 0.5, requires_grad=True)
    found = EnsembleMean([one, two], True)(images)
    label = found.argmin(1)
    assert found.softmax(1)[0, label].item() == 0.0
    (gradient,) = torch.autograd.grad(F.cross_entropy(found, label), images)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 1


def test_the_mean_of_losses_has_no_logits():
    """The reason the docstring gives: with two unlike members, exp(-mean loss) does not sum to 1 over the classes."""
    logs = torch.tensor([[2.0, 0.0], [0.0, 3.0]]).log_softmax(1).mean(0)
    assert logs.exp().sum().item() < 0.7


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "models"),
    [
        ("resnet20+tiny-clip", "resnet20+tiny-clip"),
        ("a+b+c", "a+b+c"),
        ("hf-dir:/weights/a.b+resnet20", "hf-dir:/weights/a.b+resnet20"),
        ("resnet20", None),
        ("torchscript:/models/a+b.pt", None),
        ("net+1.py:build", None),
        ("./a+b", None),
        ("resnet20+", None),
        ("+", None),
    ],
)
def test_a_plus_between_names_means_an_ensemble(text, models):
    assert Ensemble.shorthand(text) == (None if models is None else {"models": models})


def test_it_is_known_under_its_shorthand_as_a_surrogate_only():
    assert resolve_reference(catalog(), "surrogate", "resnet20+tiny-clip") == (
        "ensemble",
        {"models": "resnet20+tiny-clip"},
    )
    assert ("victim", "ensemble") not in catalog().offers


@pytest.mark.parametrize("models", ["", "resnet20", "a+a", "a++b"])
def test_fewer_than_two_members_are_a_sentence(models):
    message = (
        f"ensemble.models '{models}' must name two or more different models; join them by +, such as "
        "resnet20+tiny-clip."
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Ensemble(models=models).members()


@pytest.mark.parametrize("name", ["self", "ensemble"])
def test_it_holds_neither_itself_nor_the_nameless_victim(name):
    with pytest.raises(
        SpecError, match=rf"^ensemble\.models cannot hold '{name}'; name models, the victim too, by their"
    ):
        Ensemble(models=f"resnet20+{name}").members()


def test_a_member_that_does_not_exist_is_a_sentence():
    with pytest.raises(SpecError, match=r"^There is no surrogate 'resnet21'; did you mean 'resnet[0-9]+'\?"):
        cells_of(surrogate="resnet21+tiny-clip")


def cells_of(**fields):
    given = {"dataset": "digits", "victim": ("tiny-clip",), "attack": ("fgsm",), "defense": ("none",), **fields}
    if isinstance(given.get("surrogate"), str):
        given["surrogate"] = (given["surrogate"],)
    return plan(Spec(eps=(0.1,), **given), "cpu", catalog())


def crafted(**fields):
    """Return the fingerprint of the transfer set."""
    return next(cell.craft_id for cell in cells_of(**fields) if cell.surrogate is not None)


def test_its_parameters_and_its_members_are_part_of_the_fingerprint(tmp_path):
    weights = [tmp_path / "one.pt", tmp_path / "two.pt"]
    for number, path in enumerate(weights):
        path.write_bytes(bytes([number]))
    references = ["resnet20+tiny-clip", "tiny-clip+resnet20", "ensemble[models=resnet20+tiny-clip,mean=probabilities]"]
    ids = [crafted(surrogate=text) for text in references]
    ids += [crafted(surrogate=references[0], parameters={"resnet20.checkpoint": str(path)}) for path in weights]
    assert len(set(ids)) == 5
    assert crafted(surrogate="ensemble[models=resnet20+tiny-clip]") == ids[0]


def test_a_member_s_file_counts_by_its_content(tmp_path):
    path = tmp_path / "one.pt"
    ids = []
    for content in (b"1", b"2", b"1"):
        path.write_bytes(content)
        ids.append(crafted(surrogate="resnet20+tiny-clip", parameters={"resnet20.checkpoint": str(path)}))
    assert ids[0] == ids[2] != ids[1]


def test_a_parameter_of_no_member_is_refused():
    with pytest.raises(SpecError, match=r"has no parameter 'weight'"):
        cells_of(surrogate="resnet20+tiny-clip", parameters={"resnet20.weight": "x"})


def test_code_that_a_member_would_run_is_foreign_code(tmp_path):
    (tmp_path / "net.py").write_text("")
    cells = cells_of(surrogate=f"ensemble[models=tiny-clip+{tmp_path}/net.py:build]")
    assert "net.py" in foreign_code(cells)
    assert foreign_code(cells_of(surrogate="resnet20+tiny-clip")) == ""


# --- the component ------------------------------------------------------------------------------------------


def test_it_passes_the_conformance_kit():
    results = {result.name: result for result in check_component(Ensemble(models="a+b"))}
    assert {name: result.sentence for name, result in results.items() if result.status == "failed"} == {}
    assert results["logits"].status == results["gradient"].status == results["any batch"].status == "passed"


def test_it_loads_its_members_by_name_and_averages_them(images):
    known = {"one": linear(1), "two": linear(2)}
    task = Task(classes=tuple("abcde"), shape=SHAPE, load_model=known.__getitem__)
    found = Ensemble(models="one + two").load(task)
    assert found.classes == 5
    torch.testing.assert_close(found(images), (known["one"](images) + known["two"](images)) / 2)


def test_outside_a_run_it_says_so():
    with pytest.raises(ContractError, match=r"^surrogate 'one' was asked for outside a run"):
        Ensemble(models="one+two").load(Task(classes=("a", "b"), shape=SHAPE))


def test_parameters_and_sources():
    assert Ensemble().parameters == {"models": "", "mean": "logits"}
    assert "1710.06081" in Ensemble.source
    assert "1611.02770" in Ensemble.source
    assert Ensemble.licence


def test_listing_it_imports_no_torch():
    code = "import robench_builtins.models.ensemble, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
