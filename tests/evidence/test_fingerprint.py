"""Fingerprints change with everything a result depends on, and with nothing else."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from robench.contracts.components import Attack
from robench.contracts.parameters import parameter
from robench.evidence import fingerprint as module
from robench.evidence.fingerprint import STAGES, fingerprint, of_code, of_component, of_files
from robench.evidence.tensor_digests import digest, tensor_digests, weights_digest


class Step(Attack):
    """Take steps."""

    name = "step"
    steps: int = parameter(3, "how many")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that imports a fresh package made of the given files and hashes its code."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def code(name, files, module_name=None):
        for path, text in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        importlib.invalidate_caches()
        importlib.import_module(module_name or name)
        made.append(name)
        of_code.cache_clear()
        return of_code(module_name or name)

    yield code
    for name in list(sys.modules):
        if name.partition(".")[0] in made:
            del sys.modules[name]
    of_code.cache_clear()


# Of a stage


def test_a_fingerprint_is_the_hash_of_its_inputs_as_json():
    text = json.dumps({"stage": "fit", "version": STAGES["fit"], "b": 1, "a": [2.5, None]}, sort_keys=True)
    assert fingerprint("fit", b=1, a=[2.5, None]) == hashlib.sha256(text.encode()).hexdigest()


def test_a_fingerprint_depends_on_stage_version_names_and_values(monkeypatch):
    base = fingerprint("fit", a=1, b=2)
    assert fingerprint("fit", b=2, a=1) == base
    seen = {base, fingerprint("craft", a=1, b=2), fingerprint("fit", a=2, b=1), fingerprint("fit", a=1)}
    monkeypatch.setitem(STAGES, "fit", STAGES["fit"] + 1)
    assert len(seen | {fingerprint("fit", a=1, b=2)}) == 5


def test_an_unknown_stage_or_a_value_json_lacks_is_an_error():
    with pytest.raises(KeyError, match="bake"):
        fingerprint("bake")
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint("fit", eps=float("nan"))


# Of a component


def test_a_component_is_its_name_version_parameters_code_and_files(monkeypatch):
    key = of_component(Step(steps=5))
    assert key == {
        "name": "step",
        "version": 1,
        "parameters": {"steps": 5},
        "code": of_code(Step.__module__),
        "files": "",
    }
    monkeypatch.setattr(Step, "version", 2)
    assert of_component(Step(steps=5)) == {**key, "version": 2}


def test_editing_any_file_of_a_package_changes_its_code(package):
    files = {"robtoy/__init__.py": "", "robtoy/inner/__init__.py": "", "robtoy/inner/attack.py": "x = 1"}
    prints = [
        package("robtoy", files),
        package("robtoy", {"robtoy/inner/attack.py": "x = 2"}),
        package("robtoy", {"robtoy/helper.py": ""}),
        package("robtoy", {"robtoy/data.txt": "not code"}),
    ]
    assert len(set(prints)) == 3
    assert prints[3] == prints[2]
    assert package("robtoy", {}, "robtoy.inner.attack") == prints[2]


def test_a_single_module_is_its_own_file(package):
    first = package("robsingle", {"robsingle.py": "x = 1", "neighbour.py": "x = 1"})
    assert package("robsingle", {"neighbour.py": "x = 2"}) == first
    assert package("robsingle", {"robsingle.py": "x = 2"}) != first


def test_a_huge_package_is_represented_by_the_components_own_module(package, monkeypatch):
    monkeypatch.setattr(module, "MOST_SOURCES", 2)
    files = {"robhuge/__init__.py": "", "robhuge/a.py": "x = 1", "robhuge/b.py": "x = 1"}
    first = package("robhuge", files, "robhuge.a")
    assert package("robhuge", {"robhuge/b.py": "x = 2"}, "robhuge.a") == first
    assert package("robhuge", {"robhuge/a.py": "x = 2"}, "robhuge.a") != first


def test_what_has_no_file_is_its_name():
    of_code.cache_clear()
    assert of_code("nowhere.at.all") == hashlib.sha256(b"nowhere.at.all").hexdigest()


# Of files


def test_no_files_are_the_empty_text():
    assert of_files(()) == ""


def test_a_files_content_and_absence_count(tmp_path):
    path = tmp_path / "weights"
    seen = {of_files([path])}
    for content in (b"", b"one", b"two"):
        path.write_bytes(content)
        seen.add(of_files([path]))
    assert len(seen) == 4
    os.utime(path, (1, 1))
    assert of_files([path]) in seen


@pytest.fixture
def photos(tmp_path):
    """Return a folder with one file, changed long ago, and a function that says what the folder's hash is now."""
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    photo = tmp_path / "photos" / "cat" / "1.png"
    photo.write_bytes(b"abc")
    os.utime(photo, (1, 1))
    return photo, lambda: of_files([tmp_path / "photos"])


