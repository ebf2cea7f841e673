"""Whatever happens to the store's objects, a run ends with the same cards: damage costs work, never a number."""

from __future__ import annotations

import json
import shutil

import pytest

from ..without_clocks import without_clocks

KINDS = ("adversarial", "card", "fit", "gallery", "outcomes", "prints", "probes")


def objects(store, kind):
    return sorted(path for path in store.glob(f"{kind}/*/*"))


def flip(path, store):
    for file in path.iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def flip_data(path, store):
    file = path / "data.safetensors"
    if file.exists():
        content = bytearray(file.read_bytes())
        content[-1] ^= 0x80
        file.write_bytes(content)


def truncate(path, store):
    for file in path.iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(path, store):
    for file in path.iterdir():
        file.write_bytes(b"")


def exchange(path, store):
    """Put each object in the place of the next of its kind, whole; of a single one, in the place of another key."""
    row = objects(store, path.parents[1].name)
    other = row[(row.index(path) + 1) % len(row)]
    if other == path:
        path.rename(path.with_name("0" * 64))
        return
    aside = store / "aside"
    for source, target in ((path, aside), (other, path), (aside, other)):
        source.rename(target)


def exchange_data(path, store):
    row = [each for each in objects(store, path.parents[1].name) if (each / "data.safetensors").exists()]
    if path in row:
        other = row[(row.index(path) + 1) % len(row)]
        one, two = path / "data.safetensors", other / "data.safetensors"
        content = one.read_bytes(), two.read_bytes()
        one.write_bytes(content[1])
        two.write_bytes(content[0])


def other_kind(path, store):
    source = next(each for kind in KINDS if kind != path.parents[1].name for each in objects(store, kind))
    shutil.rmtree(path)
    shutil.copytree(source, path)


def foreign(path, store):
    (path / "meta.json").write_text('{"meta": {}, "sha256": "0", "data": null}')


def file_instead(path, store):
    shutil.rmtree(path)
    path.write_text("a file")


def folder_inside(path, store):
    for file in list(path.iterdir()):
        file.unlink()
        file.mkdir()


def lost(path, store):
    shutil.rmtree(path)


def append(path, store):
    for file in path.iterdir():
        file.write_bytes(file.read_bytes() + b"\0")


def zeros(path, store):
    file = path / "data.safetensors"
    if file.exists():
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


def edited(path, store):
    """Write another number into the record, as somebody with a text editor would."""
    file = path / "meta.json"
    record = json.loads(file.read_text())
    record["meta"] = {**record["meta"], "meter": {}, "defended": "0" * 64, "card": "{}"}
    file.write_text(json.dumps(record))


def linked(path, store):
    """Let the place lead to another object of its kind."""
    row = [each for each in objects(store, path.parents[1].name) if each != path and not each.is_symlink()]
    if row:
        shutil.rmtree(path)
        path.symlink_to(row[0])


DAMAGES = (
    flip, flip_data, truncate, empty, exchange, exchange_data, other_kind, foreign, file_instead, folder_inside, lost,
    append, zeros, edited, linked,
)  # fmt: skip


@pytest.fixture
def again(grey):
    """Return a function that runs a small grid, with everything but clocks of its cards."""

    def cards():
        return [without_clocks(card) for card in grey.run(defense="scale", eps="4/255", gallery=True)]

    return cards


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_any_kind_of_object_changes_no_number(grey, again, damage):
    before = again()
    assert {path.name for path in grey.store.iterdir()} >= {*KINDS}
    for kind in KINDS:
        # Cards answer before anything else is looked at; without them each kind is met where it is used.
        shutil.rmtree(grey.store / "card", ignore_errors=kind != "card")
        if kind == "card":
            again()
        if kind in ("adversarial", "fit"):  # met only where something is computed from them
            shutil.rmtree(grey.store / "outcomes", ignore_errors=True)
        for path in objects(grey.store, kind):
            if path.exists():
                damage(path, grey.store)
        assert again() == before, kind


@pytest.mark.parametrize("damage", DAMAGES)
def test_everything_damaged_at_once_is_computed_again_in_one_run(grey, again, damage):
    before = again()
    for kind in KINDS:
        for path in objects(grey.store, kind):
            if path.exists():
                damage(path, grey.store)
    assert again() == before
    assert again() == before
