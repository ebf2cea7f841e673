"""What robench.Preprocess costs, and how far it is from PIL, which CLIP was trained with.

    python -m pytest benchmarks/test_preprocess.py -s --benchmark-disable-gc

From uint8 at 32x32 to normalised float32 at 224x224. torchvision's uint8 path is shown beside it: it rounds as PIL
does, but nothing can be differentiated through it. No time is asserted.
"""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from robench import Preprocess
from robench_builtins.datasets.digits import Digits
from robench_builtins.models.shared.transformers_clip import CLIP_MEAN, CLIP_STD

from .interleave import interleave, ratios, report, timed_rows

ROUNDS = 5
IMAGES = 128
SIDE = 224

PER_IMAGE = v2.Compose(
    [
        v2.Resize(SIDE, interpolation=v2.InterpolationMode.BICUBIC),
        v2.CenterCrop(SIDE),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),  # with ToImage, what ToTensor did
        v2.Normalize(CLIP_MEAN, CLIP_STD),
    ]
)
PREPROCESS = Preprocess(CLIP_MEAN, CLIP_STD, SIDE)


def by_pil(pictures):
    return torch.stack([torch.as_tensor(PER_IMAGE(picture)) for picture in pictures])


def by_robench(images):
    return PREPROCESS(images.float().div(255))


def by_uint8(images):
    large = tv.resize(images, [SIDE, SIDE], interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    return tv.normalize(large.float().div_(255), list(CLIP_MEAN), list(CLIP_STD), inplace=True)


def grey_levels(ours, pil):
    """Return the largest and the mean difference in grey levels (0 to 255), and the share above half a level."""
    apart = ((ours - pil) * PREPROCESS.get_buffer("std") * 255).abs()
    return float(apart.max()), float(apart.mean()), float((apart > 0.5).float().mean())


@pytest.mark.parametrize("kind", ["digits", "noise"])
def test_preprocess_beside_pil(benchmark, kind):
    if kind == "digits":
        images = Digits().load("test")[:IMAGES].images().expand(-1, 3, -1, -1).contiguous()
    else:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    pictures = [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in images]
    contestants = {
        "PIL per image": lambda: by_pil(pictures),
        "robench": lambda: by_robench(images),
        "torchvision uint8": lambda: by_uint8(images),
    }
    seconds = benchmark.pedantic(interleave, (contestants, ROUNDS), rounds=1, iterations=1)
    table = ratios(seconds, "PIL per image")
    pil = by_pil(pictures)
    differences = {name: grey_levels(contestant(), pil) for name, contestant in contestants.items()}
    benchmark.extra_info.update(ratio_to_pil=table, seconds=seconds, grey_levels_max_mean_share=differences)

    rows = [(*row, *(f"{value:.3f}" for value in differences[row[0]])) for row in timed_rows(seconds, table)]
    report(
        f"{len(images)} {kind} images 32 -> {SIDE}, median of {ROUNDS} rounds; differences in grey levels",
        [("", "ratio to PIL", "seconds", "max", "mean", "share > 0.5"), *rows],
    )
