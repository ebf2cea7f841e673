"""Logits of our networks of RobustBench beside its own definitions, with one state dict of random weights.

Its package cannot be imported (1.1.1 needs pkg_resources and autoattack), but the files of its networks can, by their
path: ``pip install --no-deps robustbench``. Without it these tests are skipped.
"""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from robench_builtins.models.shared.robustbench_networks import build
from robench_builtins.models.shared.robustbench_zoo import STATISTICS

SEVERAL = [2, 2, 2, 2]


@pytest.fixture(scope="module")
def zoo():
    """Return a function that loads a file of the installed package's networks."""
    found = find_spec("robustbench")
    if found is None or found.origin is None:
        pytest.skip("the package robustbench is not installed")
    folder = Path(found.origin).parent / "model_zoo" / "architectures"

    def load(name: str) -> ModuleType:
        spec = spec_from_file_location(f"zoo_{name}", folder / f"{name}.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def preact(zoo, block, **options):
    resnet = zoo("resnet")
    return resnet.PreActResNet(getattr(resnet, block), SEVERAL, **options)


#: Family of ours -> its network of theirs. Widths are small; blocks are as many as a stride and a rest need.
FAMILIES = {
    "wrn 16 2": lambda zoo: zoo("wide_resnet").WideResNet(depth=16, widen_factor=2),
    "wrn 16 2 unused": lambda zoo: zoo("wide_resnet").WideResNet(depth=16, widen_factor=2, sub_block1=True),
    "dm-wrn 16 2 relu": lambda zoo: zoo("dm_wide_resnet").DMWideResNet(depth=16, width=2),
    "dm-wrn 16 2 swish": lambda zoo: zoo("dm_wide_resnet").DMWideResNet(
        depth=16, width=2, activation_fn=zoo("dm_wide_resnet").Swish
    ),
    "dm-wrn 16 2 silu": lambda zoo: zoo("dm_wide_resnet").DMWideResNet(depth=16, width=2, activation_fn=nn.SiLU),
    "dm-preact18 swish": lambda zoo: zoo("dm_wide_resnet").DMPreActResNet(
        activation_fn=zoo("dm_wide_resnet").Swish, use_cuda=False
    ),
    "resnet18": lambda zoo: zoo("resnet").ResNet18(),
    "resnet50": lambda zoo: zoo("resnet").ResNet50(),
    "preact18 raw": lambda zoo: preact(zoo, "PreActBlock"),
    "preact18": lambda zoo: preact(zoo, "PreActBlockV2"),
    "preact18 raw last": lambda zoo: preact(zoo, "PreActBlock", bn_before_fc=True),
    "preact18 last": lambda zoo: preact(zoo, "PreActBlock", bn_before_fc=True, out_shortcut=True),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_one_state_dict_gives_the_same_logits(kind, zoo):
    family, *arguments = kind.split()
    torch.manual_seed(0)
    theirs, mine = FAMILIES[kind](zoo).eval(), build(family, arguments, 10).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    pixels = torch.rand(2, 3, 32, 32)
    inside = pixels
    if family.startswith("dm-"):
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS["cifar10"])
        inside = (pixels - mean) / std
    with torch.no_grad():
        expected, found = theirs(pixels), mine(inside)
    assert expected.std() > 0
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
