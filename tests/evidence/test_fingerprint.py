"""Fingerprints change with everything a result depends on, and with nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from robench.contracts.components import Attack
from robench.contracts.parameters import parameter
from robench.errors import DataError
from robench.evidence.code_digest import of_class, of_code
from robench.evidence.file_digest import of_files
from robench.evidence.fingerprint import STAGES, fingerprint, of_component
from robench.evidence.tensor_digests import derived, digest, tensor_digests, weights_digest


class Step(Attack):
    """Take steps."""

    name = "step"
    steps: int = parameter(3, "how many")


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
    assert of_class(Step) == of_code(__name__)
    assert key == {
        "name": "step",
        "version": 1,
        "parameters": {"steps": 5},
        "code": of_code(Step.__module__),
        "files": "",
    }
    monkeypatch.setattr(Step, "version", 2)
    assert of_component(Step(steps=5)) == {**key, "version": 2}


class Weighs(Attack):
    """Read files."""

    name = "weighs"
    kept: str = parameter(default="", help="a file or folder", path=True)
    typed: str = parameter(default="", help="a word")
    known: str = parameter(default="usual", help="a place whose files are compared with checksums", path="checked")

    def files(self):
        return (Path(self.kept),) if self.kept and self.kept != "elsewhere" else ()


def test_where_a_file_lies_is_no_part_of_a_component(tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder / "in").mkdir(parents=True)
        (tmp_path / folder / "in" / "weights").write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    keys = [
        of_component(Weighs(kept=str(kept)))
        for kept in (
            tmp_path / "one",
            tmp_path / "two",
            "one",
            "two/../one",
            "two/in/weights",
            tmp_path / "one/in/weights",
        )
    ]
    assert keys[0] == keys[1] == keys[2] == keys[3] != keys[4] == keys[5]
    assert keys[0]["parameters"] == {"kept": ["local"], "typed": "", "known": "usual"}
    (tmp_path / "two" / "in" / "weights").write_bytes(b"abd")
    assert of_component(Weighs(kept="two")) != keys[0]


def test_only_what_is_declared_a_place_and_is_among_the_files_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for word in ("one", "two"):
        assert of_component(Weighs(kept=word))["parameters"]["kept"] == word  # not there: it may be an id on a hub
        assert of_component(Weighs(typed=word))["parameters"]["typed"] == word
    assert of_component(Weighs(kept="elsewhere"))["parameters"]["kept"] == "elsewhere"  # its content is in no digest
    assert of_component(Weighs(known="here")) == of_component(Weighs(known="there")) == of_component(Weighs())


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


def test_a_folder_is_its_names_and_contents(photos):
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


def test_what_file_managers_leave_behind_does_not_count(photos):
    photo, now = photos
    before = now()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".git/config", "__pycache__/a.pyc"):
        litter = photo.parent / name
        litter.parent.mkdir(exist_ok=True)
        litter.write_text(name)
    assert now() == before


def test_folders_behind_links_count_once(photos, tmp_path):
    photo, now = photos
    before = now()
    photo.parent.rename(tmp_path / "cats")
    (tmp_path / "photos" / "cat").symlink_to(tmp_path / "cats")
    assert now() == before
    (tmp_path / "cats" / "round").symlink_to(tmp_path / "photos")
    assert now() == before


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
    with pytest.raises(
        DataError, match=r"^/ is the root of the file system, with every file there is; name the folder"
    ):
        of_files([Path("/")])


def test_what_may_not_be_read_counts_as_missing(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"a")
    readable = of_files([tmp_path])

    def refuse(place):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
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


def test_what_no_state_dict_holds_is_derived_and_does_not_count():
    model = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    before = weights_digest(model)
    model[1].register_buffer("table", torch.arange(3.0), persistent=False)
    model.register_buffer("own", torch.ones(1), persistent=False)
    assert derived(model) == {"1.table", "own"}
    assert weights_digest(model) == before
    assert {*tensor_digests(model)} == {"0.weight", "0.bias", "1.table", "own"}
    named = weights_digest(model, ["own"])
    assert named != before
    model.own += 1
    assert weights_digest(model, ["own"]) not in (named, before)


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
