"""The store: whole or absent, checked, shared by real processes, and honest about what is damaged."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import resource
import signal
import stat
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load

from robench.errors import StoreError
from robench.evidence.artifact_folder import DATA, META, PACKED, read_checked
from robench.evidence.store import Store, default_root

KEY = "ab" + "0" * 62
TENSORS = {"images": torch.rand(5, 3, 4, 4), "labels": torch.arange(5), "mask": torch.tensor([True, False])}


@pytest.fixture
def told():
    return []


@pytest.fixture
def store(tmp_path, told):
    return Store(tmp_path / "store", told.append)


@pytest.fixture
def again(tmp_path, told):
    """Return a function that opens the same store anew, as another process would."""
    return lambda: Store(tmp_path / "store", told.append)


def files(store):
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


# There and back


def test_an_artifact_comes_back(store, again):
    meta = {"text": "ü\n", "number": 0.1, "none": None, "list": [1, 2.5, True], "nested": {"b": 1, "a": 2}}
    store.put("craft", KEY, meta, TENSORS)
    found = again().get("craft", KEY)
    assert found.meta == meta
    tensors = found.tensors()
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert all(tensors[name].dtype == tensor.dtype for name, tensor in TENSORS.items())
    assert files(store) == [f"craft/ab/{KEY}/{DATA}", f"craft/ab/{KEY}/{META}"]


def test_float32_comes_back_bit_for_bit(store, again):
    eps = torch.tensor([8 / 255, 1e-45, -0.0, 3.4e38, 1 / 3], dtype=torch.float32)
    bits = torch.randint(0, 2**23, (1000,), dtype=torch.int32) | (100 << 23)
    given = torch.cat([eps, bits.view(torch.float32)])
    store.put("craft", KEY, {}, {"x": given})
    assert torch.equal(again().get("craft", KEY).tensors()["x"].view(torch.int32), given.view(torch.int32))


def smooth():
    """Return images as an attack from a clean start leaves them: few values, each often."""
    levels = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0)) // 16 * 16
    return {"images": levels / 255 + 8 / 255 * (levels % 3 - 1.0)}


def noise():
    return {"images": torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))}


def test_what_compression_shrinks_is_compressed_and_comes_back_bit_for_bit(store, again):
    given = smooth()
    store.put("craft", KEY, {"a": 1}, given)
    path = store.folder("craft", KEY)
    assert sorted(file.name for file in path.iterdir()) == [PACKED, META]
    found = again().get("craft", KEY)
    assert found.meta == {"a": 1}
    assert torch.equal(found.tensors()["images"].view(torch.int32), given["images"].view(torch.int32))
    assert (path / PACKED).stat().st_size < 0.75 * given["images"].nbytes
    assert load(gzip.decompress((path / PACKED).read_bytes())).keys() == given.keys(), "gunzip gives a safetensors file"


def test_a_large_file_is_compressed_in_parts_and_still_one_file_to_gunzip(store, again):
    tensors = {"x": torch.arange(2_500_000) % 100}  # 20 MB, in parts of 8 MiB
    found = store.put("fit", KEY, {}, tensors)
    packed = (found.path / PACKED).read_bytes()
    assert packed.count(b"\x1f\x8b\x08\x00\x00\x00\x00\x00") == 3
    assert torch.equal(load(gzip.decompress(packed))["x"], tensors["x"])
    assert torch.equal(again().get("fit", KEY).tensors()["x"], tensors["x"])
    assert subprocess.run(["gzip", "-t", str(found.path / PACKED)], check=False).returncode == 0


def test_what_compression_does_not_shrink_stays_as_it_is(store):
    store.put("craft", KEY, {}, noise())
    assert (store.folder("craft", KEY) / DATA).exists()


def test_an_artifact_that_was_stored_uncompressed_still_reads(store, again, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("robench.evidence.artifact_folder.LEAST", 2**40)
        store.put("craft", KEY, {}, smooth())
    assert (store.folder("craft", KEY) / DATA).exists()
    assert torch.equal(again().get("craft", KEY).tensors()["images"], smooth()["images"])


def test_an_artifact_that_zlib_compressed_still_reads(store, again, monkeypatch):
    def member(content, start):
        return gzip.compress(b"".join(content)[start : start + 2**16], 1, mtime=0)

    with monkeypatch.context() as patch:
        patch.setattr("robench.evidence.artifact_folder._BLOCK", 2**16)
        patch.setattr("robench.evidence.artifact_folder._member", member)
        path = store.put("craft", KEY, {}, smooth()).path
    assert (path / PACKED).read_bytes().count(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04") == 2
    assert torch.equal(again().get("craft", KEY).tensors()["images"], smooth()["images"])
    assert load(again().get("craft", KEY).content()).keys() == {"images"}


def test_what_was_removed_while_it_was_in_use_is_said(store):
    found = store.put("craft", KEY, {}, smooth())
    assert store.remove("craft", KEY)
    with pytest.raises(StoreError, match=r"was removed while it was in use \(by robench store prune\?\); start again"):
        found.tensors()
    assert store.get("craft", KEY) is None


def test_what_another_process_works_on_is_not_removed(store, again):
    store.put("craft", KEY, {"a": 1})
    with again().lock("craft", KEY):
        assert not store.remove("craft", KEY)
    assert again().get("craft", KEY).meta == {"a": 1}


def test_an_artifact_can_be_replaced(store, again):
    store.put("craft", KEY, {"a": 1}, TENSORS)
    assert store.replace("craft", KEY, {"a": 2}).meta == {"a": 2}
    assert again().get("craft", KEY).meta == {"a": 2}
    assert list((store.root / "tmp").iterdir()) == []


def test_the_time_of_an_artifact_is_that_of_its_last_use(store, again):
    record = store.put("craft", KEY, {}).path / META
    recently, long_ago = time.time() - 3600, time.time() - 30 * 86400
    for before, kept in ((recently, True), (long_ago, False)):
        os.utime(record, (before, before))
        again().get("craft", KEY)
        assert (abs(record.stat().st_mtime - before) < 1) is kept
    assert time.time() - record.stat().st_mtime < 60


def test_views_and_gradients_are_stored_as_values(store):
    weight = torch.rand(4, 6, requires_grad=True)
    stored = store.put("fit", KEY, {}, {"weight": weight.T, "row": weight[1]}).tensors()
    assert torch.equal(stored["weight"], weight.T)
    assert torch.equal(stored["row"], weight[1])
    assert not stored["weight"].requires_grad


def test_without_tensors_there_is_only_the_metadata(store, again):
    store.put("judge", KEY, {"gap": 0.5})
    assert files(store) == [f"judge/ab/{KEY}/{META}"]
    assert again().get("judge", KEY).meta == {"gap": 0.5}


def test_keys_that_are_numbers_do_not_damage_their_artifact(store, again, told):
    store.put("judge", KEY, {"by_class": {2: "b", 10: "a"}})
    assert again().get("judge", KEY).meta == {"by_class": {"2": "b", "10": "a"}}
    assert told == []


def test_what_is_not_there_is_none(store, told):
    assert store.get("craft", KEY) is None
    assert told == []


def test_kinds_are_kept_apart(store):
    store.put("fit", KEY, {"a": 1})
    assert store.get("craft", KEY) is None


def test_the_first_of_two_writes_stays(store, again):
    store.put("fit", KEY, {"writer": 1}, {"x": torch.ones(1)})
    second = again().put("fit", KEY, {"writer": 2}, {"x": torch.zeros(1)})
    assert second.meta == {"writer": 1}
    assert second.tensors()["x"].item() == 1
    assert list((store.root / "tmp").iterdir()) == []


def test_an_artifact_is_checked_once_a_process(store, monkeypatch):
    from robench.evidence import store as module

    read, real = [], module.read_checked
    monkeypatch.setattr(module, "read_checked", lambda path: read.append(path) or real(path))
    store.put("fit", KEY, {})
    store.get("fit", KEY)
    assert len(read) == 1  # to see that it is not there: what this process wrote it need not read


@pytest.mark.parametrize("kind", ["random", "zeros"])
def test_what_is_written_is_hashed_once(store, monkeypatch, kind):
    from robench.contracts import hashed_file

    read, written = [], []

    class Counted:
        def __init__(self, content=b""):
            self.real = hashlib_sha256(content)

        def update(self, content):
            written.append(memoryview(content).nbytes)
            self.real.update(content)

        def hexdigest(self):
            return self.real.hexdigest()

    hashlib_sha256, of_file = hashlib.sha256, hashlib.file_digest
    monkeypatch.setattr(hashed_file, "hashlib", SimpleNamespace(sha256=Counted))
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.append(file.name) or of_file(file, name))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2**18,), dtype=torch.uint8, generator=generator)
    found = store.put("fit", KEY, {}, {"x": noise if kind == "random" else torch.zeros(2**16)})
    store.get("fit", KEY)
    size = sum(file.stat().st_size for file in found.path.glob("data*"))
    assert (len(read), sum(written)) == (0, size), "nothing is read again for its digest"


# Interrupted writes


@pytest.mark.parametrize("step", ["json.dump", "os.fsync", "safetensors.torch.save", "pathlib.Path.rename"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_nothing(store, monkeypatch, step, error):
    def interrupt(*args, **kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, interrupt)
        with pytest.raises(error):
            store.put("fit", KEY, {"a": 1}, TENSORS)
    assert files(store) == []
    assert store.get("fit", KEY) is None
    assert store.put("fit", KEY, {"a": 1}, TENSORS).meta == {"a": 1}


@pytest.mark.parametrize("meta", [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}])
def test_what_json_cannot_hold_is_not_stored(store, meta):
    with pytest.raises((ValueError, TypeError)):
        store.put("fit", KEY, meta)
    assert files(store) == []


def test_a_write_killed_half_way_leaves_no_artifact(store, again):
    code = (
        "import os, sys, torch\n"
        "from pathlib import Path\n"
        "from robench.evidence.store import Store\n"
        "os.fsync = lambda number: os.kill(os.getpid(), 9)\n"
        "Store(Path(sys.argv[1])).put('fit', sys.argv[2], {}, {'x': torch.zeros(9)})\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.root), KEY], check=False).returncode == -signal.SIGKILL
    assert again().get("fit", KEY) is None
    assert again().put("fit", KEY, {"a": 1}).meta == {"a": 1}


def test_a_full_disk_is_said_in_a_sentence(store):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from robench.errors import StoreError\n"
        "from robench.evidence.store import Store\n"
        "try:\n"
        "    Store(Path(sys.argv[1])).put('fit', sys.argv[2], {}, {'x': torch.zeros(10000)})\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(store.root), KEY]
    done = subprocess.run(command, preexec_fn=small, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith(f"The store at {store.root} cannot be written (")
    assert "File too large" in done.stdout
    assert done.stdout.endswith(
        "). Free some space or mend the permissions, or choose another folder with --store; "
        "what is already stored stays valid.\n"
    )
    assert files(store) == []


# Damage


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def edit(path):
    checks = json.loads(path.read_text())
    checks["meta"]["correct"] = 999
    path.write_text(json.dumps(checks))


def foreign(path):
    path.write_text('["something", "else"]')


@pytest.mark.parametrize("seen", [FileNotFoundError("meta.json"), ValueError("its tensors are not those it was")])
def test_what_another_process_stores_during_a_look_is_not_taken_for_damage(store, again, told, monkeypatch, seen):
    """Between a look and its answer another process may have stored the artifact, or replaced it."""
    other, looks = again(), []
    if isinstance(seen, ValueError):
        other.put("craft", KEY, {"round": 0})

    def read_late(path):
        looks.append(path)
        if len(looks) == 1:
            monkeypatch.setattr("robench.evidence.store.read_checked", read_checked)
            other.replace("craft", KEY, {"round": 1})
            monkeypatch.setattr("robench.evidence.store.read_checked", read_late)
            raise seen
        return read_checked(path)

    monkeypatch.setattr("robench.evidence.store.read_checked", read_late)
    assert store.get("craft", KEY).meta == {"round": 1}
    assert told == []
    assert len(looks) == 2
    assert again().get("craft", KEY).meta == {"round": 1}


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        (DATA, cut, "its tensors do not match their checksum"),
        (DATA, flip, "its tensors do not match their checksum"),
        (DATA, lambda path: path.unlink(), "a file is missing"),
        (META, lambda path: path.unlink(), "a file is missing"),
        (META, edit, "its metadata does not match its checksum"),
        (META, foreign, "its metadata is not what robench writes"),
        (META, lambda path: path.write_text(""), "Expecting value: line 1 column 1 (char 0)"),
        (META, lambda path: path.write_bytes(b"\xff"), "'utf-8' codec can't decode byte 0xff in position 0: "),
    ],
)
def test_a_damaged_artifact_is_set_aside_reported_and_computed_again(store, again, told, name, damage, reason):
    path = store.put("craft", KEY, {"correct": 5}, TENSORS).path
    damage(path / name)
    later = again()
    assert later.get("craft", KEY) is None
    (aside,) = (store.root / "tmp").iterdir()
    assert aside.name.startswith("damaged-")
    assert [each.name for each in aside.iterdir()] == [KEY]
    (text,) = told
    assert text.startswith(f"{path} is damaged ({reason}")
    assert text.endswith(f"); it was moved to {aside} and is computed again.")
    assert later.put("craft", KEY, {"correct": 5}, TENSORS).meta == {"correct": 5}
    assert again().get("craft", KEY).meta == {"correct": 5}
    assert len(told) == 1


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_compressed_file_is_noticed(store, again, told, damage):
    damage(store.put("craft", KEY, {}, smooth()).path / PACKED)
    assert again().get("craft", KEY) is None
    assert len(told) == 1


def test_damage_that_another_process_moved_first_is_no_error(store, told):
    path = store.put("craft", KEY, {}, TENSORS).path
    path.rename(store.root / "elsewhere")
    store._set_aside(path, "a file is missing")
    assert told == []
    assert list((store.root / "tmp").iterdir()) == []


def test_what_does_not_read_back_is_an_error(store, monkeypatch):
    monkeypatch.setattr(store, "get", lambda kind, key: None)
    monkeypatch.setattr(store, "_write", lambda *given: None)  # another run was faster
    with pytest.raises(StoreError) as raised:
        store.put("fit", KEY, {})
    assert str(raised.value) == (
        f"What another run wrote to {store.folder('fit', KEY)} does not read back; check the disk."
    )


def test_a_file_or_folder_in_the_place_of_another_is_damage(store, again, told):
    path = store.folder("fit", KEY)
    path.parent.mkdir(parents=True)
    path.write_text("a file where a folder should be")
    assert store.get("fit", KEY) is None
    (path / META).mkdir(parents=True)
    assert store.get("fit", KEY) is None
    assert store.put("fit", KEY, {"a": 1}).meta == again().get("fit", KEY).meta == {"a": 1}
    assert ["something else is in its place" in text for text in told] == [True, True]


def test_a_folder_of_artifacts_that_is_a_file_is_named(store):
    path = store.folder("fit", KEY)
    path.parent.parent.mkdir(parents=True)
    path.parent.write_text("a file where a folder should be")
    with pytest.raises(StoreError) as raised:
        store.get("fit", KEY)
    assert str(raised.value) == f"The store needs a folder at {path.parent}, where a file is; remove that."


@pytest.mark.parametrize("other", [("fit", KEY[::-1]), ("craft", KEY), ("craft", KEY[::-1])])
def test_an_artifact_in_the_place_of_another_is_none(store, again, told, other):
    store.put("fit", KEY, {"whose": "own"}, TENSORS)
    store.put(*other, {"whose": "other"}, TENSORS)
    one, two = store.folder("fit", KEY), store.folder(*other)
    aside = store.root / "aside"
    for source, target in ((one, aside), (two, one), (aside, two)):
        source.rename(target)
    later = again()
    assert later.get("fit", KEY) is None
    assert later.get(*other) is None
    assert [", in the place of another); it was moved to" in text for text in told] == [True, True]
    assert later.put("fit", KEY, {"whose": "again"}).meta == {"whose": "again"}


def test_exchanged_tensors_are_found_out(store, again):
    paths = [
        store.put("fit", key, {}, {"x": torch.full((3,), place)}).path for place, key in enumerate((KEY, KEY[::-1]))
    ]
    one, two = (path / DATA for path in paths)
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    assert again().get("fit", KEY) is again().get("fit", KEY[::-1]) is None


def test_both_files_of_an_artifact_say_what_it_is(store):
    from safetensors import safe_open

    path = store.put("fit", KEY, {}, TENSORS).path
    checks = json.loads((path / META).read_text())
    with safe_open(path / DATA, "pt") as file:
        assert file.metadata() == {"kind": "fit", "key": KEY} == {name: checks[name] for name in ("kind", "key")}


def test_damage_that_nobody_looked_at_does_not_stand_in_the_way(store, again, told):
    # Two cards of one group: the first is found damaged, and both are written again.
    for key in (KEY, KEY[::-1]):
        flip(store.put("card", key, {"a": 1}).path / META)
    later = again()
    for key in (KEY, KEY[::-1]):
        assert later.put("card", key, {"a": 1}).meta == {"a": 1}
    assert len(told) == 2


# Several users


@pytest.fixture
def umask():
    before = os.umask(0o002)
    yield
    os.umask(before)


def test_a_group_shares_what_one_of_it_writes(tmp_path, umask):
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o2775)
    store = Store(root)
    store.put("fit", KEY, {}, TENSORS)
    with store.lock("fit", KEY):
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o664}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o2775}
    assert len([path for path in modes if path.is_file()]) == 3


@pytest.fixture
def nobody():
    """Be a user who may not write others' folders."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield
    os.seteuid(before)


