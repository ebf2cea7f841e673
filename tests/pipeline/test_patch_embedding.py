"""illustrate: how a model cuts an image into patches, and its filters, known by hand or by scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from sklearn.decomposition import PCA
from torch import nn

from robench import Classifier, Examples, Preprocess, Task
from robench.api import run
from robench.evidence.adversarial_set import AdversarialSet
from robench.evidence.card_file import write
from robench.evidence.gallery import KIND, gallery_key, read_gallery, write_gallery
from robench.evidence.meter import Meter
from robench.evidence.patch_embedding import COMPONENTS, CUT, FILTERS, IMAGE, TOKENS
from robench.evidence.store import Store
from robench.pipeline.stages.illustrate import components, illustrate
from robench.plugin.catalog import catalog


def shown(model: Classifier, images: torch.Tensor, folder) -> tuple[dict[str, torch.Tensor], str]:
    """Return the patches that illustrate keeps of these images, and why there are none."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    test, store = Examples.from_tensors(images, labels), Store(folder)
    chunk = store.put("adversarial", "a" * 64, {}, {"images": images})
    scored = SimpleNamespace(
        labels=labels,
        predictions=labels,
        correct=torch.ones(len(images), dtype=torch.bool),
        confidence=torch.full((len(images),), 0.5),
    )
    task = Task(classes=("a", "b"), shape=test.shape)
    adversarial = AdversarialSet("a" * 64, [chunk], labels, Meter())
    artifact = illustrate(model.eval(), test, adversarial, scored, scored, task, store, "b" * 64)
    kept = artifact.tensors()
    found = {name: kept[name] for name in (IMAGE, FILTERS, CUT, TOKENS) if name in kept}
    assert bool(found) is not bool(artifact.meta["no_patches"])
    # The images that are kept are the clean ones, patches or none.
    assert torch.equal(kept["clean"][0], images[kept["indices"][0]])
    return {**found, "first": kept["clean"][0]}, artifact.meta["no_patches"]


def colours(count=2, channels=3, side=12):
    pixels = torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))
    return (pixels * 255).round() / 255


def headed(*layers: nn.Module, preprocess=None) -> Classifier:
    return Classifier(nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(2)), 2, preprocess)


# The filters


def orthonormal(count: int, *shape: int) -> torch.Tensor:
    drawn = torch.randn(count, int(np.prod(shape)), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.linalg.qr(drawn.T).Q.T.reshape(count, *shape)


def test_the_first_component_is_the_direction_in_which_filters_differ_most():
    strong, weak = orthonormal(2, 3, 4, 4)
    amounts = torch.tensor([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]], dtype=torch.float64)
    mean = torch.full((3, 4, 4), 5.0, dtype=torch.float64)
    weight = mean + amounts[:, 0, None, None, None] * strong + amounts[:, 1, None, None, None] * weak
    found = components(weight)
    assert found is not None
    assert found.shape == (2, 3, 4, 4)
    for one, known in zip(found, (strong, weak), strict=True):
        ways = [(way - way.min()) / (way.max() - way.min()) for way in (known, -known)]
        assert min(float((one - way).abs().max()) for way in ways) < 1e-6


def test_of_the_two_directions_the_one_whose_largest_weight_is_positive():
    line = torch.zeros(1, 4, 4)
    line[0, 1, 2] = -4.0
    line[0, 0, 0] = 1.0
    found = components(torch.stack([line, -line, 2 * line]))
    assert found is not None
    assert (float(found[0, 0, 1, 2]), float(found[0, 0, 0, 0])) == (1.0, 0.0)
    assert torch.allclose(found[0, 0, 3], torch.full((4,), 0.2))


def test_they_are_those_of_scikit_learn_and_each_fills_its_range():
    weight = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * torch.linspace(0.1, 2, 8)
    found = components(weight)
    assert found is not None
    assert found.shape == (COMPONENTS, 3, 8, 8)
    expected = PCA(COMPONENTS, svd_solver="full").fit(weight.flatten(1).double().numpy()).components_
    for one, known in zip(found.flatten(1).double().numpy(), expected, strict=True):
        assert abs(np.corrcoef(one, known)[0, 1]) > 1 - 1e-9
        assert (one.min(), one.max()) == (0, 1)


def test_equal_filters_have_no_components():
    assert components(torch.ones(5, 3, 4, 4)) is None
    assert components(torch.randn(1, 3, 4, 4)) is None


def test_there_are_no_more_than_filters_differ():
    found = components(torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(3)))
    assert found is not None
    assert len(found) == 5  # six filters less their mean


# The image


def test_the_image_and_its_patches_are_those_the_layer_sees(tmp_path):
    layer = nn.Conv2d(3, 6, 4, 4)
    kept, why = shown(headed(layer), colours(), tmp_path)
    assert why == ""
    assert kept[CUT].tolist() == [4, 4]
    assert torch.equal(kept[IMAGE], kept["first"])
    assert torch.equal(kept[FILTERS], components(layer.weight))
    # The layer is the linear map of each patch: the kept image gives its output.
    patches = nn.functional.unfold(kept[IMAGE][None], 4, stride=4)[0].T
    expected = layer(kept["first"][None])[0].flatten(1).T
    assert torch.allclose(patches @ layer.weight.flatten(1).T + layer.bias, expected, atol=1e-6)


