"""`robench doctor` finds what is broken, says what to do, and mends nothing by itself."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import threading

import pytest

from robench.cli import doctor_checks, doctor_gpu, doctor_store

LINES = ["python", "cpu", "memory", "disk", "store", "locks", "plugins", "versions", "hub", "torch", "cuda", "tf32"]


@pytest.fixture
def doctor(robench):
    """Return a function that runs it and gives the exit code and the findings by name."""

    def run(*words, **environment):
        done = robench("doctor", "--json", *words, **environment)
        found = {}
        for check in json.loads(done.out)["checks"]:
            found.setdefault(check["name"], []).append(check)
        return done.code, found

    return run


def only(found, name):
    (check,) = found[name]
    return check["status"], check["detail"], check["remedy"]


def test_a_sound_machine_with_a_used_store(robench, real_run):
    done = robench("doctor", "--offline", "--deep", "--store", real_run.store)
    assert done.code == 0, done.said
    lines = [line for line in done.out.splitlines() if not line.startswith(" ")]
    assert [line[6:].split()[0] for line in lines] == LINES
    assert {line[:5].strip() for line in lines} <= {"ok", "warn"}
    (store,) = [line for line in lines if " store " in line]
    counts = {path.name: len(list(path.glob("??/*"))) for path in real_run.store.iterdir()}
    assert counts["card"] == 4
    for kind in ("adversarial", "card", "fit", "outcomes"):
        assert f"{counts[kind]} {kind}" in store
    assert "all read" in store
    assert "hub         not asked (offline)" in done.out


def test_a_store_that_is_not_there_yet_is_not_made(doctor, tmp_path):
    code, found = doctor("--offline", "--store", tmp_path / "new" / "store")
    assert code == 0
    assert only(found, "store")[:2] == ("ok", f"{tmp_path / 'new' / 'store'} is not there yet; the first run makes it")
    assert not (tmp_path / "new").exists()


def artifact(store, kind="outcomes"):
    return next(path for path in sorted((store / kind).glob("??/*")) if (path / "data.safetensors").exists())


def test_a_damaged_record_is_found_and_left_where_it_is(doctor, copied_run):
    path = artifact(copied_run.store)
    (path / "meta.json").write_text((path / "meta.json").read_text().replace("{", "{ ", 1)[:-2])
    code, found = doctor("--offline", "--store", copied_run.store)
    assert code == 0
    damaged = found["store"][1]
    assert damaged["status"] == "warn"
    assert damaged["detail"].startswith(f"{path} is damaged (")
    assert damaged["remedy"] == "Delete that folder; a run computes it again."
    assert path.is_dir()


def test_a_damaged_tensor_is_found_by_deep_alone(doctor, copied_run):
    path = artifact(copied_run.store)
    content = bytearray((path / "data.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "data.safetensors").write_bytes(content)
    assert len(doctor("--offline", "--store", copied_run.store)[1]["store"]) == 1
    found = doctor("--offline", "--deep", "--store", copied_run.store)[1]["store"]
    assert found[1]["detail"] == f"{path} is damaged (its tensors do not match their checksum)"


def test_a_missing_tensor_is_found_without_deep(doctor, copied_run):
    path = artifact(copied_run.store)
    (path / "data.safetensors").unlink()
    assert f"{path} is damaged (" in doctor("--offline", "--store", copied_run.store)[1]["store"][1]["detail"]


def test_what_was_set_aside_is_counted(copied_run):
    (copied_run.store / "tmp" / "damaged-1").mkdir()
    (_, aside) = doctor_store.stored(copied_run.store, deep=False)
    assert (aside.status, aside.detail) == (
        "warn",
        f"1 damaged artifacts were set aside in {copied_run.store / 'tmp'}",
    )


def test_a_file_where_the_store_should_be(doctor, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, found = doctor("--offline", "--store", tmp_path / "file")
    assert code == 1
    assert only(found, "disk")[:2] == ("fail", f"{tmp_path / 'file'} cannot be written")
    assert "choose another folder with --store or $ROBENCH_STORE" in only(found, "disk")[2]


def dist(folder, name, version, entry_points="", module=""):
    """Write an installed distribution that is on PYTHONPATH."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)
    if module:
        (folder / f"{name}.py").write_text(module)
    return folder


