"""Turn a transformers CLIP checkpoint into a zero-shot classifier; imported only where torch is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own spelling
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel
from transformers.utils import logging

from robench import Preprocess, SpecError, Task, WeightsError, ZeroShotClassifier
from robench_builtins.offline import offline

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

#: Prompts that go through the text tower at once: an ensemble for 1,000 classes would not fit.
PROMPTS = 512

EncodeText = Callable[[Sequence[str]], Tensor]


class ClipImageTower(nn.Module):
    """Embed preprocessed images with a CLIP checkpoint's vision tower and projection."""

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision_model
        self.visual_projection = visual_projection

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (N, D), not normalised, for preprocessed ``pixels`` (N, 3, H, W)."""
        features: Tensor = self.visual_projection(self.vision_model(pixel_values=pixels).pooler_output)
        return features


def load_clip(
    checkpoint: str, task: Task, templates: Sequence[str], resolution: int | None = None
) -> ZeroShotClassifier:
    """Return the zero-shot classifier of a checkpoint: a Hugging Face id or a local folder."""
    model, tokenizer, preprocess = read_checkpoint(checkpoint)
    if resolution is not None:
        _interpolate_positions(model.vision_model, resolution)
        preprocess.size = resolution
    return zero_shot(model, tokenizer, preprocess, task.classes, templates)


def zero_shot(
    model: CLIPModel, tokenizer: Any, preprocess: Preprocess, classes: Sequence[str], templates: Sequence[str]
) -> ZeroShotClassifier:
    """Build the classifier whose head is the prompts of ``classes``; several templates make an ensemble."""
    model.train(False)
    encode_text = text_encoder(model, tokenizer)
    return ZeroShotClassifier(
        ClipImageTower(model.vision_model, model.visual_projection),
        class_features(encode_text, classes, templates),
        logit_scale=model.logit_scale.detach().exp().item(),
        preprocess=preprocess,
        encode_text=encode_text,
    ).eval()


def _interpolate_positions(vision: nn.Module, side: int) -> None:
    """Give a vision transformer the positions of images of ``side``, as transformers would at every forward.

    Done once, so that whatever looks into the tower (prompts, adapters) finds an ordinary one of that side.
    """
    embeddings: Any = vision.embeddings
    if side % embeddings.patch_size:
        raise SpecError(
            f"resolution {side} is no multiple of the tower's patches of {embeddings.patch_size} pixels; choose one "
            "that is."
        )
    patches = (side // embeddings.patch_size) ** 2
    with torch.no_grad():
        positions = embeddings.interpolate_pos_encoding(torch.empty(1, patches + 1, embeddings.embed_dim), side, side)
    embeddings.position_embedding = nn.Embedding.from_pretrained(positions.flatten(0, 1).clone(), freeze=False)
    embeddings.position_ids = torch.arange(patches + 1).expand((1, -1))
    embeddings.image_size = embeddings.config.image_size = side
    embeddings.num_patches, embeddings.num_positions = patches, patches + 1


def class_features(encode_text: EncodeText, classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return one normalised row a class: the mean over templates of normalised text features (K, D)."""
    for template in templates:
        if "{}" not in template:
            raise SpecError(
                f"template '{template}' has no place for the class name; write one with {{}}, "
                "such as 'a photo of a {}'."
            )
    prompts = [template.replace("{}", name) for template in templates for name in classes]
    parts = [encode_text(prompts[start : start + PROMPTS]) for start in range(0, len(prompts), PROMPTS)]
    features = F.normalize(torch.cat(parts), dim=1).view(len(templates), len(classes), -1)
    return F.normalize(features.mean(dim=0), dim=1)


def text_encoder(model: CLIPModel, tokenizer: Any) -> EncodeText:
    """Return a function from prompts to text features (P, D), not normalised, without gradients."""
    longest = model.text_model.config.max_position_embeddings

    def encode(prompts: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            features = model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
        return cast(Tensor, features.pooler_output)

    return encode


def read_checkpoint(checkpoint: str) -> tuple[CLIPModel, Any, Preprocess]:
    """Return model (float32), tokenizer and preprocessing; raise WeightsError if it is no complete CLIP model."""
    try:
        config = AutoConfig.from_pretrained(checkpoint, local_files_only=offline())
        if not isinstance(config, CLIPConfig):
            raise WeightsError(
                f"checkpoint '{checkpoint}' holds a model of type '{config.model_type}', not a CLIP model; "
                "give a folder or an id that transformers' CLIPModel loads."
            )
        # Weights come as safetensors, or through torch.load(weights_only=True), which transformers insists on.
        with quiet():
            loaded: Any = CLIPModel.from_pretrained(
                checkpoint, config=config, dtype=torch.float32, output_loading_info=True, local_files_only=offline()
            )
        model, report = loaded
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=offline())
    except WeightsError:
        raise
    except Exception as error:  # transformers, hub and file readers each raise their own kinds
        raise WeightsError(_unreadable(checkpoint, error)) from error
    missing = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if missing:
        raise WeightsError(
            f"checkpoint '{checkpoint}' lacks {len(missing)} of CLIP's tensors or has them in other shapes, such as "
            f"{missing[0]}; it is truncated or belongs to another architecture, so download it again."
        )
    return model, tokenizer, _preprocess(checkpoint, model.config.vision_config.image_size)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' loading bar off the screen; robench shows its own."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _unreadable(checkpoint: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if Path(checkpoint).is_dir():
        return (
            f"folder {checkpoint} cannot be read as a CLIP checkpoint ({reason}); it must hold config.json, "
            "model.safetensors and the tokenizer's files, as transformers' save_pretrained writes them."
        )
    return (
        f"checkpoint '{checkpoint}' cannot be loaded ({reason}). Connect to the Hugging Face hub, or download "
        f"config.json, model.safetensors (or pytorch_model.bin), preprocessor_config.json and the tokenizer's files "
        f"of https://huggingface.co/{checkpoint} into a folder DIR and pass -p victim.checkpoint=DIR."
    )


def _preprocess(checkpoint: str, size: int) -> Preprocess:
    try:
        stated, _ = CLIPImageProcessor.get_image_processor_dict(checkpoint, local_files_only=offline())
    except OSError:
        stated = {}
    # The position embeddings fix the side; a preprocessor cannot state another one that works.
    return Preprocess(
        mean=stated.get("image_mean") or CLIP_MEAN,
        std=stated.get("image_std") or CLIP_STD,
        size=size,
        interpolation="bicubic",
    )
