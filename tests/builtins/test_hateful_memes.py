"""Hateful Memes in the challenge's layout: which lists are which split, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robench import DataError
from robench.testing import check_component
from robench_builtins.datasets.hateful_memes import HatefulMemes

from .torchvision_layouts import put

#: List -> ids of its memes; odd ones are hateful. Some are in both lists of dev, as in the real ones.
LISTS = {
    "train": range(100, 120),
    "dev_seen": range(200, 206),
    "dev_unseen": range(203, 209),
    "test_seen": range(300, 304),
    "test_unseen": range(400, 403),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder that holds hateful_memes."""
    memes = tmp_path / "hateful_memes"
    for name, ids in LISTS.items():
        for number in ids:
            put(memes / "img" / f"{number:05d}.png", number)
        lines = [{"id": number, "img": f"img/{number:05d}.png", "label": number % 2, "text": "é"} for number in ids]
        (memes / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path


def test_lists_are_the_splits_and_no_image_is_in_two(root: Path) -> None:
    data = HatefulMemes(path=str(root), size=16)
    assert (data.classes(), data.templates) == (("meme", "hatespeech meme"), ("a {}.",))
    test = data.load("test")
    assert (test.shape, test.labels.tolist()) == ((3, 16, 16), [0, 1, 0, 1, 0, 1, 0])
    assert [len(data.load(split)) for split in ("train", "val")] == [20, 9]
    assert HatefulMemes(path=str(root / "hateful_memes"), size=16).load("test").fingerprint == test.fingerprint
    leaked = root / "hateful_memes/train.jsonl"
    leaked.write_text(leaked.read_text() + '{"img": "img/00300.png", "label": 0}\n')
    assert len(HatefulMemes(path=str(root), size=16).load("train")) == 20


def test_it_conforms(root: Path) -> None:
    results = check_component(HatefulMemes(path=str(root), size=16))
    assert {result.name: result.sentence for result in results if result.status != "passed"} == {}


def test_what_is_not_there_is_told_with_its_place(tmp_path: Path, root: Path) -> None:
    data = HatefulMemes(path=str(tmp_path / "none"))
    (sentence,) = data.missing()
    assert sentence == (
        "hateful-memes (4 GB) has to be downloaded by hand, after its licence is agreed to at "
        f"https://hatefulmemeschallenge.com: put img/ and its lists into {tmp_path}/none/hateful_memes, or pass "
        "-p hateful-memes.path=DIR."
    )
    with pytest.raises(DataError, match=r"^hateful-memes \(4 GB\) has to be downloaded by hand"):
        data.load("test")
    for name in ("test_seen", "test_unseen"):
        (root / f"hateful_memes/{name}.jsonl").unlink()
    with pytest.raises(DataError, match=r"^hateful-memes needs test_seen.jsonl and test_unseen.jsonl in \S+ for"):
        HatefulMemes(path=str(root)).load("test")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1 of"),
        ("[" * 100_000, 'is no {"img": ..., "label": 0 or 1}'),
        ('{"img": "img/00300.png"}', 'is no {"img": ..., "label": 0 or 1}'),
        ("3", 'is no {"img": ..., "label": 0 or 1}'),
        ('{"img": "img/00300.png", "label": 2}', "has the label 2, which is not 0 or 1"),
        ('{"img": "img/00300.png", "label": true}', "has the label True"),
        ('{"img": "img/00300.png", "label": "0"}', "has the label 0"),
        ('{"img": "img/../../x.png", "label": 0}', "names 'img/../../x.png', which is no image in img/"),
        ('{"img": "/etc/passwd", "label": 0}', "names '/etc/passwd'"),
        ('{"img": "img/..\\\\x.png", "label": 0}', "which is no image in img/"),
        ('{"img": 3, "label": 0}', "names '3', which is no image"),
        ('{"img": "img/00400.png", "label": 1}', "give 'img/00400.png' both labels"),
        ('{"img": "img/gone.png", "label": 1}', "gone.png cannot be read"),
        ("\udcff", "cannot read"),
    ],
)
def test_damaged_and_hostile_lists_are_refused(line: str, says: str, root: Path) -> None:
    (root / "hateful_memes/test_seen.jsonl").write_bytes(line.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError) as caught:
        HatefulMemes(path=str(root), size=16).load("test").images()
    assert says in str(caught.value)
