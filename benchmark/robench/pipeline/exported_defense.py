"""Take a fitted defense away: as a program that torch runs, as tensors, as what transformers and peft load.

None of it needs robench: the program takes images in [0, 1] and returns logits, preprocessing included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from robench.contracts.classifier import Classifier, Preprocess, ZeroShotClassifier
from robench.contracts.module_copy import copy_module
from robench.errors import StoreError, WeightsError
from robench.evidence.card import Card
from robench.evidence.files import write_whole
from robench.pipeline.export_weights import FILE as WEIGHTS
from robench.pipeline.export_weights import save_weights
from robench.pipeline.exported_adapter import ADAPTER, BASE, export_adapter
from robench.pipeline.library_tower import answers_alike, library_tower, merged, quiet, same
from robench.pipeline.stages.fit import KIND
from robench.pipeline.workbench import Workbench
from robench.plan.cell import Cell

PROGRAM = "model.pt2"
TEXTS = "class_texts.safetensors"
#: All that may be written, without the model card.
FILES = (WEIGHTS, PROGRAM, "transformers", ADAPTER, BASE)
#: Images on which what was written is compared with the defended victim.
COMPARED = 4


def stored_defense(cell: Cell, workbench: Workbench) -> Classifier:
    """Return the defended victim of a cell as the store has it; StoreError if it would have to be trained again."""
    needed = [cell.fit_id, *([cell.model_id(cell.victim)] if _trained_here(cell) else [])]
    if any(workbench.store.get(KIND, key) is None for key in needed):
        raise StoreError(
            f"The store at {workbench.store.root} has no fit of {cell.defense.record().label} on "
            f"{cell.victim.record().label}, so there is nothing to export; name the store it was fitted in with "
            "--store, or run it again."
        )
    return workbench.defended(cell).fitted.model


def _trained_here(cell: Cell) -> bool:
    """Tell whether the cell's victim came without weights, and was trained."""
    return cell.victim.record().untrained


def export(model: Classifier, victim: Classifier, images: Tensor, folder: Path) -> dict[str, str]:
    """Write the model; return each file with what loads it.

    Args:
        model: the defended victim, frozen.
        victim: what it defends: a library's checkpoint needs its very preprocessing.
        images: (N, C, H, W) in [0, 1], on which what is written is compared.
        folder: where it is written.

    Raises:
        WeightsError: torch cannot follow the forward pass, or what was written answers otherwise.
    """
    images = images[:COMPARED].cpu()
    model = model.cpu()
    with torch.no_grad():
        logits = model(images)
    save_weights(model, folder)
    found = {WEIGHTS: "safetensors: every tensor, by the names that the defended victim has in robench"}
    _export_program(model, images, logits, folder / PROGRAM)
    found[PROGRAM] = "torch.export: images in [0, 1] in, logits out; preprocessing and class texts are inside"
    plain = torch.equal(model.preprocess(images), victim.cpu().preprocess(images))
    if plain and isinstance(model, ZeroShotClassifier) and _export_tower(model, images, logits, folder):
        found["transformers"] = "transformers: CLIPVisionModelWithProjection, adapters merged, and the class texts"
        if export_adapter(model, images, logits, folder):
            found[ADAPTER] = f"peft: the low-rank adapter alone, for the tower in {BASE}"
            found[BASE] = "transformers: CLIPVisionModelWithProjection without the adapter"
    return found


def _export_program(model: Classifier, images: Tensor, logits: Tensor, path: Path) -> None:
    """Write the forward pass, for any number of images."""
    try:
        with torch.no_grad():
            program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # torch raises whatever its tracing trips on
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise WeightsError(
            f"The forward pass cannot be exported ({reason[:300]}): it depends on its images in Python, as a defense "
            "of test time may. Only what torch.export can follow can be taken away."
        ) from error
    with TemporaryDirectory(prefix="robench-") as place:
        written = Path(place) / PROGRAM
        torch.export.save(program, written)
        again = torch.export.load(written).module()
        with torch.no_grad():
            for found, expected in ((again(images), logits), (again(images[:1]), logits[:1])):
                if not same(found, expected):
                    gap = float((found - expected).abs().max())
                    raise WeightsError(
                        f"What was written for torch.export answers otherwise: its logits differ by {gap:.2g}."
                    )
        write_whole(path, written.read_bytes())