def test_the_model_s_resizing_is_shown_and_its_normalisation_undone(tmp_path):
    images, preprocess = colours(), Preprocess((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), 16)
    kept, _ = shown(headed(nn.Conv2d(3, 8, 8, 6), preprocess=preprocess), images, tmp_path)
    resized = Preprocess((0.0,) * 3, (1.0,) * 3, 16)(kept["first"][None])[0]
    assert kept[CUT].tolist() == [8, 6]
    assert kept[IMAGE].shape == (3, 16, 16)
    assert torch.allclose(kept[IMAGE], resized, atol=1e-6)


def test_grey_images_in_a_model_of_colours(tmp_path):
    kept, _ = shown(
        headed(nn.Conv2d(3, 8, 4, 4), preprocess=Preprocess((0.5,) * 3, (0.5,) * 3)), colours(2, 1), tmp_path
    )
    assert torch.allclose(kept[IMAGE], kept["first"].expand(3, -1, -1), atol=1e-6)


def test_grey_images_in_a_grey_model(tmp_path):
    kept, _ = shown(headed(nn.Conv2d(1, 8, 4, 4)), colours(2, 1), tmp_path)
    assert kept[FILTERS].shape == (7, 1, 4, 4)
    assert torch.equal(kept[IMAGE], kept["first"])


class Normalise(nn.Module):
    def forward(self, images):
        return images * 7 - 3


def test_a_network_that_normalises_by_itself_is_stretched_to_the_range(tmp_path):
    kept, _ = shown(headed(Normalise(), nn.Conv2d(3, 8, 4, 4)), colours(), tmp_path)
    first = kept["first"]
    assert torch.allclose(kept[IMAGE], (first - first.min()) / (first.max() - first.min()), atol=1e-6)


def test_padding_is_part_of_the_image(tmp_path):
    kept, _ = shown(headed(nn.Conv2d(3, 8, 7, 4, padding=3)), colours(), tmp_path)
    assert kept[IMAGE].shape == (3, 18, 18)
    assert torch.equal(kept[IMAGE][:, 3:15, 3:15], kept["first"])
    assert float(kept[IMAGE][:, :3].abs().max()) == 0


def test_the_same_model_and_image_give_the_same_patches(tmp_path):
    model, images = headed(nn.Conv2d(3, 16, 4, 4)), colours(5)
    first, _ = shown(model, images, tmp_path / "a")
    again, _ = shown(model, images, tmp_path / "b")
    assert all(torch.equal(first[name], again[name]) for name in first)


# Models that cut no patches


class Raises(nn.Conv2d):
    def forward(self, images):
        raise RuntimeError("not today")


class Second(nn.Module):
    """Run its patch embedding after a small convolution that was registered later."""

    def __init__(self):
        super().__init__()
        self.patches, self.look = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images):
        return self.patches(self.look(images))


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.Conv2d(3, 8, 3, padding=1)], "the first convolution cuts no patches"),
        ([nn.Conv2d(3, 8, 7, 2, padding=3)], "the first convolution cuts no patches"),  # a ResNet's stem
        ([nn.Conv2d(3, 8, 4, 5)], "the first convolution cuts no patches"),
        ([nn.Conv2d(3, 8, (4, 6), (4, 6))], "the first convolution cuts no patches"),
        ([nn.Conv2d(3, 8, 4, (4, 2))], "the first convolution cuts no patches"),
        ([nn.Conv2d(3, 9, 4, 4, groups=3)], "the first convolution cuts no patches"),
        ([nn.Conv2d(3, 8, 4, 4, dilation=2)], "the first convolution cuts no patches"),
        ([nn.Conv2d(3, 8, 7, 4, padding=3, padding_mode="reflect")], "the first convolution cuts no patches"),
        ([nn.Conv2d(3, 1, 4, 4)], "the first convolution cuts no patches"),  # one filter has no components
        ([nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 8, 4, 4)], "the first convolution cuts no patches"),
        ([Second()], "the first convolution cuts no patches"),
        ([nn.Flatten()], "the image meets no convolution"),
        ([nn.Conv2d(3, 8, 5, 1, padding="same")], "ValueError: "),
        ([Raises(3, 8, 4, 4)], "RuntimeError: not today"),
    ],
)
def test_they_go_without_and_nothing_fails(layers, reason, tmp_path):
    model = headed(*layers)
    if not isinstance(layers[0], Raises):
        model(colours())
    kept, why = shown(model, colours(), tmp_path)
    assert set(kept) == {"first"}
    assert why.startswith(reason)
    assert not any(part._forward_pre_hooks for part in model.modules() if isinstance(part, nn.Conv2d))


# Real models


def build(name, **parameters):
    return catalog().find("victim", name).build(parameters)