def beside(folder):
    import os

    return {"PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}


def test_a_broken_plugin_is_named_with_its_reason(doctor, tmp_path):
    site = dist(tmp_path / "site", "badone", "1.0", "[robench]\nbad = badone\n", "raise OSError('no \x1b[2J glue')\n")
    code, found = doctor("--offline", **beside(site))
    assert code == 0
    sound, broken = found["plugins"]
    assert (sound["status"], "builtins (robench " in sound["detail"]) == ("ok", True)
    assert broken["detail"] == "bad (badone 1.0) is broken: OSError: no \x1b[2J glue"
    assert broken["remedy"] == "Mend it or uninstall it: pip uninstall badone. The others work."


def test_a_plugins_error_cannot_drive_the_terminal(robench, tmp_path):
    site = dist(tmp_path / "site", "badone", "1.0", "[robench]\nbad = badone\n", "raise OSError('no \x1b[2J glue')\n")
    assert "\x1b" not in robench("doctor", "--offline", **beside(site)).out


def test_plugins_that_clash_are_a_failure(doctor, tmp_path):
    site = dist(tmp_path / "site", "one", "1.0", "[robench]\nbuiltins = one\n", "")
    code, found = doctor("--offline", **beside(site))
    assert code == 1
    assert only(found, "plugins")[0] == "fail"
    assert "Two plugins register the name 'builtins'" in only(found, "plugins")[1]


def test_a_version_outside_its_range_is_a_failure_with_the_command(doctor, tmp_path):
    code, found = doctor("--offline", **beside(dist(tmp_path / "site", "pluggy", "0.1")))
    assert code == 1
    assert [check["status"] for check in found["versions"]] == ["fail", "ok"]
    assert found["versions"][0]["detail"] == "pluggy 0.1 is outside >=1.5"
    assert found["versions"][0]["remedy"] == "pip install 'pluggy>=1.5'"


def test_a_version_other_than_tested_is_told(doctor, tmp_path):
    _, found = doctor("--offline", **beside(dist(tmp_path / "site", "pluggy", "1.99")))
    assert only(found, "versions")[0] == "ok"
    assert "pluggy 1.99 (tested: 1." in only(found, "versions")[1]


def test_torch_comes_last_so_that_the_rest_is_told_where_it_is_broken(robench, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "torch.py").write_text("raise ImportError('libcudart.so: no such file')\n")
    done = robench("doctor", "--offline", **beside(tmp_path / "site"))
    assert done.code == 1
    *before, torch, _, _, verdict = done.out.splitlines()
    assert [line[6:].split()[0] for line in before] == [
        name for name in LINES[:9] if name != "locks"
    ]  # no store, no locks
    assert torch == "fail  torch       it cannot be imported: ImportError: libcudart.so: no such file"
    assert verdict == "Not fit to run: torch."


@pytest.mark.parametrize("name", doctor_gpu.FORCED)
def test_tf32_forced_below_torch_is_a_failure(monkeypatch, name):
    for other in doctor_gpu.FORCED:
        monkeypatch.delenv(other, raising=False)
    assert list(doctor_gpu.accelerator())[-1].status == "ok"
    monkeypatch.setenv(name, "1")
    found = list(doctor_gpu.accelerator())[-1]
    assert (found.name, found.status) == ("tf32", "fail")
    assert found.remedy.startswith(f"unset {name}: attacks need float32")


def test_the_gpu_is_told(monkeypatch, tmp_path):
    import torch

    found = [check for check in doctor_gpu.accelerator() if check.name == "cuda"]
    if torch.cuda.is_available():
        assert [f"cuda:{index} " in check.detail for index, check in enumerate(found)] == [True] * len(found)
        return
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    monkeypatch.setattr(doctor_gpu, "DRIVER", tmp_path / "version")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    (hidden,) = [check for check in doctor_gpu.accelerator() if check.name == "cuda"]
    assert (hidden.status, "driver 580.65.06; CUDA_VISIBLE_DEVICES hides" in hidden.detail) == ("ok", True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (unseen,) = [check for check in doctor_gpu.accelerator() if check.name == "cuda"]
    assert unseen.status == "warn"
    assert unseen.remedy


class Answers(http.server.BaseHTTPRequestHandler):
    """Answer as the class attribute says, and remember what was asked."""

    code = 200
    asked: list[str] = []

    def do_HEAD(self):
        self.asked.append(self.command)
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Answers.asked.clear()
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_port}")
        yield running
        running.shutdown()


@pytest.mark.parametrize("code", [200, 404, 503])
def test_a_hub_that_answers(server, monkeypatch, code):
    monkeypatch.setattr(Answers, "code", code)
    assert doctor_checks.hub(offline=False).status == "ok"
    assert Answers.asked == ["HEAD"]


def test_offline_nothing_is_asked(server, monkeypatch):
    assert doctor_checks.hub(offline=True).detail == "not asked (offline)"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert doctor_checks.hub(offline=False).detail == "not asked (offline)"
    assert Answers.asked == []


@pytest.mark.parametrize("reply", ["refuses", "hangs", "is no address"])
def test_a_hub_that_cannot_be_reached_is_a_warning(server, monkeypatch, reply):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if reply == "hangs":
            silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", "file:///etc/hosts" if reply == "is no address" else endpoint)
        monkeypatch.setattr(doctor_checks, "PATIENCE", 0.5)
        found = doctor_checks.hub(offline=False)
    assert found.status == "warn"
    assert "cannot be reached (" in found.detail
    assert found.remedy.startswith("Give --offline (the embedded default needs no hub)")


def test_little_memory_little_disk_and_too_many_threads(monkeypatch, tmp_path):
    free = shutil.disk_usage(tmp_path).free
    monkeypatch.setattr(doctor_checks, "LITTLE_MEMORY", 2**60)
    monkeypatch.setattr(doctor_checks, "LITTLE_DISK", 2 * free)
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    found = [doctor_checks.memory(), doctor_checks.disk(tmp_path), doctor_checks.processors()]
    assert [check.status for check in found] == ["warn"] * 3
    assert all(check.remedy for check in found)
    monkeypatch.setattr(doctor_checks, "NO_DISK", 2 * free)
    assert doctor_checks.disk(tmp_path).status == "fail"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert doctor_checks.processors().status == "ok"
