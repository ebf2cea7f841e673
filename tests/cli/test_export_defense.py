"""``robench export-defense``: what is written is loaded by torch and by transformers alone, and answers alike."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from robench.evidence.card_file import read
from robench.pipeline.workbench import Options, Workbench
from robench.verify.recompute import find_cell

#: Run apart, in a process that never imports robench.
ALONE = """
import json, sys, torch
from pathlib import Path
from safetensors.torch import load_file
folder = Path(sys.argv[1])
images = load_file(sys.argv[2])["images"]
found = {"torch": torch.export.load(folder / "model.pt2").module()(images)}
if (folder / "transformers").is_dir():
    from transformers import CLIPVisionModelWithProjection
    model = CLIPVisionModelWithProjection.from_pretrained(folder / "transformers").eval()
    texts = load_file(folder / "transformers" / "class_texts.safetensors")
    stated = json.loads((folder / "transformers" / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(stated[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std"))
    embeds = model(pixel_values=(images - mean) / std).image_embeds
    logits = texts["logit_scale"] * torch.nn.functional.normalize(embeds, dim=1) @ texts["text_features"].T
    found["transformers"] = logits
if (folder / "peft").is_dir():
    from peft import PeftModel
    base = CLIPVisionModelWithProjection.from_pretrained(folder / "peft-base")
    adapted = PeftModel.from_pretrained(base, str(folder / "peft")).eval()
    embeds = adapted(pixel_values=(images - mean) / std).image_embeds
    found["peft"] = texts["logit_scale"] * torch.nn.functional.normalize(embeds, dim=1) @ texts["text_features"].T
    with adapted.disable_adapter():
        embeds = adapted(pixel_values=(images - mean) / std).image_embeds
    found["base"] = texts["logit_scale"] * torch.nn.functional.normalize(embeds, dim=1) @ texts["text_features"].T
assert not any(name.partition(".")[0].startswith("robench") for name in sys.modules)
print("FOUND", json.dumps({name: logits.tolist() for name, logits in found.items()}))
"""


def test_a_fitted_lora_is_loaded_without_robench_and_answers_alike(robench, real_run, tmp_path):
    path = real_run.card("tecoa-fgsm")
    done = robench("export-defense", path, "-o", tmp_path / "taken", "--store", real_run.store)
    assert done.code == 0, done.err
    card = read(path)
    cell = find_cell(card, "cpu")
    bench = Workbench(Options(store=real_run.store, device="cpu"), "cpu")
    images = next(bench.data(cell).test[:7].batches(7)).images
    save_file({"images": images}, tmp_path / "images.safetensors")
    with torch.no_grad():
        expected = bench.defended(cell).fitted.model(images)
    words = [sys.executable, "-c", ALONE, str(tmp_path / "taken"), str(tmp_path / "images.safetensors")]
    alone = subprocess.run(words, capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    found = json.loads(alone.stdout.rpartition("FOUND")[2])
    assert set(found) == {"torch", "transformers", "peft", "base"}
    # Below its adapter the tower is the undefended victim's, which answers otherwise.
    with torch.no_grad():
        undefended = bench.model(cell, cell.victim)(images)
    base = torch.tensor(found.pop("base"))
    assert torch.allclose(base, undefended, atol=1e-4 * float(undefended.abs().max()))
    assert not torch.allclose(base, expected, atol=1e-4 * float(expected.abs().max()))
    for logits in found.values():
        assert torch.allclose(torch.tensor(logits), expected, atol=1e-4 * float(expected.abs().max()))
    stated = json.loads((tmp_path / "taken" / "peft" / "adapter_config.json").read_text())
    assert (stated["peft_type"], stated["base_model_name_or_path"]) == ("LORA", "peft-base")
    assert len(load_file(tmp_path / "taken" / "peft" / "adapter_model.safetensors")) == 2 * len(
        stated["target_modules"]
    )
    state = load_file(tmp_path / "taken" / "model.safetensors")
    assert sum("lora_" in name for name in state) > 0
    assert robench("export-defense", path, "-o", tmp_path / "taken", "--store", real_run.store).code == 0  # once more
    text = (tmp_path / "taken" / "README.md").read_text()
    assert f"| clean | {100 * card.clean.rate:.1f} |" in text
    assert f"card `{card.id}`" in text
    assert "Classes, in the order of the logits: 0 zero, 1 one," in text


@pytest.mark.parametrize("name", ["README.md", "model.pt2", "transformers/config.json"])
def test_the_model_of_another_card_stays(robench, real_run, tmp_path, name):
    path = tmp_path / "taken" / name
    path.parent.mkdir(parents=True)
    path.write_text("another model")
    done = robench("export-defense", real_run.card("tecoa-fgsm"), "-o", "taken", "--store", real_run.store)
    assert done.code == 2
    assert (
        f"taken has {name.partition('/')[0]}, which is not of this card, and it would be overwritten; name another "
        "folder with -o." in done.said
    )
    assert [each.read_text() for each in (tmp_path / "taken").rglob("*") if each.is_file()] == ["another model"]


def test_without_the_fit_nothing_is_trained(robench, real_run, tmp_path):
    done = robench("export-defense", real_run.card("tecoa-fgsm"), "-o", tmp_path / "taken", "--store", tmp_path / "s")
    assert done.code == 2
    assert "has no fit of tecoa" in done.said
    assert "with --store, or run it again." in done.said
    assert not (tmp_path / "taken" / "README.md").exists()


def test_what_torch_cannot_follow_is_a_sentence(tmp_path):
    from robench import Classifier, WeightsError
    from robench.pipeline.exported_defense import export

    class Looks(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] * (1 if float(images.sum()) > 0 else 2)

    model = Classifier(Looks(), 2)
    with pytest.raises(WeightsError, match=r"^The forward pass cannot be exported \(.*torch.export can follow"):
        export(model, model, torch.rand(4, 3, 4, 4), tmp_path)