def loaded(name, side, **parameters):
    return build(name, **parameters).load(Task(classes=("a", "b"), shape=(3, side, side)))


def test_the_small_vision_transformer_cuts_overlapping_patches(tmp_path):
    model = loaded("plant-vit", 64)
    kept, why = shown(model, colours(1, 3, 64), tmp_path)
    assert why == ""
    assert kept[CUT].tolist() == [8, 6]
    assert kept[FILTERS].shape == (28, 3, 8, 8)
    assert torch.allclose(kept[IMAGE], kept["first"], atol=1e-6)
    # Figure 7 of report 001: 100 tokens of 64 values, patches and positions together.
    network = model.network
    tokens = network.embedding(model.preprocess(kept["first"][None])).flatten(2).transpose(1, 2) + network.positions
    assert kept[TOKENS].shape == (100, 64)
    assert torch.allclose(kept[TOKENS], scaled(tokens[0]), atol=1e-6)


@pytest.mark.parametrize("name", ["small-cnn", "mlp"])
def test_small_networks_without_patches(name, tmp_path):
    kept, why = shown(loaded(name, 32), colours(1, 3, 32), tmp_path)
    assert set(kept) == {"first"}
    assert why in ("the first convolution cuts no patches", "the image meets no convolution")


def scaled(tokens):
    return ((tokens - tokens.min()) / (tokens.max() - tokens.min())).detach()


def test_the_tokens_of_torchvision_s_transformer_have_their_positions(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vit = torchvision.models.VisionTransformer(16, 4, 1, 2, 8, 16, num_classes=2)
        torch.nn.init.normal_(vit.encoder.pos_embedding)
    kept, _ = shown(Classifier(vit, 2), colours(1, 3, 16), tmp_path)
    patches = vit.conv_proj(kept["first"][None]).flatten(2).transpose(1, 2)
    expected = torch.cat([vit.class_token, patches], 1) + vit.encoder.pos_embedding
    assert kept[TOKENS].shape == (17, 8)
    assert torch.allclose(kept[TOKENS], scaled(expected[0]), atol=1e-6)


def test_a_convolution_that_cuts_patches_for_no_encoder_has_no_tokens(tmp_path):
    kept, why = shown(headed(nn.Conv2d(3, 6, 4, 4)), colours(), tmp_path)
    assert why == ""
    assert TOKENS not in kept


def test_a_resnet_and_transformers_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    expected = {"resnet10t": None, "vit_tiny_patch16_224": [16, 16], "convnext_atto": [4, 4]}
    for name, cut in expected.items():
        model = Classifier(timm.create_model(name, num_classes=2), 2, Preprocess((0.5,) * 3, (0.5,) * 3, 224))
        kept, _ = shown(model, colours(1, 3, 32), tmp_path / name)
        assert (kept[CUT].tolist() if CUT in kept else None) == cut
        assert cut is None or kept[IMAGE].shape == (3, 224, 224)


def test_a_tower_of_open_clip(tmp_path):
    transformer = pytest.importorskip("open_clip.transformer")
    tower = transformer.VisionTransformer(64, 16, 32, 1, 2, 4.0, output_dim=2)
    kept, why = shown(Classifier(tower, 2), colours(1, 3, 64), tmp_path)
    assert why == ""
    assert kept[CUT].tolist() == [16, 16]
    assert kept[FILTERS].shape == (28, 3, 16, 16)


def test_a_real_run_keeps_the_small_clip_s_patches_beside_its_card(tmp_path):
    (card,) = run(defense="none", attack="fgsm", eps="8/255", n=16, store=tmp_path / "store", gallery=True)
    path = write_gallery(Store(tmp_path / "store"), card, tmp_path / "gallery")
    assert path is not None
    write(card, tmp_path / "cards")
    gallery = read_gallery(path, card)
    weight = build("tiny-clip").load(Task(classes=("a", "b"), shape=(3, 32, 32))).image_tower
    (layer,) = [part for part in weight.modules() if isinstance(part, nn.Conv2d)]
    embedding = gallery.embedding
    assert embedding is not None
    assert (embedding.kernel, embedding.stride) == (layer.kernel_size[0], layer.stride[0])
    side = 32 // embedding.kernel
    assert embedding.grid == (side, side)
    assert embedding.tokens.shape == (1 + side * side, 64)
    assert card.model.parameters == 82_688  # robench show tiny-clip --layers
    assert np.allclose(embedding.image, gallery.pictures[0].clean, atol=1e-6)
    expected = PCA(28, svd_solver="full").fit(layer.weight.detach().flatten(1).double().numpy()).components_
    for one, known in zip(embedding.filters.reshape(28, -1).astype(float), expected, strict=True):
        assert abs(np.corrcoef(one, known)[0, 1]) > 1 - 1e-6


def test_the_store_says_why_there_are_none(grey):
    (card,) = grey.run(eps=8 / 255, gallery=True)
    assert Store(grey.store).get(KIND, gallery_key(card.id)).meta["no_patches"] == "the image meets no convolution"
