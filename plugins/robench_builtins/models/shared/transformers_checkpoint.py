"""Read a transformers image classifier, with what its processor does; imported only where torch is wanted."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    CLIPConfig,
)

from robench import Classifier, SpecError, Task, WeightsError
from robench_builtins.models.shared.transformers_clip import load_clip, quiet
from robench_builtins.models.shared.transformers_processor import read_processor
from robench_builtins.offline import offline

#: What the network starts from: the checkpoint; the checkpoint, but for a drawn last layer; or nothing.
Start = Literal["weights", "new head", "drawn"]


class HfNetwork(nn.Module):
    """Return the logits of a transformers image classifier, in the dataset's order of classes."""

    def __init__(self, model: nn.Module, order: Sequence[int], **options: bool) -> None:
        super().__init__()
        self.model = model
        self.order = list(order)
        self.options = options

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, classes) for preprocessed ``pixels`` (N, 3, H, W)."""
        logits: Tensor = self.model(pixel_values=pixels, **self.options).logits
        return logits if self.order == sorted(self.order) else logits[:, self.order]


def load_checkpoint(
    place: str,
    task: Task,
    prompts: Sequence[str],
    *,
    interpolation: str = "processor",
    resolution: int | None = None,
    processor: str = "",
    start: Start = "weights",
) -> Classifier:
    """Return the classifier of a folder or hub id: CLIP zero-shot, or an image classifier as it was trained.

    ``processor`` is another id or folder, with the image processor (and a CLIP's tokenizer) where ``place`` has none.
    """
    try:
        config = AutoConfig.from_pretrained(place, **_local(place))
    except Exception as error:  # transformers raises many kinds for a damaged or foreign config
        raise WeightsError(_unreadable(place, error)) from error
    if isinstance(config, CLIPConfig) and "CLIPForImageClassification" not in (config.architectures or ()):
        if start != "weights":
            raise SpecError(
                f"{place} is a CLIP model and is used zero-shot, with the weights it has; pretrained=false and "
                "head=new are for image classifiers."
            )
        return load_clip(place, task, prompts, resolution, processor)
    if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise WeightsError(
            f"{place} holds a model of type '{config.model_type}', which is neither an image classifier nor CLIP; "
            "wrap it in a function of your own and write FILE.py:NAME."
        )
    order = class_order(place, config.id2label, task.classes) if start == "weights" else range(len(task.classes))
    preprocess = read_preprocess(processor or place, interpolation, task.shape, resolution)
    network = HfNetwork(_model(place, config, task, start), order)
    if resolution is not None:
        _resize(place, network, config, resolution)
    return Classifier(network, len(task.classes), preprocess).eval()


def _local(place: str) -> dict[str, Any]:
    """Return where to look; a checkpoint that wants its own code run gets an error, not a question on the terminal."""
    return {"local_files_only": offline() or Path(place).is_dir(), "trust_remote_code": False}


def class_order(place: str, labels: dict[int, str], classes: Sequence[str]) -> list[int]:
    """Return for each class of the dataset the place of its logit; WeightsError if there are not as many.

    Names are compared as words, in any case. Where they are not the dataset's, such as LABEL_0, the order is taken
    to be the dataset's: the clean accuracy tells if it is not.
    """
    if len(labels) != len(classes):
        few = ", ".join(str(labels[number]) for number in sorted(labels)[:3])
        raise WeightsError(
            f"{place} tells {len(labels)} classes apart ({few}, ...), but the dataset has {len(classes)}; bring a "
            "model that was trained on these classes, train a new last layer (hf:NAME with -p victim.head=new), or "
            "choose its dataset with --dataset."
        )
    places = {_words(label): int(number) for number, label in labels.items()}
    wanted = [_words(name) for name in classes]
    return [places[name] for name in wanted] if set(wanted) == set(places) else list(range(len(classes)))


def read_preprocess(place: str, interpolation: str, shape: Sequence[int], resolution: int | None = None) -> nn.Module:
    """Return what the checkpoint's image processor does to images of ``shape``; ``resolution`` overrides its sizes."""
    try:
        reader: Any = AutoImageProcessor  # transformers leaves its from_pretrained unannotated
        processor = reader.from_pretrained(place, **_local(place))
    except Exception as error:
        raise WeightsError(
            f"{place} holds no image processor that can be read ({_reason(error)}); save it there with "
            "processor.save_pretrained, or name the folder or id that has it with -p victim.processor, since without "
            "it the model's resizing and normalisation are unknown."
        ) from error
    return read_processor(processor, place, interpolation, shape, resolution)


def _model(place: str, config: Any, task: Task, start: Start) -> nn.Module:
    """Return the network; drawn values come from torch's global generator."""
    if start == "weights":
        return _read_model(place, config, config.id2label)
    adapted = copy.deepcopy(config)
    adapted.id2label = dict(enumerate(task.classes))
    adapted.label2id = {name: number for number, name in adapted.id2label.items()}
    reader: Any = AutoModelForImageClassification  # transformers leaves its from_config unannotated
    drawn: Any = reader.from_config(adapted, trust_remote_code=False).float()
    if start == "new head":
        whole: Any = _read_model(place, config, None)
        drawn.base_model.load_state_dict(whole.base_model.state_dict())
    network: nn.Module = drawn
    return network


def _read_model(place: str, config: Any, head: Any) -> nn.Module:
    """Return the checkpoint's model; only where ``head`` is None may tensors of the last layer be missing."""
    try:
        with quiet():
            model, report = AutoModelForImageClassification.from_pretrained(
                place, config=config, dtype=torch.float32, output_loading_info=True, **_local(place)
            )
    except Exception as error:  # transformers and the file readers each raise their own kinds
        raise WeightsError(_unreadable(place, error)) from error
    missing = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if head is None:
        missing = [name for name in missing if name.startswith(f"{model.base_model_prefix}.")]
    if missing:
        raise WeightsError(
            f"{place} lacks {len(missing)} of the model's tensors or has them in other shapes, such as {missing[0]}; "
            "they would be drawn at random. Fine-tune its head for classification, or save the checkpoint again."
        )
    found: nn.Module = model
    return found


def _resize(place: str, network: HfNetwork, config: Any, side: int) -> None:
    """Interpolate positions where the model does so; WeightsError if it cannot take images of ``side``."""
    option = "interpolate_pos_encoding"
    if option in inspect.signature(network.model.forward).parameters and side != config.image_size:
        network.options = {option: True}
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except Exception as error:  # every architecture asserts in its own way
        raise WeightsError(
            f"{place} does not take images of {side} x {side} ({_reason(error)}); choose another -p "
            "victim.resolution, or none for the processor's."
        ) from error


def _words(name: str) -> str:
    return " ".join(str(name).replace("_", " ").replace("-", " ").lower().split())


def _unreadable(place: str, error: Exception) -> str:
    if not Path(place).is_dir():
        return (
            f"{place} cannot be loaded from the Hugging Face hub ({_reason(error)}). Connect to it, or download "
            f"config.json, model.safetensors and preprocessor_config.json of https://huggingface.co/{place} into a "
            "folder DIR and pass -p victim.checkpoint=DIR."
        )
    return (
        f"{place} cannot be read as a transformers checkpoint ({_reason(error)}); it must hold config.json and "
        "model.safetensors as save_pretrained writes them, and need no code of its own."
    )


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