def test_a_store_that_cannot_be_written_answers_what_it_has(tmp_path, request, told):
    for folder in tmp_path.parents[:3]:
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    root = tmp_path / "store"
    Store(root).put("fit", KEY, {"a": 1}, TENSORS)
    flip(Store(root).put("fit", KEY[::-1], {"a": 1}, TENSORS).path / DATA)
    for path in root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    root.chmod(0o555)
    request.getfixturevalue("nobody")
    store = Store(root, told.append)
    assert store.read_only
    with store.lock("fit", KEY):
        assert store.get("fit", KEY).tensors().keys() == TENSORS.keys()
    assert store.put("fit", KEY, {"a": 2}).meta == {"a": 1}
    assert store.get("fit", KEY[::-1]) is None
    assert told[0].endswith(
        "(its tensors do not match their checksum), and the store cannot be written; it is not used."
    )
    with pytest.raises(StoreError, match=r"^The store at .* cannot be written \(Permission denied\)"):
        store.put("craft", KEY, {})


# What killed runs leave behind


def test_what_a_killed_run_was_writing_is_collected(store, again):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    gone, here = int(done.stdout), f"{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}"
    names = {
        f"writing-{here}-{gone}-a": False,
        f"writing-{here}-{os.getpid()}-a": True,
        "writing-elsewhere-1-a": True,
        "writing-elsewhere-1-b": False,
        "fit-abc.partial": True,
        "damaged-x": True,
    }
    for name in names:
        (store.root / "tmp" / name).mkdir()
        (store.root / "tmp" / name / META).write_text("{")
    os.utime(store.root / "tmp" / "writing-elsewhere-1-b", (1, 1))
    again()
    assert {name: (store.root / "tmp" / name).exists() for name in names} == names


