"""illustrate: keep a handful of images to look at, with what the model sees in them, while it is at hand.

The pictures judge nothing: their passes are in no cost, and a model whose gradient cannot be taken goes without maps,
one that cuts no patches without those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from robench.contracts.classifier import Classifier, Preprocess, input_gradient
from robench.contracts.examples import Examples
from robench.contracts.task import Task, derive_seed
from robench.evidence.adversarial_set import AdversarialSet
from robench.evidence.artifact_folder import Artifact
from robench.evidence.fingerprint import CHUNK
from robench.evidence.gallery import KIND, PICTURES, gallery_key
from robench.evidence.patch_embedding import COMPONENTS, CUT, FILTERS, IMAGE, MOST_VALUES, TOKENS, fits
from robench.evidence.store import Store
from robench.plan.place_labels import without_folders

if TYPE_CHECKING:
    from robench.pipeline.stages.score import Outcomes  # the type of what is handed on, not the stage


def illustrate(
    model: Classifier,
    test: Examples,
    adversarial: AdversarialSet,
    clean: Outcomes,
    robust: Outcomes,
    task: Task,
    store: Store,
    key: str,
) -> Artifact:
    """Return the cell's gallery, from the store if it is there: images whose prediction flips, then ones that held.

    Args:
        model: the defended victim that answered.
        test: the clean test images.
        adversarial: the stored adversarial images.
        clean: the answers on the clean images.
        robust: the answers on the adversarial images.
        task: carries the seed that chooses the images, the same ones for every cell where they flip.
        store: where the gallery is kept.
        key: the cell's fingerprint.
    """
    with store.lock(KIND, gallery_key(key)):
        artifact = store.get(KIND, gallery_key(key))
        if artifact is None:
            rows = choose(clean, robust, task.seed)
            images = next(test[rows].batches(len(rows), task.device)).images
            moved = _stored(adversarial, rows).to(task.device)
            labels = test.labels[rows]
            tensors = {
                "clean": images,
                "adversarial": moved,
                "labels": labels,
                "indices": torch.tensor(rows),
                "predictions": torch.stack([clean.predictions[rows], robust.predictions[rows]], 1),
                "confidence": torch.stack([clean.confidence[rows], robust.confidence[rows]], 1),
            }
            maps, why = _saliency(model, images, moved, labels.to(task.device))
            patches, missing = _patches(model, images[:1])
            meta = {"no_saliency": without_folders(why), "no_patches": without_folders(missing)}
            artifact = store.put(KIND, gallery_key(key), meta, {**tensors, **maps, **patches})
    return artifact


def choose(clean: Outcomes, robust: Outcomes, seed: int) -> list[int]:
    """Return up to ``PICTURES`` positions: right ones that the attack flips first, then right ones, then any."""
    order = torch.randperm(len(clean.labels), generator=torch.Generator().manual_seed(derive_seed(seed, "gallery")))
    interest = clean.correct.int() + (clean.correct & ~robust.correct).int()
    # A stable sort keeps the seed's order among images of equal interest.
    ranked = order[interest[order].argsort(descending=True, stable=True)]
    return [int(place) for place in ranked[:PICTURES]]


def _stored(adversarial: AdversarialSet, rows: list[int]) -> Tensor:
    wanted = {row // CHUNK for row in rows}
    chunks = {place: adversarial.images(place) for place in wanted}
    return torch.stack([chunks[row // CHUNK][row % CHUNK] for row in rows])


def _saliency(model: Classifier, images: Tensor, moved: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], str]:
    def loss(batch: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(model(batch), labels, reduction="none")

    try:
        maps = {
            name: input_gradient(loss, batch)[1].abs().sum(1)
            for name, batch in (("saliency_clean", images), ("saliency_adversarial", moved))
        }
    except Exception as error:  # a defense may have no gradient, or raise anything; pictures must not fail a cell
        return {}, f"{type(error).__name__}: {error}"[:300]
    if not all(bool(torch.isfinite(values).all()) for values in maps.values()):
        return {}, "the gradient is not finite"
    return maps, ""


def _patches(model: Classifier, image: Tensor) -> tuple[dict[str, Tensor], str]:
    """Return how the model cuts ``image`` (1, C, H, W) and the components of its filters, or why there is nothing.

    A patch embedding is the first convolution that the image meets if it cuts patches: a square kernel of four pixels
    or more, and strides of half of it at least. So the embeddings of vision transformers count, overlapping ones too,
    and the stem of a ResNet (7 x 7, stride 2), which slides over its image, does not.
    """
    try:
        met = _first_convolution(model, image)
        if met is None:
            return {}, "the image meets no convolution"
        layer, pixels = met
        filters = components(layer.weight)
        square = len({*layer.kernel_size}) == len({*layer.stride}) == len({1, *layer.dilation, layer.groups}) == 1
        plain = square and layer.padding_mode == "zeros"
        if not plain or filters is None or not fits(pixels.shape, filters.shape, layer.stride[0]):
            return {}, "the first convolution cuts no patches"
        cut = torch.tensor([layer.kernel_size[0], layer.stride[0]])
        down, across = ((side - layer.kernel_size[0]) // layer.stride[0] + 1 for side in pixels.shape[1:])
        tokens = _tokens(model, image, down * across, layer.out_channels)
        kept = {} if tokens is None else {TOKENS: tokens}
        return {IMAGE: _to_unit(model, pixels), FILTERS: filters, CUT: cut, **kept}, ""
    except Exception as error:  # a model may hold or raise anything; pictures must not fail a cell
        return {}, f"{type(error).__name__}: {error}"[:300]


def _first_convolution(model: Classifier, image: Tensor) -> tuple[nn.Conv2d, Tensor] | None:
    """Return the convolution that runs first, and the (C, H, W) it is given, with its padding of zeros."""
    met: list[tuple[nn.Conv2d, Tensor]] = []

    def meet(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not met and isinstance(layer, nn.Conv2d):
            down, across = (int(side) for side in layer.padding)
            padded = nn.functional.pad(inputs[0].detach()[0], (across, across, down, down))
            met.append((layer, padded.float().cpu()))

    _watch(model, image, [part for part in model.modules() if isinstance(part, nn.Conv2d)], meet)
    return met[0] if met else None


def _watch(model: Classifier, image: Tensor, layers: Iterable[nn.Module], meet: Callable[..., None]) -> None:
    """Pass the image through the model, calling ``meet(layer, inputs)`` before each of the layers."""
    hooks = [layer.register_forward_pre_hook(meet) for layer in layers]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()


def _tokens(model: Classifier, image: Tensor, patches: int, width: int) -> Tensor | None:
    """Return the tokens (T, D) that the encoder is given for ``image``, scaled to [0, 1]; None if there are none.

    They are what the first layer with weights behind the embedding is given: a norm, a linear map or an attention,
    whichever comes first. Positions are added by then, and class or prompt tokens stand beside the patches.
    """
    met: list[Tensor] = []

    def meet(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = inputs[0] if inputs else None
        if met or not isinstance(given, Tensor) or given.dim() != 3:
            return
        if len(given) == 1 and given.shape[1] >= patches and given.shape[2] == width:
            met.append(given.detach()[0].float().cpu())

    layers = [
        part
        for part in model.modules()
        if isinstance(part, nn.MultiheadAttention)
        or (not any(part.children()) and any(True for _ in part.parameters(recurse=False)))
    ]
    _watch(model, image, layers, meet)
    if not met or met[0].numel() > MOST_VALUES or not bool(torch.isfinite(met[0]).all()):
        return None
    low, high = met[0].min(), met[0].max()
    scaled: Tensor = ((met[0] - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return scaled.contiguous()


def components(weight: Tensor) -> Tensor | None:
    """Return the leading principal components (K, C, k, k) of filters (D, C, k, k), each scaled to [0, 1].

    Filters are the samples: their mean is taken off. Of the two directions of a component that is taken in which the
    largest weight is positive. None if all filters are the same.
    """
    flat = weight.detach().cpu().double().flatten(1)
    centred = flat - flat.mean(0)
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    kept: Tensor = directions[:COMPONENTS][sizes[:COMPONENTS] > 1e-6 * flat.abs().max()]
    if not len(kept):
        return None
    largest = kept.gather(1, kept.abs().argmax(1, keepdim=True))
    kept = kept * largest.sign()
    low, high = kept.amin(1, keepdim=True), kept.amax(1, keepdim=True)
    scaled: Tensor = ((kept - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return scaled.float().view(-1, *weight.shape[1:]).contiguous()


def _to_unit(model: Classifier, pixels: Tensor) -> Tensor:
    """Return (C, H, W) in [0, 1]: with the model's own normalisation undone, else stretched if it lies outside."""
    if isinstance(model.preprocess, Preprocess):
        mean, std = (model.preprocess.get_buffer(name).cpu()[0] for name in ("mean", "std"))
        pixels = pixels * std + mean
    elif float(pixels.min()) < 0 or float(pixels.max()) > 1:
        pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return pixels.clamp(0, 1).contiguous()
