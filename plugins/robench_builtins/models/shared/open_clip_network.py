"""Build open_clip's models; imported only where open_clip is wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import open_clip
import torch
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL.Image import Image
from torch import Tensor, nn

from robench import SpecError, Task, WeightsError, ZeroShotClassifier
from robench_builtins.models.shared.checkpoint_layouts import State
from robench_builtins.models.shared.library_model import reason
from robench_builtins.models.shared.library_pixels import Recipe, held_to, preprocessing
from robench_builtins.models.shared.open_clip_towers import fine_tuned_from, image_tower, with_tower
from robench_builtins.models.shared.preprocessing_preset import smooth, square
from robench_builtins.models.shared.state_dict import read_state
from robench_builtins.models.shared.text_features import EncodeText, features_once

#: What of a tag's entry is preprocessing.
PREPARED = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class OpenClipRequest:
    """Say which model: an architecture, the tag of its weights, and a file or folder in place of them."""

    model: str
    weights: str
    checkpoint: Path | None = None
    #: What a checkpoint without a tag was trained with; None: what the tag says.
    quick_gelu: bool | None = None
    resolution: int | None = None

    def __str__(self) -> str:
        return f"open_clip:{self.model}/{self.weights}".rstrip("/")


class OpenClipTower(nn.Module):
    """Embed preprocessed images with open_clip's visual tower."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (N, D), not normalised, for preprocessed ``pixels`` (N, 3, H, W)."""
        features = self.visual(pixels)
        return cast(Tensor, features[0] if isinstance(features, tuple) else features)  # CoCa adds the tokens


def build(asked: OpenClipRequest, task: Task, templates: Sequence[str]) -> ZeroShotClassifier:
    """Return the zero-shot classifier of an open_clip model, on the CPU."""
    if asked.checkpoint is not None and not asked.checkpoint.exists():
        raise WeightsError(
            f"checkpoint {asked.checkpoint} does not exist; pass -p victim.checkpoint=PATH with one that does."
        )
    folder = asked.checkpoint if asked.checkpoint is not None and asked.checkpoint.is_dir() else None
    if asked.checkpoint is not None and folder is None and asked.model.startswith("hf-hub:"):
        model_name, tag = fine_tuned_from(asked.model, asked.weights)
        asked = replace(asked, model=model_name, weights=tag)
    named = f"local-dir:{folder}" if folder else asked.model
    model = _folder(asked, named) if folder or named.startswith("hf-hub:") else _tagged(asked, task)
    model.eval()
    tokenizer = _tokenizer(asked, named)
    encode_text = _text_encoder(model, tokenizer)
    return ZeroShotClassifier(
        OpenClipTower(model.visual),
        features_once(task, templates, model, encode_text, tokenizer, [type(model).__name__, *_text_parts(model)]),
        logit_scale=model.logit_scale.detach().exp().item(),
        preprocess=_preprocess(asked, model.visual, task.shape),
        encode_text=encode_text,
    ).eval()


def repository(model: str, tag: str) -> str:
    """Return the hub's repository of the weights; nothing where they have none."""
    if model.startswith("hf-hub:"):
        return model.removeprefix("hf-hub:")
    return str(get_pretrained_cfg(model, tag).get("hf_hub") or "").strip("/")


def _tagged(asked: OpenClipRequest, task: Task) -> Any:
    """Return a model of open_clip's own list, with a tag's weights or local ones."""
    entry = _entry(asked)
    quick = _quick_gelu(asked, entry)
    options = {"force_quick_gelu": quick, "force_image_size": asked.resolution, "pretrained_text": False}
    if not asked.checkpoint:
        return _created(asked, asked.model, pretrained=asked.weights, **options)
    prepared = {name: entry[name] for name in PREPARED if name in entry}
    model = _created(asked, asked.model, force_preprocess_cfg=prepared, **options)
    state = _state(asked.checkpoint)
    tower = image_tower(state, model.visual)
    if tower is not None:
        whole = replace(asked, checkpoint=None)
        create = partial(_created, whole, asked.model, pretrained=asked.weights, **options)
        return with_tower(tower, asked, create, task)
    try:
        with _unwrapped(asked.checkpoint, state, task) as readable:
            open_clip.load_checkpoint(model, str(readable), weights_only=True)
    except Exception as error:  # readers of damaged files raise whatever they trip on
        raise WeightsError(
            f"checkpoint {asked.checkpoint} does not make open_clip's {asked.model} ({reason(error)}); give an "
            "undamaged state dict of this very architecture, as .safetensors or a .pt file without code in it."
        ) from error
    return model


