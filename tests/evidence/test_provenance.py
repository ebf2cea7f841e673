"""The environment of a result, on whatever machine it was made."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from types import SimpleNamespace

import msgspec
import pytest
import torch

from robench.evidence import provenance as module
from robench.evidence.card import Environment
from robench.evidence.provenance import PACKAGES, device_name, environment


@pytest.fixture(autouse=True)
def afresh():
    module._revision.cache_clear()
    yield
    module._revision.cache_clear()


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Return a function that makes this module believe it lives in a checkout of which git says such things."""

    def say(revision="", status="", code=0, error=None, checkout=True):
        root = tmp_path / "root"
        (root / "benchmark" / "robench" / "evidence").mkdir(parents=True, exist_ok=True)
        if checkout:
            (root / ".git").mkdir(exist_ok=True)
        asked = []

        def run(command, **options):
            asked.append(command)
            if error is not None:
                raise error
            return SimpleNamespace(returncode=code, stdout=revision if "rev-parse" in command else status)

        monkeypatch.setattr(module, "__file__", str(root / "benchmark" / "robench" / "evidence" / "provenance.py"))
        monkeypatch.setattr(module.subprocess, "run", run)
        module._revision.cache_clear()
        return module._revision(), asked

    return say


def test_the_environment_is_what_it_says():
    found = environment("cpu")
    assert isinstance(found, Environment)
    assert found.robench == version("robench")
    assert found.python == platform.python_version()
    assert found.platform == platform.platform()
    assert found.packages["torch"] == version("torch")
    assert set(found.packages) <= set(PACKAGES)
    assert (found.dtype, found.threads) == ("float32", torch.get_num_threads())
    assert found.device.startswith("cpu (")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Environment) == found


def test_a_package_that_is_not_there_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("torch", "no-such-package"))
    assert environment("cpu").packages == {"torch": version("torch")}


@pytest.mark.parametrize(("matmul", "conv", "tf32"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_tf32_is_reported(monkeypatch, matmul, conv, tf32):
    rounded = {"matmul": matmul, "conv": conv}
    monkeypatch.setattr(
        torch._C,
        "_get_fp32_precision_getter",
        lambda backend, name: "tf32" if backend == "cuda" and rounded.get(name) else "ieee",
    )
    assert environment("cpu").tf32 is tf32


def test_a_cpu_is_named_by_the_kernel(monkeypatch):
    monkeypatch.setattr(module.Path, "read_text", lambda path, **_: "flags: x\nmodel name\t: Some CPU @ 2 GHz\n")
    assert device_name("cpu") == "cpu (Some CPU @ 2 GHz)"


@pytest.mark.parametrize(("processor", "words"), [("arm", "cpu (arm)"), ("", f"cpu ({platform.machine()})")])
def test_a_cpu_without_proc_is_named_by_python(monkeypatch, processor, words):
    def missing(path, **_):
        raise OSError

    monkeypatch.setattr(module.Path, "read_text", missing)
    monkeypatch.setattr(module.platform, "processor", lambda: processor)
    assert device_name("cpu") == words


def test_a_gpu_is_named_by_its_driver(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    assert device_name("cuda:1") == "cuda:1 (GPU of cuda:1)"


@pytest.mark.parametrize(("status", "dirty"), [("", False), (" M file.py\n", True), ("?? new.py\n", True)])
def test_a_checkout_has_a_revision_and_may_be_dirty(git, status, dirty):
    found, asked = git("abc123\n", status)
    assert found == ("abc123", dirty)
    assert [command[3:] for command in asked] == [["rev-parse", "HEAD"], ["status", "--porcelain"]]
    assert all(command[0] == "git" and command[1] == "-C" for command in asked)


def test_outside_a_checkout_git_is_not_asked(git):
    assert git("abc", checkout=False) == (("", False), [])


def test_a_git_that_refuses_gives_no_revision(git):
    assert git("fatal: dubious ownership", "x", code=128)[0] == ("", False)


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)])
def test_a_git_that_is_missing_or_hangs_gives_no_revision(git, error):
    assert git("abc", error=error)[0] == ("", False)