def test_a_small_folder_is_its_names_and_contents(photos):
    photo, now = photos
    seen = [now()]
    os.utime(photo, (2, 2))
    assert now() == seen[0]
    photo.write_bytes(b"abd")
    seen.append(now())
    photo = photo.rename(photo.with_name("2.png"))
    seen.append(now())
    photo = photo.rename(photo.parents[1] / "2.png")
    seen.append(now())
    photo.unlink()
    assert len({*seen, now()}) == 5


def test_a_folder_of_many_files_is_its_names_sizes_and_times(photos, monkeypatch):
    monkeypatch.setattr(module, "MOST_READ", 0)
    photo, now = photos
    seen = [now()]
    os.utime(photo, (2, 2))
    seen.append(now())
    photo.write_bytes(b"abcd")
    os.utime(photo, (2, 2))
    seen.append(now())
    photo.rename(photo.with_name("2.png"))
    assert len({*seen, now()}) == 4


def test_where_files_lie_does_not_matter(photos, tmp_path):
    _, now = photos
    before = now()
    moved = (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert of_files([moved]) == before
    assert of_files([moved / "cat" / "1.png"]) != before


def test_a_dangling_link_in_a_folder_is_passed_over(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert len(of_files([tmp_path])) == 64


def test_a_folder_behind_a_link_counts_once_whatever_leads_to_it(tmp_path):
    photos, store = tmp_path / "photos", tmp_path / "store"
    (photos / "cat").mkdir(parents=True)
    store.mkdir()
    (store / "a.png").write_bytes(b"a")
    (photos / "cat" / "linked").symlink_to(store)
    before = of_files([photos])
    (store / "a.png").write_bytes(b"b")
    assert of_files([photos]) != before
    (store / "a.png").write_bytes(b"a")
    assert of_files([photos]) == before
    for link, target in (("again", photos / "cat"), ("up", ".."), ("all", "/"), ("same", store)):
        (photos / "cat" / link).symlink_to(target)
    assert of_files([photos]) == before


def test_what_is_no_file_or_has_an_odd_name_has_a_fingerprint(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    before = of_files([tmp_path])
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert of_files([tmp_path]) == before
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    assert of_files([tmp_path]) != before


def test_the_whole_file_system_is_not_read(tmp_path):
    assert of_files([module.Path("/")]) == of_files([module.Path("/")])


def test_what_may_not_be_read_counts_as_missing(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"a")
    readable = of_files([tmp_path])

    def refuse(place):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module.os, "scandir", refuse)
    assert of_files([tmp_path]) != readable


# Of tensors


def test_a_tensors_digest_pins_shape_type_and_bytes():
    base = torch.arange(6, dtype=torch.float32)
    others = [base.view(2, 3), base.double(), base.int(), base + 1e-6, base.flip(0)]
    assert len({digest(base), *map(digest, others)}) == 6
    assert digest(torch.zeros(2, 3).T) == digest(torch.zeros(3, 2))
    assert digest(base.requires_grad_(True)) == digest(torch.arange(6, dtype=torch.float32))


def test_zero_and_minus_zero_are_two_tensors():
    assert digest(torch.tensor(0.0)) != digest(torch.tensor(-0.0))


def test_weights_are_parameters_and_buffers_by_name():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    names = list(tensor_digests(model))
    assert names == sorted(names)
    assert set(names) == set(model.state_dict())
    before = weights_digest(model)
    assert weights_digest(model.eval().requires_grad_(False)) == before
    model[1].running_mean += 1
    assert weights_digest(model) != before


def test_swapped_weights_are_other_weights():
    first, second = torch.rand(2, 2), torch.rand(2, 2)
    models = []
    for pair in ((first, second), (second, first)):
        model = nn.ParameterDict({"a": nn.Parameter(pair[0]), "b": nn.Parameter(pair[1])})
        models.append(weights_digest(model))
    assert models[0] != models[1]


def test_the_module_imports_no_torch():
    code = "import sys, robench.evidence.fingerprint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