@contextmanager
def _unwrapped(path: Path, state: State, task: Task) -> Iterator[Path]:
    """Yield a file that open_clip reads: ``path``, or, if its tensors are wrapped, a copy of them alone."""
    if not state.unwrapped:
        yield path
        return
    task.note(state.noted(str(path)))
    with TemporaryDirectory(prefix="robench-") as folder:
        alone = Path(folder) / "state_dict.pt"
        torch.save(dict(state), alone)
        yield alone


def _state(path: Path) -> State:
    """Return the tensors of a file; none of one that is read otherwise."""
    try:
        return read_state(path, "victim.checkpoint")
    except WeightsError:  # such as OpenAI's own archives, which open_clip knows; or its error says what is wrong
        return State()


def _entry(asked: OpenClipRequest) -> dict[str, Any]:
    """Return what open_clip states about the tag's weights; SpecError for an unknown architecture or tag."""
    known = open_clip.list_models()
    if asked.model not in known:
        near = get_close_matches(asked.model, known, n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise SpecError(f"open_clip has no model '{asked.model}'; {hint}open_clip.list_models() has them all.")
    tags = list_pretrained_tags_by_model(asked.model)
    if not asked.weights and not asked.checkpoint:
        raise SpecError(
            f"{asked} names no weights; write open_clip:{asked.model}/TAG with one of "
            f"{', '.join(tags) or 'none'}, or bring some with -p victim.checkpoint=FILE."
        )
    entry = get_pretrained_cfg(asked.model, asked.weights) if asked.weights else {}
    if asked.weights and not entry:
        raise SpecError(
            f"open_clip has no weights '{asked.weights}' of {asked.model}; it has {', '.join(tags) or 'none'}."
        )
    return dict(entry)


def _quick_gelu(asked: OpenClipRequest, entry: dict[str, Any]) -> bool:
    """Tell whether to build with QuickGELU; SpecError for what the weights were not trained with, or if unknown."""
    built = bool(open_clip.get_model_config(asked.model).get("quick_gelu", False))
    if built and asked.quick_gelu is False:
        raise SpecError(
            f"open_clip's {asked.model} is built with QuickGELU, and quick_gelu=false asks for GELU; name the "
            "architecture without -quickgelu."
        )
    if not asked.weights:
        return _of_checkpoint(asked, built)
    trained = bool(entry.get("quick_gelu", False))
    if (built or asked.quick_gelu) and not trained:
        raise SpecError(
            f"open_clip's {asked.weights} weights of {asked.model} were trained with GELU, and this asks for "
            "QuickGELU, which would cost accuracy without a word; leave quick_gelu out."
        )
    if trained and asked.quick_gelu is False:
        raise SpecError(
            f"open_clip's {asked.weights} weights of {asked.model} were trained with QuickGELU, and quick_gelu=false "
            "asks for GELU, which would cost accuracy without a word (CIFAR-10: 35.22 % for RN50, 82.81 % for "
            "ViT-B-32); leave quick_gelu out."
        )
    return trained


def _of_checkpoint(asked: OpenClipRequest, built: bool) -> bool:
    tags = list_pretrained_tags_by_model(asked.model)
    quick = [tag for tag in tags if get_pretrained_cfg(asked.model, tag).get("quick_gelu", False)]
    if asked.quick_gelu is None and not built and quick:
        raise SpecError(
            f"open_clip builds {asked.model} with GELU, and weights of it were trained with QuickGELU "
            f"({', '.join(quick)}); say which the checkpoint is, with open_clip:{asked.model}/{quick[0]} or -p "
            "victim.quick_gelu=false."
        )
    return built or bool(asked.quick_gelu)


def _folder(asked: OpenClipRequest, named: str) -> Any:
    """Return the model of a folder, or of a hub repository, that holds its own configuration."""
    trained = bool(_config(asked, named).get("quick_gelu", False))
    wanted = get_pretrained_cfg(asked.model, asked.weights).get("quick_gelu", False) if asked.weights else trained
    wanted = wanted if asked.quick_gelu is None else asked.quick_gelu
    if bool(wanted) != trained:
        does, asks = ("QuickGELU", "GELU") if trained else ("GELU", "QuickGELU")
        raise SpecError(
            f"{named} states in open_clip_config.json that it was trained with {does}, and this asks for {asks}, which "
            "would cost accuracy without a word; leave quick_gelu and the tag out."
        )
    return _created(asked, named, require_pretrained=True, force_image_size=asked.resolution)


def _config(asked: OpenClipRequest, named: str) -> dict[str, Any]:
    try:
        return dict(open_clip.get_model_config(named))
    except Exception as error:  # the hub and a damaged file each raise their own kinds
        raise WeightsError(_unreadable(asked, named, error)) from error


def _created(asked: OpenClipRequest, named: str, **options: Any) -> Any:
    try:
        with _quiet():
            return open_clip.create_model(named, precision="fp32", device="cpu", weights_only=True, **options)
    except Exception as error:  # hub, file readers and constructors each raise their own kinds
        raise WeightsError(_unreadable(asked, named, error)) from error


def _unreadable(asked: OpenClipRequest, named: str, error: Exception) -> str:
    if asked.checkpoint:
        return (
            f"{asked.checkpoint} cannot be read as an open_clip model ({reason(error)}); a folder must hold "
            "open_clip_config.json and the weights, and a file a state dict of the architecture."
        )
    hub = get_pretrained_cfg(asked.model, asked.weights).get("hf_hub", "").strip("/") or named.removeprefix("hf-hub:")
    return (
        f"{asked} cannot be loaded ({reason(error)}). Connect "
        f"to the Hugging Face hub, or download open_clip_model.safetensors of https://huggingface.co/{hub} and pass -p "
        "victim.checkpoint=FILE."
    )


def _tokenizer(asked: OpenClipRequest, named: str) -> Any:
    try:
        return open_clip.get_tokenizer(named)
    except Exception as error:  # some architectures take theirs from the hub
        raise WeightsError(
            f"The tokenizer of {named} cannot be loaded ({reason(error)}); connect to the hub."
        ) from error


def _text_parts(model: nn.Module) -> list[object]:
    """Return all that embeds texts: every part of a model but its visual tower."""
    own = [tensor for _, tensor in (*model.named_parameters(recurse=False), *model.named_buffers(recurse=False))]
    return [*own, *(part for name, part in model.named_children() if name != "visual")]


def _text_encoder(model: Any, tokenizer: Any) -> EncodeText:
    def encode(prompts: Sequence[str]) -> Tensor:
        with torch.no_grad():
            return cast(Tensor, model.encode_text(tokenizer(list(prompts)).to(model.logit_scale.device)))

    return encode


def _preprocess(asked: OpenClipRequest, visual: Any, shape: Sequence[int]) -> nn.Module:
    """Return open_clip's own preprocessing of images of ``shape``, held to its pixels."""
    stated = visual.preprocess_cfg
    sides = stated["size"] if isinstance(stated["size"], tuple | list) else (stated["size"],)
    side = square(asked.model, sides)
    mean, std = tuple(map(float, stated["mean"])), tuple(map(float, stated["std"]))
    exact = stated.get("resize_mode") == "squash"
    recipe = Recipe(mean, std, side, side, smooth(asked.model, stated["interpolation"], ""), exact=exact)
    transform: Any = image_transform_v2(PreprocessCfg(**stated), is_train=False)

    def library(pictures: list[Image]) -> Tensor:
        return torch.stack([transform(picture) for picture in pictures])

    return held_to(library, preprocessing(recipe, shape), recipe, shape, f"open_clip's transform of {asked}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip's log off the screen: what fails is told in a sentence, and missing weights are loaded next."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
