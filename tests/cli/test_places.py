"""No path, user or host of the machine that measured gets into what is published or shared; labels stand there."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from robench.evidence.card_file import read

#: Words that occur nowhere but in the names of this machine, its user and its folders.
HOST, USER, FOLDER = "wolpertinger", "quasimodo", "rumpelkammer"
WORDS = (HOST, USER, FOLDER)
SITE = f"""
import os, platform, socket
platform.node = socket.gethostname = socket.getfqdn = lambda *_: "{HOST}"
real = os.uname
os.uname = lambda: os.uname_result([*real()[:1], "{HOST}", *real()[2:]])
"""
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(20.0))

    def forward(self, images):
        brightness = self.weight * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([-brightness, brightness], 1)

def build():
    return Net()
"""


def photos(folder):
    draw = np.random.default_rng(0)
    for name, level in (("dark", 80), ("bright", 170)):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(level - 40, level + 40, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def there(tmp_path, robench):
    """Return a folder whose every name says whose it is, and a function that runs robench from it."""
    root = tmp_path / FOLDER
    photos(root / USER / "photos")
    (root / USER / "net.py").write_text(NET)
    site, home = root / "site", root / "home" / USER
    site.mkdir()
    home.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(SITE)

    def run(*words):
        environment = {
            "HOME": home, "USER": USER, "LOGNAME": USER, "HOSTNAME": HOST,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])),
            "XDG_CACHE_HOME": home / "cache", "ROBENCH_STORE": root / "store",
        }  # fmt: skip
        return robench(*words, **{key: str(value) for key, value in environment.items()})

    return root, run


def words_in(folder):
    """Return where a distinctive word stands, in names or contents, compressed ones too."""
    found = []
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                content = b"\n".join(
                    [part for name in archive.namelist() for part in (name.encode(), archive.read(name))]
                )
        name = str(path.relative_to(folder))
        found += [(name, word) for word in WORDS if word in name.lower() or word.encode() in content.lower()]
    return found


RUN = ("--attack", "fgsm", "--eps", "16/255", "--defense", "none", "-p", "dataset.size=8", "--gate", "quick")


def test_nothing_that_is_written_names_the_machine_its_user_or_its_folders(there, tmp_path):
    root, run = there
    where = (
        "--dataset", f"folder:{root / USER / 'photos'}", "--victim", f"{root / USER / 'net.py'}:build",
        "--surrogate", f"{root / USER / 'net.py'}:build",
    )  # fmt: skip
    done = run("run", *where, *RUN, "--out", root / "results")
    assert done.code == 0, done.said
    out = root / "results"
    assert run("report", out, "-o", out / "report.html").code == 0
    for name in ("csv", "jsonl", "latex"):
        assert run("export", out / "cards", "--to", name, "-o", out / f"export.{name}").code == 0
    card = next((out / "cards").glob("*.json"))
    assert {"LEADERBOARD.md", "report.html", "index.html", "leaderboard.json", "gallery"} <= {
        path.name for path in out.iterdir()
    }
    assert run("bundle", card, "-o", out / "bundle.zip").code == 0
    assert words_in(out) == []
    assert {path.parts[-3] for path in (root / "store").glob("*/??/*")} >= {"adversarial", "card", "fit", "gallery"}
    assert words_in(root / "store") == []
    content = json.loads(card.read_text())
    assert content["cell"]["dataset"]["parameters"]["path"] == "photos"
    assert content["cell"]["victim"]["parameters"]["path"] == "net.py"
    assert content["cell"]["given"]["dataset"] == "folder:photos"
    assert content["cell"]["given"]["victim"] == ["net.py:build"]
    # And the card is found again all the same: where its files are is remembered outside the store.
    again = run("verify", card, "--trust-code")
    assert "is identical." in again.out, again.said
    # Elsewhere it has to be said.
    shutil.rmtree(root / "home")
    (root / "home" / USER).mkdir(parents=True)
    lost = run("verify", card, "--rerun", "--trust-code")
    assert lost.code == 2
    assert "-p dataset.path=DIR" in lost.said or "photos" in lost.said
    pointed = [f"dataset.path={root / USER / 'photos'}", f"victim.path={root / USER / 'net.py'}"]
    rerun = run("verify", card, "--rerun", "--trust-code", *(word for one in pointed for word in ("-p", one)))
    assert "is identical." in rerun.out, rerun.said
    assert words_in(out) == [], "nor does what verify attests"


def test_a_label_names_what_a_path_was_and_enters_no_id(there):
    root, run = there
    copy = root / "elsewhere" / "copy"
    shutil.copytree(root / USER / "photos", copy)
    victim = ("--victim", f"{root / USER / 'net.py'}:build")
    for place, label, out in (
        (root / USER / "photos", ("--label", "dataset=Swamp flowers", "--label", "victim=My net"), "a"),
        (copy, (), "b"),
    ):
        done = run("run", "--dataset", f"folder:{place}", *victim, *RUN, *label, "--out", root / out)
        assert done.code == 0, done.said
    (first,), (second,) = ([read(path) for path in (root / out / "cards").glob("*.json")] for out in "ab")
    assert first.id == second.id
    assert first.cell.dataset.label == "imagefolder[path=Swamp flowers,size=8]"
    assert first.cell.victim.parameters["path"] == "My net"
    assert second.cell.dataset.label == "imagefolder[path=copy,size=8]", "from the store, under its own name"
    assert second.cell.given["dataset"] == "folder:copy"
    page = run("leaderboard", root / "a" / "cards", root / "b" / "cards", "--out", root / "both")
    assert page.code == 0, page.said
    boards = json.loads((root / "both" / "leaderboard.json").read_text())["boards"]
    assert [len(board["rows"]) for board in boards] == [1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--label", "X"),
            "--label X: neither the dataset nor the victim is given by a path; nothing is left to name.",
        ),
        (
            ("--label", "X", "--dataset", "folder:photos", "--victim", "net.py:build"),
            "--label X: both the dataset and the victim are given by a path; write --label dataset=X.",
        ),
        (
            ("--label", "victim=X", "--dataset", "folder:photos", "--victim", "tiny-clip"),
            "--label victim=X: the victim is not given by one path and has a name; leave it out.",
        ),
        (("--label", "attack=X", "--dataset", "folder:photos", "--victim", "tiny-clip"), "attack has no label"),
        (
            ("--label", "a/b", "--dataset", "folder:photos", "--victim", "tiny-clip"),
            "a label is a name of up to 100 letters",
        ),
        (
            ("--label", "a", "--label", "dataset=b", "--dataset", "folder:photos", "--victim", "tiny-clip"),
            "give the dataset one name",
        ),
    ],
)
def test_a_label_of_nothing_is_refused(robench, tmp_path, words, sentence):
    photos(tmp_path / "photos")
    (tmp_path / "net.py").write_text(NET)
    done = robench("run", *words, "--dry-run")
    assert done.code == 2
    assert sentence in re.sub(r"\s+", " ", done.said)
