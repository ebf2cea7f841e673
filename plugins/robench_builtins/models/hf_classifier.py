"""Read a local transformers image classifier, with what its processor does; imported only where torch is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import CenterCrop
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    CLIPConfig,
)

from robench import Classifier, Preprocess, Task, WeightsError
from robench_builtins.models.clip import load_clip, quiet

#: PIL's numbers of the interpolations that torch computes as PIL does.
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}

#: A folder that wants its own code run gets an error instead of a question on the terminal.
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


class HfNetwork(nn.Module):
    """Return the logits of a transformers image classifier, in the dataset's order of classes."""

    def __init__(self, model: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.order = list(order)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes) for preprocessed ``pixels`` (N, 3, H, W)."""
        logits: Tensor = self.model(pixel_values=pixels).logits
        return logits if self.order == sorted(self.order) else logits[:, self.order]


def load_folder(folder: Path, task: Task, template: str, interpolation: str) -> Classifier:
    """Return the classifier of a checkpoint folder: CLIP zero-shot, or an image classifier as it was trained."""
    try:
        config = AutoConfig.from_pretrained(folder, **LOCAL)
    except Exception as error:  # transformers raises many kinds for a damaged or foreign config
        raise WeightsError(_unreadable(folder, error)) from error
    if isinstance(config, CLIPConfig) and "CLIPForImageClassification" not in (config.architectures or ()):
        return load_clip(str(folder), task, [template or task.templates[0]])
    if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise WeightsError(
            f"{folder} holds a model of type '{config.model_type}', which is neither an image classifier nor CLIP; "
            "wrap it in a function of your own and write FILE.py:NAME."
        )
    order = class_order(folder, config.id2label, task.classes)
    preprocess = read_preprocess(folder, interpolation)
    return Classifier(HfNetwork(_read_model(folder, config), order), len(task.classes), preprocess).eval()


def class_order(folder: Path, labels: dict[int, str], classes: Sequence[str]) -> list[int]:
    """Return for each class of the dataset the place of its logit; WeightsError if there are not as many.

    Names are compared as words, in any case. Where they are not the dataset's, such as LABEL_0, the order is taken
    to be the dataset's: the clean accuracy tells if it is not.
    """
    if len(labels) != len(classes):
        few = ", ".join(str(labels[place]) for place in sorted(labels)[:3])
        raise WeightsError(
            f"{folder} tells {len(labels)} classes apart ({few}, ...), but the dataset has {len(classes)}; bring a "
            "model that was trained on these classes, or choose its dataset with --dataset."
        )
    places = {_words(label): int(place) for place, label in labels.items()}
    wanted = [_words(name) for name in classes]
    return [places[name] for name in wanted] if set(wanted) == set(places) else list(range(len(classes)))


def read_preprocess(folder: Path, interpolation: str) -> nn.Module:
    """Return what the folder's image processor does to an image, differentiably."""
    try:
        reader: Any = AutoImageProcessor  # transformers leaves its from_pretrained unannotated
        processor = reader.from_pretrained(folder, **LOCAL)
    except Exception as error:
        raise WeightsError(
            f"{folder} holds no image processor that can be read ({_reason(error)}); save it there with "
            "processor.save_pretrained, since without it the model's resizing and normalisation are unknown."
        ) from error

    def stated(name: str, default: Any = None) -> Any:
        return getattr(processor, name, default)

    if stated("do_rescale", True) and (
        abs(stated("rescale_factor", 1 / 255) * 255 - 1) > 1e-3 or stated("rescale_offset", False)
    ):
        raise WeightsError(
            f"{folder}'s processor does not scale bytes to [0, 1], which robench cannot express; wrap the model in a "
            "function of your own and write FILE.py:NAME."
        )
    normalised = stated("do_normalize", True)
    mean, std = (stated("image_mean"), stated("image_std")) if normalised else ((0.0,), (1.0,))
    resized, side = _sides(folder, stated)
    if resized is None:
        return Preprocess(mean, std)
    preprocess = Preprocess(mean, std, resized, _interpolation(folder, stated("resample"), interpolation))
    return preprocess if side == resized else nn.Sequential(preprocess, CenterCrop(side))


def _sides(folder: Path, stated: Any) -> tuple[int | None, int | None]:
    """Return the side that images are resized to, and the side they are then cropped to."""
    if not stated("do_resize", True):
        return None, None
    size, crop = stated("size"), stated("crop_size")
    if size.shortest_edge is None and size.height != size.width:
        raise WeightsError(
            f"{folder}'s processor resizes to {size.height} x {size.width}, and robench resizes to squares; wrap the "
            "model in a function of your own and write FILE.py:NAME."
        )
    side = int(size.shortest_edge or size.height)
    if stated("crop_pct") is not None and side < 384:  # ConvNeXt's processor, which crops small images only
        return int(side / stated("crop_pct")), side
    return side, int(crop.height) if stated("do_center_crop") and crop is not None else side


def _interpolation(folder: Path, resample: Any, asked: str) -> Any:
    if asked != "processor":
        return asked
    if resample is not None and int(resample) not in INTERPOLATIONS:
        raise WeightsError(
            f"{folder}'s processor resizes with PIL's filter {int(resample)}, which has no differentiable counterpart "
            "here; add -p victim.interpolation=bicubic (or bilinear) to use that instead."
        )
    return INTERPOLATIONS[int(resample)] if resample is not None else "bilinear"


def _read_model(folder: Path, config: Any) -> nn.Module:
    try:
        with quiet():
            model, report = AutoModelForImageClassification.from_pretrained(
                folder, config=config, dtype=torch.float32, output_loading_info=True, **LOCAL
            )
    except Exception as error:  # transformers and the file readers each raise their own kinds
        raise WeightsError(_unreadable(folder, error)) from error
    missing = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if missing:
        raise WeightsError(
            f"{folder} lacks {len(missing)} of the model's tensors or has them in other shapes, such as {missing[0]}; "
            "they would be drawn at random. Fine-tune its head for classification, or save the checkpoint again."
        )
    found: nn.Module = model
    return found


def _words(name: str) -> str:
    return " ".join(str(name).replace("_", " ").replace("-", " ").lower().split())


def _unreadable(folder: Path, error: Exception) -> str:
    return (
        f"{folder} cannot be read as a transformers checkpoint ({_reason(error)}); it must hold config.json and "
        "model.safetensors as save_pretrained writes them, and need no code of its own."
    )


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
