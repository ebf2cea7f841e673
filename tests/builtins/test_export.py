"""A torch.export program is the network it was made from, or a sentence that says how to export it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Task, WeightsError, input_gradient
from robench.runtime.inference import freeze, prepare
from robench_builtins.models.export import Exported

TASK = Task(classes=("a", "b", "c"), shape=(3, 8, 8), seed=0)
IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
ANY = ({0: torch.export.Dim.AUTO},)


def network(*more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *more, nn.Flatten(), nn.Linear(144, 3))


def saved(module, path, shapes=ANY, images=IMAGES):
    torch.export.save(torch.export.export(module, (images,), dynamic_shapes=shapes), path)
    return str(path)


def test_logits_and_gradients_are_the_networks_for_any_batch(tmp_path):
    module = network().eval()
    victim = freeze(Exported(path=saved(module, tmp_path / "net.pt2")).load(TASK), "cpu")
    for count in (1, 2, 5):
        assert torch.allclose(victim(IMAGES[:count]), module(IMAGES[:count]), atol=1e-6)
    _, theirs = input_gradient(lambda x: victim(x).square().sum(1), IMAGES)
    _, ours = input_gradient(lambda x: module(x).square().sum(1), IMAGES)
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert theirs.abs().max() > 0
    assert torch.allclose(prepare(victim, IMAGES).model(IMAGES), module(IMAGES), atol=1e-5)


def test_it_can_be_set_to_training_and_back_as_defenses_do(tmp_path):
    victim = Exported(path=saved(network().eval(), tmp_path / "net.pt2")).load(TASK)
    before = victim(IMAGES)
    assert victim.train().training
    assert torch.equal(victim(IMAGES), before)
    assert not victim.eval().training


def test_size_and_statistics_are_put_before_it(tmp_path):
    module = network().eval()
    victim = Exported(path=saved(module, tmp_path / "net.pt2"), size=8, normalisation="half")
    flat = victim.load(TASK.replace(shape=(3, 4, 4)))(torch.full((2, 3, 4, 4), 0.75))
    assert torch.allclose(flat, module(torch.full((2, 3, 8, 8), 0.5)), atol=1e-5)


def refused(path, task=TASK):
    with pytest.raises(WeightsError) as caught:
        Exported(path=path).load(task)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("count", [1, 5])
def test_a_fixed_batch_size_is_said_with_the_line_that_exports_any(tmp_path, count):
    said = refused(saved(network().eval(), tmp_path / "net.pt2", None, IMAGES[:count]))
    assert f"net.pt2 was exported for batches of exactly {count}; export it again as torch.export.export(model" in said
    assert "dynamic_shapes=({0: torch.export.Dim.AUTO},)) with a batch of 2 images or more." in said


@pytest.mark.parametrize("more", [[], [nn.Dropout(0.5)]], ids=["batch statistics", "dropout"])
def test_training_mode_is_said(tmp_path, more):
    module = network(*more)
    if more:
        module[1].eval()
    said = refused(saved(module.train() if not more else module, tmp_path / "net.pt2"))
    assert "answers an image differently when another one is beside it: it was exported in training mode" in said
    assert "torch.export.export(model.eval(), (images,)" in said


def test_a_program_without_gradients_is_a_sentence_when_it_is_attacked(tmp_path):
    class Silent(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network().eval()

        def forward(self, images):
            with torch.no_grad():
                return self.inner(images)

    victim = freeze(Exported(path=saved(Silent(), tmp_path / "net.pt2")).load(TASK), "cpu")
    with pytest.raises(
        Exception, match=r"logits carry no gradient back to its images: .* or was exported so\. A white-b"
    ):
        input_gradient(lambda x: victim(x).sum(1), IMAGES)


def test_other_classes_and_another_size(tmp_path):
    path = saved(network().eval(), tmp_path / "net.pt2")
    assert "net.pt2 tells 3 classes apart, but the dataset has 2;" in refused(path, TASK.replace(classes=("a", "b")))
    said = refused(path, TASK.replace(shape=(3, 9, 9)))
    assert (
        "net.pt2 was exported for images of 3 x 8 x 8, but would be given 3 x 9 x 9; resize with -p victim.siz" in said
    )


def test_a_program_of_two_inputs(tmp_path):
    class Two(nn.Module):
        def forward(self, images, more):
            return images.flatten(1)[:, :3] + more.flatten(1)[:, :3]

    torch.export.save(torch.export.export(Two(), (IMAGES, IMAGES)), tmp_path / "net.pt2")
    assert "net.pt2 takes 2 inputs; a classifier takes one batch of images." in refused(str(tmp_path / "net.pt2"))


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_what_is_no_program_is_said_and_nothing_is_logged(tmp_path, name, caplog, capfd):
    torch.save({"weight": torch.zeros(2)}, tmp_path / name)
    said = refused(str(tmp_path / name))
    assert f"{tmp_path / name} is no torch.export program that this torch reads: it holds tensors or a pickled " in said
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_not_there():
    assert refused("gone.pt2") == "export found no file at gone.pt2; write export:FILE with one that exists."


def test_the_shorthand():
    assert Exported.shorthand("export:a:b.pt2") == {"path": "a:b.pt2"}
    assert Exported.shorthand("torchscript:a") is None
    assert Exported.runs_code
