"""Retrieval on photos with captions, as a user runs it: a real process, real photos, a small CLIP."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from robench.evidence.card_file import read
from robench_builtins.datasets.flickr import Flickr
from robench_builtins.models.shared.tiny_clip_training import build_tokenizer
from robench_builtins.models.shared.transformers_clip import CLIP_MEAN, CLIP_STD

from ..fork_server import script
from .small_clip import small_clip


def embedded(model: Any, tokenizer: Any, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images as transformers takes them, and the captions' normalised features."""
    data = Flickr(path=str(folder), size=32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    tokens = tokenizer(list(data.classes()), padding=True, return_tensors="pt")
    with torch.no_grad():
        texts = model.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output
    return (next(data.load("test").batches(24)).images - mean) / std, F.normalize(texts, dim=1)


def by_heart(model: Any, tokenizer: Any, folder: Path) -> None:
    """Train the image tower on the captions until it knows two thirds of them: the others are mistakes."""
    images, texts = embedded(model, tokenizer, folder)
    model.logit_scale.data.fill_(3.0)
    tower = [*model.vision_model.parameters(), *model.visual_projection.parameters()]
    optimizer, labels = torch.optim.Adam(tower, lr=0.01), torch.arange(len(images))
    for _ in range(600):
        logits = 20 * F.normalize(model.get_image_features(images).pooler_output, dim=1) @ texts.T
        if int((logits.argmax(1) == labels).sum()) >= 16:
            return
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
    raise AssertionError("the small CLIP did not learn the captions")


@pytest.fixture(scope="module")
def retrieval(kit, tmp_path_factory) -> Path:
    """Return a folder with 24 real photos and their captions as Kaggle has them, and a small CLIP that learned some."""
    root = tmp_path_factory.mktemp("retrieval")
    photos = sorted((kit / "plantvillage-tomato" / "test").rglob("*.JPG"))[::5][:24]
    assert len(photos) == 24
    (root / "flickr" / "Images").mkdir(parents=True)
    captions = {}
    for place, photo in enumerate(photos):
        shutil.copy(photo, root / "flickr" / "Images" / f"{place:02d}.jpg")
        leaf = photo.parent.name.removeprefix("Tomato_").replace("_", " ")
        captions[f"{place:02d}.jpg"] = [f"a leaf, {leaf}, number {place}", f"leaf {place} of {leaf}"]
    rows = [f'{name},"{text}"' for name, texts in captions.items() for text in texts]
    (root / "flickr" / "captions.txt").write_text("\n".join(["image,caption", *rows]) + "\n")
    tokenizer = build_tokenizer([text for texts in captions.values() for text in texts])
    model = small_clip(tokenizer, 32)
    by_heart(model, tokenizer, root / "flickr")
    model.save_pretrained(root / "clip")
    tokenizer.save_pretrained(root / "clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(root / "clip")
    return root


def robench(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "400", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([script(), *map(str, words)], capture_output=True, text=True, cwd=folder, env=environment)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


def test_retrieval_from_the_command_line(retrieval, tmp_path):
    request = ("run", "--dataset", f"flickr:{retrieval / 'flickr'}", "-p", "dataset.size=32")
    victim = ("-p", f"victim.checkpoint={retrieval / 'clip'}", "--defense", "none", "--attack", "pgd")
    done = robench(tmp_path, *request, *victim, "--eps", "4/255", "--n", 20, "--store", "store", "--out", "out")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "out" / "cards").glob("*.json")
    card = read(path)

    assert (len(card.data.classes), card.cell.n, card.model.zero_shot) == (24, 20, True)
    assert card.data.classes[3].endswith("number 3")
    # As transformers has it: the rank of an image's own caption among all 24.
    model, tokenizer = (kind.from_pretrained(retrieval / "clip") for kind in (CLIPModel, AutoTokenizer))
    images, texts = embedded(model.eval(), tokenizer, retrieval / "flickr")
    with torch.no_grad():
        cosines = F.normalize(model.get_image_features(images).pooler_output, dim=1) @ texts.T
    ranks = (cosines > cosines.diag()[:, None]).sum(1)
    drawn = [label for label, row in enumerate(card.clean.per_class) if row[3] == 1]
    assert len(drawn) == 20
    assert card.clean.correct == int((ranks[drawn] == 0).sum())
    assert card.clean.top5 == int((ranks[drawn] < 5).sum())
    assert card.clean.correct > card.robust.correct
    assert card.robust.top5 >= card.robust.correct

    # One image a class is nothing to be accused of, though a third of the answers is wrong.
    assert {check.name: check.meaning for check in card.gate.checks if check.status in ("suspect", "invalid")} == {}
    assert card.gate.verdict == "VALID"

    done = robench(tmp_path, "report", "out", "-o", "page.html")
    assert done.returncode == 0
    assert "16 patches (4 x 4) of 8 x 8 pixels" in (tmp_path / "page.html").read_text()


def test_a_defense_that_trains_is_told_what_to_do(retrieval, tmp_path):
    request = ("run", "--dataset", "flickr", "-p", f"dataset.path={retrieval / 'flickr'}", "-p", "dataset.size=32")
    victim = ("-p", f"victim.checkpoint={retrieval / 'clip'}", "--defense", "vpt", "--attack", "fgsm", "--eps", "1/255")
    done = robench(tmp_path, *request, *victim, "--n", 4, "--store", "store", "--out", "out")
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "flickr has no images to train on: each caption names one test image. Train on other photos" in said


def test_a_folder_without_captions_is_exit_code_2(tmp_path):
    done = robench(tmp_path, "run", "--dataset", f"flickr:{tmp_path}", "--attack", "fgsm", "--eps", "1/255")
    assert done.returncode == 2
    assert f"flickr found no captions in {tmp_path}; put one of these there" in " ".join(done.stderr.split())


def test_show_names_source_licence_and_parameters(tmp_path):
    said = " ".join(robench(tmp_path, "show", "flickr").stdout.split())
    for words in ("Young et al.", "Hodosh et al.", "non-commercial research", "caption", "images", "split_seed"):
        assert words in said
