"""What users hand to robench.evaluate either gives the right numbers or is refused in Python's words."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

import robench
from robench import Examples

SIDE = 4
LEVELS = [128 + step for step in range(20)] + [127 - step for step in range(20)]
PIXELS = torch.tensor(LEVELS, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, SIDE, SIDE).contiguous()
LABELS = torch.tensor([0] * 20 + [1] * 20)


class Mean(nn.Module):
    """Tell bright from dark images by their mean, as known by hand."""

    def __init__(self, gain=10.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, images):
        brightness = self.gain * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, -brightness], 1)


def measured(module=None, images=PIXELS, labels=LABELS, **options):
    card = robench.evaluate(
        module or Mean(), dataset=(images, labels), eps="8/255", attack="fgsm", gate="quick", device="cpu", **options
    )
    return card.clean.correct, card.robust.correct


#: 0.5 + step > 8 grey levels: 12 of each 20 survive.
RIGHT = (40, 24)

LABELLINGS = {
    "int64": LABELS,
    "int32": LABELS.int(),
    "uint8": LABELS.byte(),
    "bool": LABELS.bool(),
    "whole floats": LABELS.double(),
    "a column": LABELS[:, None],
    "a column of floats": LABELS[:, None].float(),
    "one-hot": nn.functional.one_hot(LABELS, 2),
    "one-hot floats": nn.functional.one_hot(LABELS, 2).float(),
    "a list": LABELS.tolist(),
    "a tuple of numbers": tuple(LABELS.tolist()),
    "a list of tensors": list(LABELS),
    "a numpy array": LABELS.numpy(),
    "a numpy array of floats": LABELS.numpy().astype(np.float64),
    "big-endian numpy": LABELS.numpy().astype(">i4"),
    "a list of numpy numbers": list(LABELS.numpy()),
    "a reversed numpy view": LABELS.numpy()[::-1][::-1],
}
IMAGES = {
    "uint8": PIXELS,
    "float32": PIXELS.float() / 255,
    "float64": PIXELS.double() / 255,
    "a numpy array of bytes": PIXELS.numpy(),
    "a numpy array of float64": PIXELS.numpy() / 255,
    "a list of tensors": list(PIXELS),
    "a list of numpy arrays": list(PIXELS.numpy()),
    "nested lists": (PIXELS.float() / 255).tolist(),
    "with a gradient": (PIXELS.float() / 255).requires_grad_(True),
    "computed with a gradient": (PIXELS.float() / 255).requires_grad_(True) * 1.0,
    "not contiguous": PIXELS.permute(0, 1, 3, 2),
    "channels last in memory": PIXELS.contiguous(memory_format=torch.channels_last),
    "a read-only array": np.broadcast_to(PIXELS.numpy(), PIXELS.shape),
}


@pytest.mark.parametrize("kind", LABELLINGS)
def test_labels_of_every_kind_are_understood(kind):
    served = Examples.from_tensors(PIXELS, LABELLINGS[kind])
    assert served.labels.dtype == torch.int64
    assert torch.equal(served.labels, LABELS)


@pytest.mark.parametrize("kind", ["a column", "one-hot floats", "a numpy array of floats"])
def test_and_scored(kind):
    assert measured(labels=LABELLINGS[kind]) == RIGHT


@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_every_kind_are_understood(kind):
    from robench.plan.evaluate_arguments import user_images

    served = user_images(Mean(), "module", (IMAGES[kind], LABELS)).load("test")
    (batch,) = served.batches(64)
    assert batch.images.dtype == torch.float32
    assert not batch.images.requires_grad
    assert torch.allclose(batch.images, PIXELS.float() / 255, atol=1e-7)


@pytest.mark.parametrize("kind", ["float64", "nested lists", "with a gradient"])
def test_and_attacked(kind):
    assert measured(images=IMAGES[kind]) == RIGHT


HALF = torch.full((40, 2), 0.5)
REFUSED = {
    "mixtures": ({"labels": HALF}, "takes one class an image, and these labels of shape (40, 2) are no one-hot rows; "),
    "two classes at once": ({"labels": torch.ones(40, 2)}, "(40, 2) are no one-hot rows; mixtures of classes cannot"),
    "fractions": ({"labels": LABELS + 0.25}, "takes whole numbers as labels, and these hold 0.25."),
    "labels of nan": (
        {"labels": torch.full((40,), float("nan"))},
        "takes whole numbers as labels, and these hold nan.",
    ),
    "words": ({"labels": ["cat"] * 40}, "takes numbers as labels, not words such as 'cat'; number the classes from 0."),
    "words in an array": ({"labels": np.array(["a"] * 40)}, "takes numbers as labels, not words such as 'a'; number"),
    "nothing": ({"labels": [None] * 40}, "takes labels as a tensor, an array or a list of numbers, not list."),
    "a dict": ({"labels": {0: 1}}, "takes labels as a tensor, an array or a list of numbers, not dict."),
    "complex": ({"labels": LABELS.to(torch.complex64)}, "takes whole numbers as labels, not torch.complex64."),
    "a cube": ({"labels": LABELS.view(2, 4, 5)}, "takes labels (N,), not (2, 4, 5)."),
    "one number": ({"labels": 3}, "takes labels (N,), not ()."),
    "too few": ({"labels": LABELS[:39]}, "not torch.uint8 (40, 1, 4, 4) and 39 labels."),
    "from 1": (
        {"labels": LABELS + 1},
        "was given labels from 1 to 2, and the module tells 2 classes apart, 0 to 1; subtr",
    ),
    "minus one": (
        {"labels": LABELS - 1},
        "was given labels from -1 to 0, and the module tells 2 classes apart, 0 to 1; l",
    ),
    "ignored": ({"labels": torch.where(LABELS == 0, -100, 1)}, "labels from -100 to 1, and the module tells 2 classes"),
    "too high": (
        {"labels": LABELS * 7},
        "from 0 to 7, and the module tells 2 classes apart, 0 to 1; give the module that",
    ),
    "channels last": (
        {"images": torch.zeros(40, 8, 8, 3)},
        "these have the shape (40, 8, 8, 3), channels last; move them",
    ),
    "grey, channels last": (
        {"images": PIXELS.view(40, 4, 4, 1).repeat(1, 2, 2, 1)},
        "(40, 8, 8, 1), channels last; move",
    ),
    "no channels": (
        {"images": PIXELS[:, 0]},
        "takes images (N, C, H, W), not (40, 4, 4); add the axis of channels: image",
    ),
    "flat": (
        {"images": PIXELS.flatten(1)},
        "takes uint8 or float32 images (N, C, H, W) and N labels, not torch.uint8 (40",
    ),
    "none": ({"images": PIXELS[:0], "labels": LABELS[:0]}, "was given no images; give one at least."),
    "an empty list": ({"images": [], "labels": []}, "was given no images; give one at least."),
    "one image": ({"images": PIXELS[0]}, "takes images (N, C, H, W), not (1, 4, 4); add"),
    "integers": ({"images": PIXELS.long()}, "takes uint8 or float32 images (N, C, H, W) and N labels, not torch.int64"),
    "numpy integers": ({"images": PIXELS.numpy().astype(np.int32)}, "and N labels, not torch.int32 (40, 1, 4, 4)"),
    "booleans": ({"images": PIXELS > 127}, "takes uint8 or float32 images (N, C, H, W) and N labels, not torch.bool"),
    "up to 255": (
        {"images": PIXELS.float()},
        "takes float32 images in [0, 1], and these run to 147; divide them by 255.",
    ),
    "normalised": (
        {"images": PIXELS.float() / 127.5 - 1},
        "in [0, 1]; normalise inside the model (these run from -0.15",
    ),
    "nan": ({"images": torch.full((40, 1, 4, 4), float("nan"))}, "takes float32 images in [0, 1], and these hold NaN."),
    "infinite": (
        {"images": torch.full((40, 1, 4, 4), float("inf"))},
        "normalise inside the model (these run from inf to",
    ),
    "sparse": (
        {"images": PIXELS.to_sparse()},
        "takes dense tensors as images, not sparse coo ones; use .dequantize() or",
    ),
    "meta": ({"images": PIXELS.to("meta")}, "was given images on the device meta, which holds no numbers."),
    "ragged": (
        {"images": [PIXELS[0], PIXELS[0, :, :3]]},
        "a list of images of other shapes ((1, 3, 4), (1, 4, 4)); resiz",
    ),
    "ragged arrays": (
        {"images": [np.zeros((1, 4)), np.zeros((1, 3))]},
        "given images of other shapes in one list; resize",
    ),
    "file names": ({"images": ["a.png", "b.png"]}, "takes numbers as images, not words such as 'a.png'; number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused_by_name(case):
    given, sentence = REFUSED[case]
    with pytest.raises(robench.RobenchError) as caught:
        measured(**given)
    assert str(caught.value).startswith("robench.evaluate ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ([PIXELS, LABELS], "a list"),
        ((PIXELS, LABELS, LABELS), "a tuple of 3"),
        (torch.utils.data.TensorDataset(PIXELS, LABELS), "a TensorDataset"),
        (torch.utils.data.DataLoader(torch.utils.data.TensorDataset(PIXELS, LABELS)), "a DataLoader"),
    ],
)
def test_other_datasets_are_refused(given, what):
    with pytest.raises(robench.RobenchError) as caught:
        robench.evaluate(Mean(), dataset=given, device="cpu")
    assert str(caught.value) == (
        f"robench.evaluate takes as dataset a name, a robench.Dataset, or (images, labels), not {what}; collect its "
        "images and labels into two tensors."
    )


# Modules


class Kept(Mean):
    """Keep what it computed, as code under inspection does."""

    def forward(self, images):
        self.seen = {"images": [images * self.gain]}
        self.answer = super().forward(images)
        return self.answer


class Weighted(nn.Module):
    """Tell bright from dark by a linear layer under a reparametrisation that keeps its weight as a plain attribute."""

    def __init__(self, wrap):
        super().__init__()
        self.linear = nn.Linear(SIDE * SIDE, 2)
        with torch.no_grad():
            self.linear.weight[0], self.linear.weight[1] = 10 / 16, -10 / 16
            self.linear.bias[0], self.linear.bias[1] = -5, 5
        self.linear = wrap(self.linear)

    def forward(self, images):
        return self.linear(images.flatten(1))


class InPlace(Mean):
    """Normalise in place, or threshold in place, as code made for training does."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def forward(self, images):
        return super().forward(self.first(images))


