"""The protocols of TeCoA, TTC and RobustVLM, end to end on stand-ins: a random CLIP, small sets in the real layouts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import robench
from robench_builtins.models.shared.tiny_clip_training import build_tokenizer
from robench_leaderboard import render_markdown

from .builtins.coop_layouts import coop
from .builtins.small_clip import small_clip
from .builtins.torchvision_layouts import LAYOUTS
from .builtins.wds_layouts import picture, wds
from .fork_server import script

QUICK: dict[str, Any] = {"device": "cpu", "gate": "quick", "batch_size": 64}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a CLIP of random weights, as transformers saves one."""
    from transformers import CLIPImageProcessor

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = build_tokenizer(
        ["this is a photo of a banded dotted airplane bird car cat deer dog horse monkey ship."]
    )
    tokenizer.save_pretrained(folder)
    small_clip(tokenizer, 32).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the hub, and let nothing be fetched."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HF_HUB_OFFLINE", "ROBENCH_OFFLINE"):
        monkeypatch.setenv(name, "1")
    return tmp_path / "hub"


def run(protocol: str, clip: Path, store: Path, **options: Any) -> list[robench.Card]:
    parameters = {"clip-vit-b32.checkpoint": str(clip), **options.pop("parameters", {})}
    return list(robench.run(f"protocol:{protocol}", parameters=parameters, store=store, **QUICK, **options))


def test_tecoa_and_ttc_attack_one_set_in_two_spaces(
    clip: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stl10", "dtd"):
        (tmp_path / name).mkdir()
        LAYOUTS[name](tmp_path / name, monkeypatch)
    places = {"parameters": {f"{name}.path": str(tmp_path / name) for name in ("stl10", "dtd")}}
    tecoa = run("tecoa-16", clip, tmp_path / "store", dataset=["stl10", "dtd"], **places)
    assert {(card.cell.dataset.name, card.data.shape, card.cell.n) for card in tecoa} == {
        ("stl10", (3, 96, 96), 40),
        ("dtd", (3, 224, 224), 8),
    }
    assert {card.cell.protocol for card in tecoa} == {"tecoa-16"}
    assert {card.cell.victim.parameters["template"] for card in tecoa} == {"This is a photo of a {}"}
    assert next(card for card in tecoa if card.cell.dataset.name == "dtd").data.classes == ["banded", "polka dotted"]
    weak = [card for card in tecoa if card.cell.weakness]
    assert [card.cell.attack.name for card in weak] == ["pgd", "pgd"]
    assert {card.cell.attack.name for card in tecoa if not card.cell.weakness} == {"apgd"}

    place = {"stl10.path": str(tmp_path / "stl10")}
    ttc = run("ttc", clip, tmp_path / "store", dataset=["stl10"], n=4, attack=["fgsm"], parameters=place)
    assert {card.data.shape for card in ttc} == {(3, 224, 224)}
    assert {card.cell.protocol for card in ttc} == {"ttc, changed: attack, n"}
    text = render_markdown([*tecoa, *ttc])
    assert "protocol tecoa-16" in text
    assert "protocol ttc, changed: attack, n" in text
    assert "with a step as large as the ball, it only jumps between the ball's corners" in " ".join(text.split())


def test_robustvlm_takes_the_first_images_with_the_sets_own_names_and_prompts(
    clip: Path, cache: Path, tmp_path: Path
) -> None:
    folder = cache / "datasets--clip-benchmark--wds_stl10"
    pairs = [(picture(row), row) for row in range(4)]
    wds(folder / "snapshots" / "0", pairs, [], ["cat", "dog", "ship", "bird"])
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0")
    cards = run("robustvlm-13", clip, tmp_path / "store", dataset=["stl10"])
    assert {card.cell.protocol for card in cards} == {"robustvlm-13"}
    assert {(card.data.shape, card.cell.n) for card in cards} == {((3, 224, 224), 4)}
    assert {round(card.cell.threat.eps * 255) for card in cards} == {1, 2, 4}
    assert {card.cell.attack.label for card in cards} == {"apgd", "apgd[loss=dlr-targeted]"}
    assert all(card.cell.victim.parameters["ensemble"] for card in cards)
    assert cards[0].data.classes == ["cat", "dog", "ship", "bird"]
    assert not any(card.cell.weakness for card in cards)


def test_coop_attacks_its_own_test_split_with_its_own_prompts(clip: Path, cache: Path, tmp_path: Path) -> None:
    coop(tmp_path, "dtd")
    place = {"coop.path": str(tmp_path)}
    cards = run("coop", clip, tmp_path / "store", dataset=["dtd"], attack=["fgsm"], parameters=place)
    (card,) = cards
    assert card.cell.protocol == "coop, changed: attack"
    assert (card.data.shape, card.cell.n, card.data.classes) == ((3, 224, 224), 6, ["polka dotted", "banded"])
    assert card.cell.dataset.parameters["set"] == "dtd"


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script(), *words], capture_output=True, text=True, check=False)


def test_the_command_says_what_protocols_fix_and_where_two_differ() -> None:
    assert "tecoa-16\n    TeCoA: zero-shot robustness" in command("protocol", "list").stdout
    assert "\neps: Linf 1/255\n" in command("protocol", "show", "ttc").stdout
    assert command("protocol", "show", "ttc", "--file").stdout.startswith("# Read in github.com/Sxing2/")
    assert "attack space" in command("protocol", "diff", "tecoa-16", "ttc").stdout
    assert command("protocol", "diff", "ttc", "ttc").stdout == "ttc and ttc fix the same.\n"
    wrong = command("protocol", "show", "tecoa")
    assert wrong.returncode == 2
    assert "There is no protocol 'tecoa'; did you mean" in wrong.stderr
    both = command("run", "suite:digits", "--protocol", "ttc")
    assert "Both the suite suite:digits and --protocol ttc are named; give one of them." in both.stderr