def _export_tower(model: ZeroShotClassifier, images: Tensor, expected: Tensor, folder: Path) -> bool:
    """Write a CLIP's image tower as transformers' own, adapters merged; False if it is none of transformers."""
    plain = library_tower(merged(copy_module(model).image_tower))
    if plain is None or not answers_alike(plain, model, images, expected):
        return False
    place = folder / "transformers"
    with quiet():
        plain.save_pretrained(place)
    _save_processor(model.preprocess, images.shape[-1], place)
    texts = model.get_buffer("text_features").contiguous()
    write_whole(place / TEXTS, save({"text_features": texts, "logit_scale": torch.tensor(float(model.logit_scale))}))
    return True


def _save_processor(preprocess: nn.Module, side: int, place: Path) -> None:
    """Write what happens before the tower as CLIP's image processor, where it is no more than that."""
    if not isinstance(preprocess, Preprocess):
        return
    from transformers import CLIPImageProcessor

    mean, std = (preprocess.get_buffer(name).flatten().tolist() for name in ("mean", "std"))
    size = preprocess.size or side
    options: dict[str, Any] = {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    processor: Any = CLIPImageProcessor(image_mean=mean, image_std=std, **options)
    processor.save_pretrained(place)


def model_card(card: Card, files: Mapping[str, str]) -> str:
    """Return README.md: what it is, what was measured, and how it is loaded."""
    cell, clean, robust = card.cell, card.clean, card.robust
    head = {
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["adversarial-robustness", "robench", cell.defense.name],
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---", ""]
    sides = " x ".join(map(str, card.data.shape))
    access = cell.threat.access if cell.surrogate is None else f"transfer from {cell.surrogate.label}"
    lines += [
        f"# {cell.victim.label}, defended by {cell.defense.label}",
        "",
        f"Fitted and measured by robench on {cell.dataset.label} ({sides}), seed {cell.seed}; card `{card.id}`.",
        "",
        "| images | accuracy % | 95 % interval | n |",
        "|:--|--:|:--|--:|",
        f"| clean | {100 * clean.rate:.1f} | {100 * clean.low:.1f} to {100 * clean.high:.1f} | {clean.n} |",
        f"| {cell.attack_label}, {cell.threat.norm} {cell.threat.counted}, {access} | {100 * robust.rate:.1f} | "
        f"{100 * robust.low:.1f} to {100 * robust.high:.1f} | {robust.n} |",
        "",
        f"Verdict of the gate: {card.gate.verdict}. {card.training.trainable:,} parameters were trained.",
        "",
        "| file | for |",
        "|:--|:--|",
        *(f"| `{name}` | {what} |" for name, what in files.items()),
        "",
        "```python",
        "import torch",
        "",
        'program = torch.export.load("model.pt2").module()',
        f"logits = program(images)  # float32 (N, {', '.join(map(str, card.data.shape))}) in [0, 1]",
        "```",
        "",
    ]
    if "transformers" in files:
        lines += [
            "```python",
            "from safetensors.torch import load_file",
            "from transformers import CLIPVisionModelWithProjection",
            "",
            'model = CLIPVisionModelWithProjection.from_pretrained("transformers").eval()',
            f'texts = load_file("transformers/{TEXTS}")',
            "embeds = model(pixel_values=preprocessed).image_embeds  # by preprocessor_config.json",
            'logits = texts["logit_scale"] * torch.nn.functional.normalize(embeds, dim=1) @ texts["text_features"].T',
            "```",
            "",
        ]
    if ADAPTER in files:
        lines += [
            "```python",
            "from peft import PeftModel",
            "",
            f'base = CLIPVisionModelWithProjection.from_pretrained("{BASE}")',
            f'model = PeftModel.from_pretrained(base, "{ADAPTER}").eval()  # logits as above',
            "```",
            "",
        ]
    names = ", ".join(f"{number} {name}" for number, name in enumerate(card.data.classes[:1000]))
    return "\n".join([*lines, f"Classes, in the order of the logits: {names}.", ""])