class OwnClassifier(robench.Classifier):
    """Compute in place outside of what robench can put a copy before."""

    def forward(self, images):
        images.mul_(1.0)
        return self.network(images)


class DefaultDtype(Mean):
    """Make tensors without a type in its forward."""

    def forward(self, images):
        return super().forward(images) * torch.ones(2) + torch.tensor([0.0, 0.0])


def old_weight_norm(linear):
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.utils.weight_norm(linear)


def touched(module):
    """Return a module after a recorded forward, so that what it keeps is no leaf."""
    module(torch.rand(2, 1, SIDE, SIDE))
    return module


MODULES = {
    "kept activations": lambda: touched(Kept()),
    "weight norm": lambda: touched(Weighted(old_weight_norm)),
    "parametrised weight norm": lambda: touched(Weighted(nn.utils.parametrizations.weight_norm)),
    "relu in place": lambda: InPlace(nn.ReLU(inplace=True)),
    "centred in place": lambda: InPlace(lambda images: images.sub_(0.5).add_(0.5)),
    "written through a view": lambda: InPlace(lambda images: images[:, :, :].mul_(1.0)),
    "in training mode": lambda: Mean().train(),
    "weights frozen": lambda: Mean().requires_grad_(False),
    "a list of modules inside": lambda: nn.Sequential(nn.Identity(), nn.ModuleList([Mean()])[0]),
    "data parallel": lambda: nn.DataParallel(Mean()),
    "tensors without a type": DefaultDtype,
    "double inside, float32 outside": lambda: InPlace(lambda images: images.double().float()),
}


