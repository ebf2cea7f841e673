"""A clean virtual environment, as a stranger has it, and commands typed into it.

torch cannot be installed anew for a test, so the environment sees the libraries of the one that runs the tests (a
.pth file adds its site-packages behind the environment's own). robench and every plugin are installed into it by
pip, editable and offline; nothing of them comes from the path of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..fork_server import Server

ROOT = Path(__file__).resolve().parents[2]

#: What pip would be told on a command line; so that the documented commands run here as they are printed.
PIP = {
    "PIP_NO_DEPS": "1",
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the negated option: 0 is no isolation
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_QUIET": "1",
}


@dataclass(frozen=True)
class Finished:
    """What a command said; ``said`` is on one line, however it was wrapped."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return " ".join((self.out + " " + self.err).split())


def outside() -> dict[str, str]:
    """Return the variables of the tests' own process but for those that would let this tree in."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@dataclass(frozen=True)
class Machine:
    """A clean environment, and a folder to work in."""

    environment: Path
    home: Path
    #: Where ``robench`` and ``pytest`` are found first: they are forked from a process of this environment.
    forked: Path | None = None

    def type(self, line: str, folder: Path | None = None, **variables: str) -> Finished:
        """Type one line into a shell; no user ever sees a traceback."""
        scripts = [str(folder) for folder in (self.forked, self.environment / "bin") if folder]
        done = subprocess.run(
            ["bash", "-ec", line],
            capture_output=True,
            text=True,
            cwd=folder or self.home,
            timeout=800,
            env={
                **outside(),
                **PIP,
                "PATH": os.pathsep.join([*scripts, os.environ["PATH"]]),
                "VIRTUAL_ENV": str(self.environment),
                "COLUMNS": "400",
                "OMP_WAIT_POLICY": "passive",
                "HF_HUB_OFFLINE": "1",
                "ROBENCH_STORE": str(self.home / "store"),
                **variables,
            },
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return Finished(done.returncode, done.stdout, done.stderr)

    def does(self, line: str, folder: Path | None = None, **variables: str) -> str:
        """Type one line that must succeed; return what it said, on one line."""
        done = self.type(line, folder, **variables)
        assert done.code == 0, f"$ {line}\n{done.out}\n{done.err}"
        return done.said


def environment_in(folder: Path, what: str = f"-e '{ROOT}'") -> Path:
    """Return a new virtual environment that has robench, installed by pip, and sees the libraries of this one."""
    pytest.importorskip("hatchling")
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    outer = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    lines = [f"import site; site.addsitedir({path!r})" for path in sorted(outer)]
    (site / "zz_libraries.pth").write_text("\n".join(lines) + "\n")
    for tool in ("pip", "pytest"):
        script = folder / "bin" / tool
        script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {tool} "$@"\n')
        script.chmod(0o755)
    Machine(folder, folder).does(f"pip install {what}")
    return folder


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a clean environment for the tests of one file."""
    environment = environment_in(tmp_path_factory.mktemp("environment") / "venv")
    server = Server(environment / "bin" / "python", **outside())
    yield Machine(environment, tmp_path_factory.mktemp("home"), server.folder)
    server.close()
