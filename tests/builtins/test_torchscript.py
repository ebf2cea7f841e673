"""A TorchScript file is the network it was made from, gradients included, or a sentence."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from robench import Task, WeightsError, input_gradient
from robench_builtins.models.torchscript import TorchScript

TASK = Task(classes=("a", "b", "c"), shape=(3, 8, 8), seed=0)
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


def saved(module, path, script=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the writing of TorchScript; there are files of it
        program = torch.jit.script(module) if script else torch.jit.trace(module, IMAGES[:2])
        program.save(path)
    return str(path)


@pytest.mark.parametrize("script", [True, False], ids=["scripted", "traced"])
def test_logits_and_gradients_are_the_networks(tmp_path, script):
    module = network()
    victim = TorchScript(path=saved(module, tmp_path / "net.ts", script)).load(TASK)
    assert torch.allclose(victim(IMAGES), module(IMAGES), atol=1e-6)
    _, theirs = input_gradient(lambda x: victim(x).square().sum(1), IMAGES)
    _, ours = input_gradient(lambda x: module(x).square().sum(1), IMAGES)
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert theirs.abs().max() > 0


def test_it_can_be_frozen_copied_and_set_to_eval_as_the_harness_does(tmp_path):
    from robench.runtime.inference import freeze, prepare

    module = network()
    victim = freeze(TorchScript(path=saved(network().train(), tmp_path / "net.ts")).load(TASK), "cpu")
    assert torch.allclose(victim(IMAGES), module(IMAGES), atol=1e-6)  # saved in training mode, used in eval mode
    assert not any(parameter.requires_grad for parameter in victim.parameters())
    prepared = prepare(victim, IMAGES)
    assert torch.allclose(prepared.model(IMAGES), module(IMAGES), atol=1e-5)
    copied = copy.deepcopy(victim)
    copied.requires_grad_(True)
    copied(IMAGES).sum().backward()
    assert all(parameter.grad is None for parameter in victim.parameters())


def test_size_and_statistics_are_put_before_it(tmp_path):
    module = network()
    path = saved(module, tmp_path / "net.ts")
    flat = torch.full((2, 3, 4, 4), 0.75)
    victim = TorchScript(path=path, size=8, normalisation="half").load(TASK.replace(shape=(3, 4, 4)))
    assert torch.allclose(victim(flat), module(torch.full((2, 3, 8, 8), 0.5)), atol=1e-5)


def test_a_program_without_gradients_is_a_sentence_when_it_is_attacked(tmp_path):
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, images):
            return self.inner(images.detach())

    victim = TorchScript(path=saved(Detached(), tmp_path / "net.ts")).load(TASK).requires_grad_(False)
    with pytest.raises(Exception, match=r"logits carry no gradient back to its images: it runs under torch.no_grad,"):
        input_gradient(lambda x: victim(x).sum(1), IMAGES)


def test_the_shorthand():
    assert TorchScript.shorthand("torchscript:a:b.ts") == {"path": "a:b.ts"}
    assert TorchScript.shorthand("torchscript") is None
    assert TorchScript.shorthand("export:a.pt2") is None
    assert TorchScript.runs_code


def write_state(path):
    torch.save({"weight": torch.zeros(2)}, path)


def write_program(path):
    torch.export.save(torch.export.export(network(), (IMAGES,)), path)


def write_text(path):
    path.write_text("not a network")


def write_zip(path):
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "1")


def write_tensors(path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)


@pytest.mark.parametrize(
    ("write", "name", "sentence"),
    [
        (write_state, "w.pt", "it holds tensors or a pickled model, so write FILE.py:NAME -p victim.weights="),
        (write_program, "w.pt2", "it is a torch.export program, so write export:"),
        (write_text, "w.ts", "it is not a file that torch wrote, or is damaged; torch.jit.save writes one."),
        (write_zip, "w.zip", "it is an archive of something else; torch.jit.save writes one."),
        (write_tensors, "w.safetensors", "it holds tensors and no network, so write FILE.py:NAME -p victim.weights="),
    ],
)
def test_another_kind_of_file_is_named_with_the_way_out(tmp_path, write, name, sentence):
    write(tmp_path / name)
    with pytest.raises(WeightsError) as caught:
        TorchScript(path=str(tmp_path / name)).load(TASK)
    assert str(caught.value).startswith(f"{tmp_path / name} is no TorchScript program: ")
    assert sentence in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(
        WeightsError, match=r"torchscript found no file at gone.ts; write torchscript:FILE with one that"
    ):
        TorchScript(path="gone.ts").load(TASK)


def test_other_classes_and_another_size(tmp_path):
    path = saved(network(), tmp_path / "net.ts")
    with pytest.raises(WeightsError, match=r"net.ts tells 3 classes apart, but the dataset has 2; bring a model that"):
        TorchScript(path=path).load(TASK.replace(classes=("a", "b")))
    with pytest.raises(
        WeightsError, match=r"cannot classify the dataset's images, 3 x 9 x 9 in \[0, 1\]: RuntimeError"
    ):
        TorchScript(path=path).load(TASK.replace(shape=(3, 9, 9)))
