"""The one model type: preprocessing as PIL does it, gradients as finite differences say, logits that are logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from robench.contracts.classifier import Classifier, Preprocess, ZeroShotClassifier, check_logits, input_gradient
from robench.errors import ContractError
from robench.evidence.tensor_digests import weights_digest

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bytes_of(count, height, width):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


# Preprocessing


def test_normalisation_by_hand():
    preprocess = Preprocess((0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    image = torch.tensor([1.0, 0.5, 1.0]).view(1, 3, 1, 1)
    assert preprocess(image).flatten().tolist() == [1.0, 1.0, 0.5]


def test_without_a_size_the_resolution_stays():
    images = draw(2, 3, 7, 5)
    assert torch.equal(Preprocess(**PLAIN)(images), images)


def test_an_image_of_the_right_size_is_not_resampled():
    images = draw(2, 3, 8, 8)
    assert torch.equal(Preprocess(**PLAIN, size=8)(images), images)


@pytest.mark.parametrize(
    ("interpolation", "resampling"),
    [("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)],
)
@pytest.mark.parametrize(("side", "size"), [(32, 224), (64, 24), (32, 48)])
def test_resizing_is_pils_within_its_bytes(side, size, interpolation, resampling):
    images = F.avg_pool2d(bytes_of(3, side, side).float(), 5, 1, 2, count_include_pad=False).round().to(torch.uint8)
    pil = [Image.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size), resampling) for image in images]
    expected = torch.from_numpy(np.stack([np.array(each) for each in pil])).permute(0, 3, 1, 2) / 255
    resized = Preprocess(**PLAIN, size=size, interpolation=interpolation)(images / 255)
    # Measured: at most 1.08 grey levels, 0.32 on average.
    assert float((resized - expected).abs().max()) < 1.2 / 255
    assert float((resized - expected).abs().mean()) < 0.35 / 255


def test_resizing_noise_stays_near_pil():
    images = bytes_of(3, 32, 32)
    pil = [Image.fromarray(image.permute(1, 2, 0).numpy()).resize((224, 224), Image.BICUBIC) for image in images]
    expected = torch.from_numpy(np.stack([np.array(each) for each in pil])).permute(0, 3, 1, 2) / 255
    difference = (Preprocess(**PLAIN, size=224)(images / 255) - expected).abs() * 255
    # PIL rounds to bytes between its passes as well; clamping there, as it does, keeps the rest within that.
    assert float(difference.max()) < 1.6
    assert float(difference.mean()) < 0.35


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 48), (48, 32)])
def test_resizing_is_torchvisions_resize_and_centre_crop(height, width):
    transforms = pytest.importorskip("torchvision.transforms.v2")
    bicubic = transforms.InterpolationMode.BICUBIC
    pipeline = transforms.Compose(
        [transforms.Resize(56, bicubic, antialias=True), transforms.CenterCrop(56), transforms.Normalize(**CLIP)]
    )
    images = bytes_of(2, height, width) / 255
    # What overshoots is clamped here, as it is in bytes, and is not clamped there.
    smooth = F.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False).clamp(0.2, 0.8)
    assert torch.allclose(Preprocess(**CLIP, size=56)(smooth), pipeline(smooth), atol=1e-5)


@pytest.mark.parametrize("size", [None, 12])
def test_a_grey_image_is_three_equal_channels(size):
    preprocess, grey = Preprocess(**CLIP, size=size), draw(2, 1, 9, 9)
    with torch.no_grad():
        assert torch.equal(preprocess(grey), preprocess(grey.expand(-1, 3, -1, -1).contiguous()))


def test_overshoot_is_clamped_to_the_pixel_range():
    edge = torch.zeros(1, 3, 8, 8)
    edge[..., 4:] = 1
    resized = Preprocess(**PLAIN, size=32)(edge)
    assert (float(resized.min()), float(resized.max())) == (0.0, 1.0)
    free = F.interpolate(edge, (32, 32), mode="bicubic", antialias=True)
    assert float(free.max()) > 1.01


@pytest.mark.parametrize(("height", "width"), [(4, 8), (8, 4), (5, 9)])
def test_uneven_images_are_cropped_in_the_centre(height, width):
    resized = Preprocess(**PLAIN, size=16)(draw(1, 3, height, width))
    assert resized.shape == (1, 3, 16, 16)
    whole = draw(1, 3, height, width)
    mirrored = Preprocess(**PLAIN, size=16)(whole.flip(-1)).flip(-1)
    if (round(16 / min(height, width) * width) - 16) % 2 == 0:
        assert torch.allclose(Preprocess(**PLAIN, size=16)(whole), mirrored, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [None, 9, 4])
def test_gradients_are_finite_differences(size, interpolation):
    preprocess = Preprocess(**CLIP, size=size, interpolation=interpolation)
    # Away from 0 and 1, where the clamp has its corners.
    images = (0.4 + 0.2 * draw(1, 3, 6, 6, dtype=torch.float64)).requires_grad_(True)
    assert torch.autograd.gradcheck(preprocess, (images,))


def test_the_statistics_are_no_weights():
    preprocess = Preprocess(**CLIP)
    assert preprocess.state_dict() == {}
    assert list(preprocess.parameters()) == []
    assert preprocess.to(torch.float64).get_buffer("mean").dtype == torch.float64


# Classifiers


def linear(classes=4, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, classes))


def test_a_classifier_preprocesses_inside():
    network, preprocess, images = linear(), Preprocess(**CLIP), draw(2, 3, 6, 6)
    model = Classifier(network, 4, preprocess)
    assert model.classes == 4
    assert torch.equal(model(images), network(preprocess(images)))
    assert torch.equal(Classifier(network, 4)(images), network(images))


def test_an_inference_copy_is_equal_and_apart():
    model, images = Classifier(linear(), 4), draw(2, 3, 6, 6)
    copied = model.inference_copy()
    before = model(images)
    assert torch.equal(copied(images), before)
    with torch.no_grad():
        copied.network[1].weight.zero_()
    assert torch.equal(model(images), before)


@pytest.fixture
def zero_shot():
    return ZeroShotClassifier(linear(5), 3 * draw(4, 5, seed=1) - 1, 100.0, Preprocess(**CLIP))


def test_the_zero_shot_equation(zero_shot):
    images, raw = draw(3, 3, 6, 6), 3 * draw(4, 5, seed=1) - 1
    features = zero_shot.image_tower(zero_shot.preprocess(images)).detach()
    zero_shot.requires_grad_(False)
    for row in range(3):
        for column in range(4):
            image, text = features[row], raw[column]
            cosine = float(image @ text) / (float(image.norm()) * float(text.norm()))
            assert float(zero_shot.similarities(images)[row, column]) == pytest.approx(cosine, abs=1e-5)
            assert float(zero_shot(images)[row, column]) == pytest.approx(100 * cosine, abs=1e-3)
    assert torch.equal(zero_shot.features(images), features)
    assert zero_shot.classes == 4


def test_text_features_are_normalised_detached_and_derived():
    text = (3 * draw(4, 5)).requires_grad_(True)
    model = ZeroShotClassifier(linear(5), text, 1.0, nn.Identity(), encode_text=len)
    kept = model.get_buffer("text_features")
    assert torch.allclose(kept.norm(dim=1), torch.ones(4))
    assert not kept.requires_grad
    assert "text_features" not in model.state_dict()  # computed at load: another processor rounds them otherwise
    assert weights_digest(model) == weights_digest(ZeroShotClassifier(linear(5), text + 1e-6, 1.0, nn.Identity()))
    assert model.encode_text(["a", "b"]) == 2
    assert ZeroShotClassifier(linear(5), text.half(), 1.0, nn.Identity()).get_buffer("text_features").dtype == (
        torch.float32
    )


def test_the_image_tower_is_the_network(zero_shot):
    other = linear(5, seed=9)
    zero_shot.network = other
    assert zero_shot.image_tower is other


def test_the_scale_of_features_does_not_matter(zero_shot):
    images = draw(2, 3, 6, 6)
    before = zero_shot(images)
    with torch.no_grad():
        zero_shot.network[1].weight.mul_(7)
        zero_shot.network[1].bias.mul_(7)
    assert torch.allclose(zero_shot(images), before, atol=1e-3)


@pytest.mark.parametrize("kind", ["classifier", "zero-shot"])
def test_a_models_gradient_is_finite_differences(kind, zero_shot):
    model = zero_shot if kind == "zero-shot" else Classifier(linear(), 4, Preprocess(**CLIP, size=6))
    images = (0.4 + 0.2 * draw(1, 3, 6, 6, dtype=torch.float64)).requires_grad_(True)
    assert torch.autograd.gradcheck(model.double(), (images,))


# input_gradient


def test_values_and_gradient_by_hand():
    images = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).view(2, 1, 1, 2)
    values, gradient = input_gradient(lambda x: (x**2).flatten(1).sum(1), images)
    assert torch.allclose(values, torch.tensor([0.05, 0.25]))
    assert torch.allclose(gradient, 2 * images)
    assert not values.requires_grad
    assert not gradient.requires_grad
    assert not images.requires_grad


def test_one_images_gradient_does_not_depend_on_its_batch():
    model, images, labels = Classifier(linear(), 4).double(), draw(6, 3, 6, 6, dtype=torch.float64), torch.arange(6) % 4

    def gradient(rows):
        return input_gradient(lambda x: F.cross_entropy(model(x), labels[rows], reduction="none"), images[rows])[1]

    whole = gradient(list(range(6)))
    for rows in ([0], [1, 2], [5, 3, 0]):
        assert torch.allclose(gradient(rows), whole[rows], atol=1e-14)


def test_no_parameter_receives_a_gradient():
    model = Classifier(linear(), 4)
    input_gradient(lambda x: model(x).sum(1), draw(2, 3, 6, 6))
    assert all(weight.grad is None for weight in model.parameters())


def test_it_works_where_gradients_are_off():
    images = draw(1, 3, 6, 6)
    with torch.no_grad():
        _, gradient = input_gradient(lambda x: (2 * x).flatten(1).sum(1), images)
    assert torch.equal(gradient, torch.full_like(images, 2))


# check_logits

GOOD = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.2, 0.1]])


def test_logits_pass():
    check_logits(GOOD, 2, 3, "m")
    check_logits(GOOD.log_softmax(1), 2, 3, "m")
    check_logits(torch.zeros(2, 3), 2, 3, "m")


@pytest.mark.parametrize(
    ("logits", "sentence"),
    [
        ([1.0], "m must return logits as a tensor, not list."),
        (GOOD[0], "m must return logits of shape (2, 3), not (3,)."),
        (GOOD[:1], "m must return logits of shape (2, 3), not (1, 3)."),
        (GOOD[None], "m must return logits of shape (2, 3), not (1, 2, 3)."),
        (torch.tensor(1.0), "m must return logits of shape (2, 3), not ()."),
        (
            GOOD[:, :2],
            "m has 2 classes, but the dataset has 3: choose another victim, or a checkpoint trained on these classes.",
        ),
        (GOOD.double(), "m must return float32 logits, not torch.float64."),
        (GOOD.half(), "m must return float32 logits, not torch.float16."),
        (GOOD * math.nan, "m returns NaN or infinite logits on real images."),
        (GOOD * math.inf, "m returns NaN or infinite logits on real images."),
        (
            GOOD.softmax(1),
            "m returns probabilities, not logits: each row is in [0, 1] and sums to 1. Remove the softmax; with it "
            "gradients vanish and attacks look weaker than they are.",
        ),
    ],
)
def test_what_is_no_logits_is_refused(logits, sentence):
    with pytest.raises(ContractError) as raised:
        check_logits(logits, 2, 3, "m")
    assert str(raised.value) == sentence