@pytest.mark.parametrize("kind", MODULES)
def test_modules_of_every_kind_are_measured(kind):
    module = MODULES[kind]()
    assert measured(module) == RIGHT


def test_images_are_left_as_they_were():
    images = PIXELS.float() / 255
    assert measured(InPlace(lambda images: images.mul_(0.999)), images=images)[0] >= 39
    assert torch.equal(images, PIXELS.float() / 255)


def test_a_default_of_float64_changes_nothing_and_comes_back():
    modules = Mean(), DefaultDtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert [measured(module) for module in modules] == [RIGHT, RIGHT]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_gradients_switched_off_outside_change_nothing():
    with torch.no_grad():
        assert measured() == RIGHT
    with torch.inference_mode(False):
        assert measured() == RIGHT


class SwitchesOff(Mean):
    """Leave gradients off for everyone."""

    def forward(self, images):
        answer = super().forward(images)
        torch.set_grad_enabled(False)
        return answer


class Blind(Mean):
    """Answer without a gradient."""

    def forward(self, images):
        with torch.no_grad():
            return super().forward(images)


class Locked(Mean):
    """Hold what cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def lambda_of(module):
    return lambda images: module(images)


REFUSED_MODULES = {
    "a lambda": (
        lambda: lambda_of(Mean()),
        "takes a torch.nn.Module, not the function <lambda>; write a module whose f",
    ),
    "a function": (lambda: touched, "takes a torch.nn.Module, not the function touched; write a module whose forward"),
    "a class": (lambda: Mean, "takes a module, not the class Mean; make one: Mean()."),
    "a name": (
        lambda: "resnet20",
        "measures an nn.Module, not 'resnet20'; robench.run(victim='resnet20') measures a model by its name.",
    ),
    "a state dict": (
        lambda: Mean().state_dict(),
        "takes a torch.nn.Module, not OrderedDict; write a module whose forward",
    ),
    "nothing": (lambda: None, "takes a torch.nn.Module, not NoneType; write a module"),
    "lazy": (
        lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(2)),
        "module has lazy layers that were never run (1.weight",
    ),
    "lazy batch norm": (
        lambda: nn.Sequential(nn.LazyBatchNorm2d(), Mean()),
        "lazy layers that were never run (0.weight",
    ),
    "meta": (
        lambda: Mean().to("meta"),
        "module has weights on the device meta (gain), which holds no numbers; load its",
    ),
    "half": (
        lambda: Weighted(lambda linear: linear).half(),
        "module has weights in float16, and attacks run in float32: ",
    ),
    "bfloat16": (
        lambda: Weighted(lambda linear: linear).bfloat16(),
        "has weights in bfloat16, and attacks run in float",
    ),
    "double": (
        lambda: Weighted(lambda linear: linear).double(),
        "has weights in float64, and attacks run in float32: ",
    ),
    "double answers": (
        lambda: InPlace(lambda images: images.double()),
        "must return float32 logits, not torch.float64.",
    ),
    "lock": (
        Locked,
        "module cannot be copied (cannot pickle '_thread.lock' object), and robench measures a copy; keep",
    ),
    "leaves gradients off": (
        SwitchesOff,
        "module switches torch's gradients off in its forward and leaves them off, for",
    ),
    "no gradients": (
        Blind,
        "logits carry no gradient back to its images: it runs under torch.no_grad, detaches, or was",
    ),
    "own classifier in place": (
        lambda: OwnClassifier(Mean(), 2),
        "module overwrites the images that it is given: its f",
    ),
    "another size": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(5, 2)),
        "module cannot classify the images, 1 x 4 x 4",
    ),
    "three channels": (
        lambda: nn.Conv2d(3, 2, 1),
        "module cannot classify the images, 1 x 4 x 4, float32 in [0, 1]: Runt",
    ),
    "a tuple": (lambda: Pair(), "module must return logits as a tensor, not tuple."),
    "maps": (lambda: nn.Conv2d(1, 2, 1), "module must return logits of shape (2, 2), not (2, 2, 4, 4)."),
}


class Pair(Mean):
    """Answer with logits and something else."""

    def forward(self, images):
        return super().forward(images), images


@pytest.mark.parametrize("kind", REFUSED_MODULES)
def test_modules_that_cannot_be_measured_are_refused_with_a_true_sentence(kind):
    make, sentence = REFUSED_MODULES[kind]
    with pytest.raises(robench.RobenchError) as caught:
        robench.evaluate(make(), dataset=(PIXELS, LABELS), eps="8/255", attack="fgsm", gate="quick", device="cpu")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert torch.is_grad_enabled()


class Spike(torch.autograd.Function):
    """Fire above 0; the stated gradient is a surrogate's."""

    @staticmethod
    def forward(ctx, potential):
        ctx.save_for_backward(potential)
        return (potential > 0).float()

    @staticmethod
    def backward(ctx, gradient):
        (potential,) = ctx.saved_tensors
        return gradient / (1 + 4 * potential.abs()).square()


