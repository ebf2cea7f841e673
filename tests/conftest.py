"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from .fork_server import PLACE, Server, never_wait_for_the_disk

# Before torch is imported anywhere: spinning OpenMP threads make tiny models ten times slower on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

never_wait_for_the_disk()

# No test asserts a wall time, Hypothesis neither: on a busy machine its draws are slow too.
settings.register_profile("robench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("robench")

SERVER = pytest.StashKey[Server]()


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl-C, which a process in the background ignores; start one fork server for all worker processes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput") and hasattr(os, "fork"):
        config.stash[SERVER] = Server()
        os.environ[PLACE] = str(config.stash[SERVER].folder)


#: What takes longest begins first; by folder or file.
LONGEST = (
    *("traps/test_every_trap.py", "test_pages.py", "clean_environment/test_new.py", "builtins/test_robust_gain.py"),
    *("clean_environment", "pipeline/test_kill.py", "pipeline/test_kill_inside.py", "gate/test_cost.py"),
    *("browser", "cli", "plugins", "pipeline"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first, in the order of ``LONGEST``."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        file = Path(os.path.relpath(item.path, here)).as_posix()
        return next((place for place, start in enumerate(LONGEST) if file.startswith(start)), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Let the garbage collections that some libraries ask for at each call pass over what has been imported."""
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(SERVER, None):
        server.close()
        del os.environ[PLACE]


OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "ROBENCH_OFFLINE")


@pytest.fixture(autouse=True)
def _offline_as_before() -> Iterator[None]:
    """Undo that a command which a test called in its own process stays offline for good."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


KIT = Path(os.environ.get("ROBENCH_KIT", Path(__file__).resolve().parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Return a function that fills a folder once for all worker processes; read it, change only copies."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def give(name: str, fill: Callable[[Path], None]) -> Path:
        folder, filled = common / name, common / f"{name}.filled"
        with FileLock(f"{folder}.lock"):
            if not filled.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                filled.touch()
        return folder

    return give


@pytest.fixture(scope="session")
def kit() -> Path:
    """Return the folder of the developers' real data kit; the test is skipped where it is absent."""
    if not (KIT / "resnet20_cifar10.safetensors").is_file():
        pytest.skip("the developers' data kit is not here (set ROBENCH_KIT to its folder)")
    return KIT


@pytest.fixture(scope="session")
def cifar_folder(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return real, lossless CIFAR-10 test images as a folder of class folders of PNG files."""
    from PIL import Image

    root = tmp_path_factory.mktemp("cifar10-png")
    with np.load(kit / "cifar10-lossless-subset.npz", allow_pickle=False) as data:
        names = [str(name) for name in data["class_names"]]
        for index, (pixels, label) in enumerate(zip(data["x_test"], data["y_test"], strict=True)):
            folder = root / names[label]
            folder.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index:05d}.png")
    return root