# Several processes

WRITER = (
    "import sys, torch\n"
    "from pathlib import Path\n"
    "from robench.evidence.store import Store\n"
    "store, key, writer = Store(Path(sys.argv[1]), print), sys.argv[2], sys.argv[3]\n"
    "for round in range(30):\n"
    "    torch.manual_seed(round)\n"
    "    found = store.put('craft', f'{round:02d}' + key, {'round': round}, {'x': torch.rand(2000)})\n"
    "    torch.manual_seed(round)\n"
    "    assert torch.equal(found.tensors()['x'], torch.rand(2000))\n"
    "    assert found.meta == {'round': round}\n"
)


def start(code, *words):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_may_write_the_same_keys(store, told):
    processes = [start(WRITER, store.root, KEY, writer) for writer in range(2)]
    assert [process.communicate(timeout=800) for process in processes] == [("", ""), ("", "")]
    assert [process.returncode for process in processes] == [0, 0]
    assert all(store.get("craft", f"{place:02d}{KEY}").meta == {"round": place} for place in range(30))
    assert len(files(store)) == 60
    assert told == []


WORKER = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from robench.evidence.store import Store\n"
    "store, key = Store(Path(sys.argv[1])), sys.argv[2]\n"
    "with store.lock('fit', key):\n"
    "    if store.get('fit', key) is None:\n"
    "        print('works', flush=True)\n"
    "        time.sleep(float(sys.argv[3]))\n"
    "        store.put('fit', key, {'done': True})\n"
)