class Spiking(nn.Module):
    """Count, behind a convolution and a batch norm, the thresholds that a pixel passes."""

    def __init__(self, levels=64):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, levels, 1), nn.BatchNorm2d(levels)
        with torch.no_grad():
            self.conv.weight.fill_(8.0)
            self.conv.bias.copy_(-8.0 * torch.linspace(0.3, 0.7, levels))
            self.norm.running_mean.fill_(0.1)
            self.norm.bias.fill_(0.1)
        self.levels = levels

    def forward(self, images):
        spikes = Spike.apply(self.norm(self.conv(images))).mean((1, 2, 3))
        brightness = 10 * (spikes - 0.5)
        return torch.stack([brightness, -brightness], 1)


def test_a_spiking_net_with_surrogate_gradients_and_a_batch_norm_gets_its_verdict_by_default():
    chance = torch.Generator().manual_seed(0)
    images = (PIXELS + torch.randint(-3, 4, (40, 1, SIDE, SIDE), generator=chance)).clamp(0, 255).byte()
    cards = [
        robench.evaluate(
            Spiking().eval(), dataset=(images, LABELS), attack="pgd", eps="16/255", device="cpu", prepared=prepared
        )
        for prepared in (True, False)
    ]
    default, plain = cards
    assert "batch norms folded" not in default.model.inference
    assert (default.clean.correct, default.robust.correct) == (plain.clean.correct, plain.robust.correct)
    assert default.robust.correct <= 14
    statuses = [[(check.name, check.status) for check in card.gate.checks] for card in cards]
    assert statuses[0] == statuses[1]
    assert default.gate.verdict == plain.gate.verdict
