"""Turn a transformers CLIP checkpoint into a zero-shot classifier; imported only where torch is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel
from transformers.utils import logging

from robench import SpecError, Task, WeightsError, ZeroShotClassifier
from robench_builtins.models.shared.text_features import EncodeText, features_once
from robench_builtins.models.shared.transformers_processor import read_processor
from robench_builtins.offline import offline

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


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
    checkpoint: str, task: Task, templates: Sequence[str], resolution: int | None = None, processor: str = ""
) -> ZeroShotClassifier:
    """Return the zero-shot classifier of a checkpoint: a Hugging Face id or a local folder.

    ``processor`` is another id or folder, which has tokenizer and image processor where the checkpoint's has not.
    """
    model, tokenizer = read_checkpoint(checkpoint, processor)
    config: Any = model.config.vision_config
    preprocess = _preprocess(processor or checkpoint, config.image_size, task.shape, resolution)
    if resolution is not None:
        _interpolate_positions(model.vision_model, resolution)
    return zero_shot(model, tokenizer, preprocess, task, templates)


def zero_shot(
    model: CLIPModel, tokenizer: Any, preprocess: nn.Module, task: Task, templates: Sequence[str]
) -> ZeroShotClassifier:
    """Build the classifier whose head is the prompts of the task's classes; several templates make an ensemble."""
    model.train(False)
    encode_text = text_encoder(model, tokenizer)
    config: Any = model.config
    words = [config.text_config.to_json_string(), str(config._attn_implementation)]
    words += [model.text_model, model.text_projection]
    return ZeroShotClassifier(
        ClipImageTower(model.vision_model, model.visual_projection),
        features_once(task, templates, model, encode_text, partial(_tokens, model, tokenizer), words),
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


def text_encoder(model: CLIPModel, tokenizer: Any) -> EncodeText:
    """Return a function from prompts to text features (P, D), not normalised, without gradients."""

    def encode(prompts: Sequence[str]) -> Tensor:
        ids, mask = _tokens(model, tokenizer, prompts).to(model.text_projection.weight.device)
        with torch.no_grad():
            features = model.get_text_features(ids, mask)
        return cast(Tensor, features.pooler_output)

    return encode


def _tokens(model: CLIPModel, tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """Return the numbers of the prompts' tokens and their mask (2, P, L)."""
    longest = model.text_model.config.max_position_embeddings
    tokens = tokenizer(list(prompts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
    return torch.stack([tokens["input_ids"], tokens["attention_mask"]])


def read_checkpoint(checkpoint: str, processor: str = "") -> tuple[CLIPModel, Any]:
    """Return model (float32) and tokenizer; raise WeightsError if it is no complete CLIP model."""
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
        place = processor or checkpoint
        tokenizer = _tokenizer(place, AutoTokenizer.from_pretrained(place, local_files_only=offline()), model)
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
    return model, tokenizer


def _tokenizer(place: str, tokenizer: Any, model: CLIPModel) -> Any:
    """Return the tokenizer; WeightsError if it knows no words, as transformers makes one without files, or too many."""
    words: int = len(tokenizer)
    known: int = model.text_model.config.vocab_size
    if words <= len(tokenizer.all_special_tokens):
        raise WeightsError(
            f"'{place}' holds no tokenizer, without which prompts cannot be read; where it lies with another model, as "
            "LEAF's does, pass -p victim.processor=openai/clip-vit-base-patch32 (or clip-vit-l14's), an id or a folder "
            "with tokenizer.json."
        )
    if words > known:
        raise WeightsError(
            f"the tokenizer of '{place}' knows {words:,} words, and the text tower {known:,}; give the processor that "
            "the checkpoint was trained with."
        )
    return tokenizer


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


def _preprocess(checkpoint: str, side: int, shape: Sequence[int], resolution: int | None) -> nn.Module:
    """Return what the checkpoint's processor does; CLIP's own, at the tower's ``side``, where it has none.

    A processor that does not say to which side it crops crops to the tower's, which takes no other.
    """
    try:
        stated, _ = CLIPImageProcessor.get_image_processor_dict(checkpoint, local_files_only=offline())
    except OSError:
        stated = {}
    size = stated.get("size")
    if not stated or (not stated.get("crop_size") and (not isinstance(size, dict) or side in size.values())):
        sides: dict[str, Any] = {
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
        }
    else:
        sides = {}
    try:
        reader: Any = AutoImageProcessor if stated.get("image_processor_type") else CLIPImageProcessor
        options = {"local_files_only": offline(), **sides}
        processor = reader.from_pretrained(checkpoint, **options) if stated else CLIPImageProcessor(**sides)
    except Exception as error:  # damaged files raise whatever they trip on
        raise WeightsError(_unreadable(checkpoint, error)) from error
    preprocess = read_processor(processor, checkpoint, "processor", shape, resolution)
    with torch.no_grad():
        found = preprocess(torch.zeros(1, *shape)).shape[2:]
    if resolution is None and tuple(found) != (side, side):
        raise WeightsError(
            f"{checkpoint}'s processor makes images of {found[0]} x {found[1]}, and its tower takes {side} x {side}; "
            f"correct size and crop_size in preprocessor_config.json, or choose -p victim.resolution."
        )
    return preprocess
