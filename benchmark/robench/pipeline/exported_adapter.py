"""The low-rank adapter of a fitted defense as peft's own folder, beside the tower that it adapts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from robench.contracts.classifier import ZeroShotClassifier
from robench.contracts.module_copy import copy_module
from robench.evidence.files import write_whole
from robench.pipeline.library_tower import answers_alike, library_name, library_tower, quiet

ADAPTER, BASE = "peft", "peft-base"
#: peft's names of the file of tensors, and of a module that it wraps.
_TENSORS, _INSIDE = "adapter_model.safetensors", "base_model.model."
_MATRICES = ("lora_A", "lora_B")


def export_adapter(model: ZeroShotClassifier, images: Tensor, expected: Tensor, folder: Path) -> bool:
    """Write the adapter and its tower; False if there is none that peft's ``from_pretrained`` could hold.

    Args:
        model: the defended victim, with its adapter not merged.
        images: (N, C, H, W) in [0, 1], on which what was written is compared.
        expected: (N, K) its logits.
        folder: gets ``peft`` and ``peft-base``.
    """
    tower = copy_module(model).image_tower
    adapted = dict(_adapted(tower))
    if not adapted:
        return False
    plain = library_tower(tower)
    if plain is None:
        return False
    from peft import LoraConfig

    layers = [layer for layer, _ in adapted.values()]
    recipes = {(layer.r[name], layer.lora_alpha[name], layer.scaling[name]) for layer, name in adapted.values()}
    if len(recipes) > 1 or any(len(layer.r) > 1 for layer in layers):
        return False
    rank, alpha, scaling = recipes.pop()
    known = {*plain.state_dict()}
    paths = {path: library_name(f"{path}.weight", known).removesuffix(".weight") for path in adapted}
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=sorted(paths.values()), bias="none", inference_mode=True,
        base_model_name_or_path=BASE, use_rslora=scaling != alpha / rank,
    )  # fmt: skip
    tensors = {
        f"{_INSIDE}{paths[path]}.{matrix}.weight": getattr(layer, matrix)[name].weight.detach().contiguous()
        for path, (layer, name) in adapted.items()
        for matrix in _MATRICES
    }
    with quiet():
        plain.save_pretrained(folder / BASE)
    config.save_pretrained(str(folder / ADAPTER))
    write_whole(folder / ADAPTER / _TENSORS, save(tensors, {"format": "pt"}))
    return _reads_back(model, images, expected, folder)


def _adapted(tower: nn.Module) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield the path of each linear layer with a low-rank update, the layer, and its adapter's name."""
    layers: Any = sys.modules.get("peft.tuners.lora")  # no adapter exists unless someone imported peft
    if layers is None:
        return
    for path, part in tower.named_modules():
        if isinstance(part, layers.Linear) and part.active_adapters:
            yield path, (part, part.active_adapters[0])


def _reads_back(model: ZeroShotClassifier, images: Tensor, expected: Tensor, folder: Path) -> bool:
    """Tell whether peft loads what was written, and it answers as the defended victim; else take it away."""
    import shutil

    from peft import PeftModel
    from transformers import CLIPVisionModelWithProjection

    with quiet():
        base: Any = CLIPVisionModelWithProjection.from_pretrained(folder / BASE)
        read: Any = PeftModel.from_pretrained(base, str(folder / ADAPTER)).eval()
    alike = answers_alike(read, model, images, expected)
    if not alike:
        for name in (ADAPTER, BASE):
            shutil.rmtree(folder / name)
    return alike
