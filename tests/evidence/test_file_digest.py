"""Files are read once and remembered; what remembers them may be lost, damaged or locked, and nothing changes."""

from __future__ import annotations

import os
import sqlite3

import pytest

from robench.evidence import file_digest as module
from robench.evidence.file_digest import cache_file, of_files


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Return a folder of three files, written long ago, all worth remembering."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "REMEMBERED", 0)
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for name in ("1.png", "2.png", "cat/1.png"):
        path = tmp_path / "photos" / name
        path.write_bytes(name.encode())
        os.utime(path, (1, 1))
    return tmp_path / "photos"


@pytest.fixture
def read(monkeypatch):
    """Return the files that were read."""
    files, real = [], module._read
    monkeypatch.setattr(module, "_read", lambda path: files.append(path.name) or real(path))
    return files


def test_a_file_is_read_once(photos, read):
    before = of_files([photos])
    assert len(read) == 3
    assert of_files([photos]) == before
    assert len(read) == 3


@pytest.mark.parametrize("size", [b"1.pnG", b"longer"])
def test_an_edited_file_is_read_again_even_with_its_old_time(photos, read, size):
    before = of_files([photos])
    (photos / "1.png").write_bytes(size)
    os.utime(photos / "1.png", (1, 1))
    assert of_files([photos]) != before
    assert read[3:] == ["1.png"]


def test_a_file_written_just_now_is_not_remembered(photos, read):
    (photos / "1.png").write_bytes(b"new")
    of_files([photos])
    of_files([photos])
    assert read.count("1.png") == 1 + 2  # cat/1.png, and 1.png twice
    assert read.count("2.png") == 1


def test_a_copy_elsewhere_is_the_same(photos, tmp_path):
    before = of_files([photos])
    for place, name in enumerate(("1.png", "2.png", "cat/1.png")):
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(name.encode())
        os.utime(target, (place, place))
    assert of_files([tmp_path / "copy"]) == before


def damage_text(file):
    file.write_text("no database" * 1000)


def damage_rows(file):
    with sqlite3.connect(file) as table:
        table.execute("UPDATE contents SET sha256 = 'short', state = state")


def other_table(file):
    file.unlink()
    with sqlite3.connect(file) as table:
        table.execute("CREATE TABLE contents (something TEXT)")


@pytest.mark.parametrize(
    "damage", [os.unlink, damage_text, damage_rows, other_table, lambda file: os.truncate(file, 9)]
)
def test_damage_costs_the_reading_and_nothing_else(photos, read, damage):
    before = of_files([photos])
    damage(cache_file())
    assert of_files([photos]) == before
    assert len(read) == 6


def test_a_cache_that_cannot_be_written_is_done_without(photos, monkeypatch, tmp_path):
    before = of_files([photos])
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(module, "cache_file", lambda: tmp_path / "file" / "contents.sqlite3")
    assert of_files([photos]) == before


def test_small_files_are_not_worth_remembering(photos, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 10**6)
    of_files([photos])
    assert not cache_file().exists()
