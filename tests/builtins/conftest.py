"""A small random CLIP, the full ViT-B/32 without its weights, and a task to defend them in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from robench import Examples, Preprocess, Task, ZeroShotClassifier

SIDE = 8


def clip_victim(vision_model, width, features, preprocess, scale=20.0, seed=0):
    from robench_builtins.models.shared.transformers_clip import ClipImageTower

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        texts = torch.randn(3, features)
        projection = torch.nn.Linear(width, features, bias=False, device=vision_model.device)
    tower = ClipImageTower(vision_model, projection).requires_grad_(False)
    return ZeroShotClassifier(tower, texts, scale, preprocess).eval()


@pytest.fixture
def small_clip():
    """Return a function that builds the victim: two layers of width 16 on images of 8 x 8, not degenerate."""
    from transformers import CLIPConfig, CLIPModel

    def build(seed=0):
        vision = {
            "image_size": SIDE,
            "patch_size": 4,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = CLIPModel(CLIPConfig(vision_config=vision, text_config={**text, "vocab_size": 16}))
            # transformers draws weights so small that all images would look alike.
            for parameter in model.vision_model.parameters():
                if parameter.dim() > 1:
                    parameter.data.normal_(std=0.3)
        return clip_victim(model.vision_model, 16, 6, Preprocess((0.5,) * 3, (0.5,) * 3), seed=seed)

    return build


@pytest.fixture
def vit_b32():
    """Return a function that builds CLIP ViT-B/32, all shapes and no memory."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    def build():
        with torch.device("meta"):
            vision = CLIPVisionModel(CLIPVisionConfig())
        return clip_victim(vision, 768, 512, Preprocess((0.5,) * 3, (0.5,) * 3, size=224))

    return build


@pytest.fixture
def task():
    return Task(classes=("a", "b", "c"), shape=(3, SIDE, SIDE), seed=7)


@pytest.fixture
def train():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (22, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    return Examples.from_tensors(images, torch.randint(0, 3, (22,), generator=generator))


@pytest.fixture
def state():
    """Return a function that copies a model's tensors."""

    def copied(model):
        return {name: value.clone() for name, value in model.state_dict().items()}

    return copied


@pytest.fixture
def trainable():
    """Return a function that lists the names of the parameters a defense declares to train."""

    def names(model):
        return [name for name, value in model.named_parameters() if value.requires_grad]

    return names


@pytest.fixture
def plain():
    """Return a classifier without class texts."""
    from robench import Classifier

    return Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 3)), classes=3)


@pytest.fixture
def photos():
    """Return a function that paints smooth, colourful byte images (N, 3, side, side)."""

    def painted(count=3, side=40):
        generator = np.random.default_rng(0)
        small = generator.integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
        bicubic = Image.Resampling.BICUBIC
        images = [np.asarray(Image.fromarray(pixels).resize((side, side), bicubic)) for pixels in small]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)

    return painted