def test_a_lock_lets_one_process_do_the_work(store):
    processes = [start(WORKER, store.root, KEY, 0.5) for _ in range(2)]
    said = [process.communicate(timeout=800) for process in processes]
    assert sorted(said) == [("", ""), ("works\n", "")]


def test_a_killed_holder_releases_its_lock(store):
    holder = start(WORKER, store.root, KEY, 600)
    assert holder.stdout.readline() == "works\n"
    waiting = start(WORKER, store.root, KEY, 0)
    time.sleep(0.3)
    assert waiting.poll() is None
    holder.kill()
    holder.communicate(timeout=800)
    assert waiting.communicate(timeout=800) == ("works\n", "")
    assert store.get("fit", KEY).meta == {"done": True}


def test_locks_of_other_work_do_not_wait(store, again):
    with store.lock("fit", KEY), again().lock("craft", KEY), again().lock("fit", KEY[::-1]):
        pass


# Where it is


def test_unfinished_work_has_a_place_of_its_own(store):
    places = {store.scratch(kind, key) for kind in ("fit", "craft") for key in (KEY, KEY[::-1])}
    assert len(places) == 4
    assert {place.parent for place in places} == {store.root / "tmp"}


def test_a_root_that_cannot_be_written_is_named_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as raised:
        Store(tmp_path / "file" / "store")
    assert str(raised.value) == (
        f"The store at {tmp_path / 'file' / 'store'} cannot be written (Not a directory). Free some space or mend "
        "the permissions, or choose another folder with --store; what is already stored stays valid."
    )


def test_a_new_root_without_permission_is_named_at_once(tmp_path, request):
    for folder in (*tmp_path.parents[:3], tmp_path):
        folder.chmod(0o755)
    request.getfixturevalue("nobody")
    with pytest.raises(StoreError, match=r"cannot be written \(Permission denied\)"):
        Store(tmp_path / "store")


def test_the_default_root_is_named_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBENCH_STORE", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("ROBENCH_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_root().name == "store"
    assert "robench" in str(default_root())


def test_opening_a_store_imports_no_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from robench.evidence.store import Store\n"
        "Store(Path(sys.argv[1])).put('fit', 'abc', {'a': 1}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


# Keys of strangers


@pytest.mark.parametrize("key", ["", ".", "..", "../x", "a/b", "/etc", "a\0", "a b", "a.b", "é"])
def test_a_key_that_could_lead_elsewhere_is_refused(tmp_path, key):
    store = Store(tmp_path / "store")
    for use in (store.folder, store.get):
        with pytest.raises(StoreError, match="is no key of the store"):
            use("outcomes", key)
