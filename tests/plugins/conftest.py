"""Fake distributions on disk, and the real ``robench`` process that meets them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..fork_server import script

#: A victim that loads in no time: the nearest class mean of the digits, which is linear in the pixels.
CENTROID = """
import torch
from torch import nn
from robench import Attack, Classifier, Defense, Model, hookimpl, input_gradient, parameter


def centroids():
    from robench_builtins.datasets.digits import Digits

    train = Digits().load("train")
    images = train.images().flatten(1).float() / 255
    means = torch.stack([images[train.labels == label].mean(0) for label in range(10)])
    linear = nn.Linear(images.shape[1], 10)
    # Scaled down: a saturated softmax has no gradient.
    linear.weight.data, linear.bias.data = 0.04 * means, -0.02 * means.square().sum(1)
    return nn.Sequential(nn.Flatten(), linear)


class Centroid(Model):
    '''Answer with the nearest class mean.'''

    name = "centroid"

    def load(self, task):
        return Classifier(centroids(), classes=10)


def ascent(model, images, labels):
    loss = lambda x: nn.functional.cross_entropy(model(x), labels, reduction="none")
    return input_gradient(loss, images)[1].sign()
"""


@dataclass(frozen=True)
class Finished:
    """What a process said; lines are joined where rich wrapped them."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def said(self) -> str:
        return " ".join((self.out + " " + self.err).split())

    def cards(self) -> dict[str, Any]:
        """Return the cards it wrote, by attack, defense or victim: whichever is no default."""
        found = {}
        for file in sorted((self.folder / "cards").glob("*.json")):
            card = json.loads(file.read_text())
            found[tuple(card["cell"][role]["name"] for role in ("victim", "defense", "attack"))] = card
        return found


class Site:
    """A folder on the module path of the processes started from it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "site"
        self.path.mkdir()

    def install(self, name: str, source: str, *, entry: str = "", module: str = "", version: str = "1.0") -> None:
        """Write a distribution of one module whose entry point registers it as a plugin."""
        module = module or name.replace("-", "_")
        (self.path / f"{module}.py").write_text(source)
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[robench]\n{entry or name} = {module}\n")

    def future(self, api: int, oldest: int, changes: dict[int, str], **renamed: tuple[str, int]) -> None:
        """Let the processes meet a robench of a later API: what a new release would write into its own files."""
        (self.path / "sitecustomize.py").write_text(
            "from robench.plugin import deprecation, versions\n"
            f"versions.API_VERSION, versions.OLDEST_API, versions.CHANGES = {api}, {oldest}, {changes!r}\n"
            f"deprecation.RENAMED = {renamed!r}\n"
        )

    def robench(self, *words: str, **environment: str) -> Finished:
        """Run robench; no user ever sees a traceback."""
        done = subprocess.run(
            [str(script()), *words],
            capture_output=True,
            text=True,
            cwd=self.root,
            timeout=800,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(self.path), os.environ.get("PYTHONPATH")])),
                "COLUMNS": "400",
                "OMP_WAIT_POLICY": "passive",
                "ROBENCH_STORE": str(self.root / "store"),
                **environment,
            },
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return Finished(done.returncode, done.stdout, done.stderr, self.root / "results")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a site whose runs several tests of one file read."""
    return Site(tmp_path_factory.mktemp("plugins"))


@pytest.fixture(scope="session")
def centroid() -> str:
    """Return the source of the victim, to put before a plugin's own."""
    return CENTROID


@pytest.fixture(scope="session")
def checks():
    """Return a function that gives the status of each check of a card's gate."""

    def statuses(card: dict[str, Any]) -> dict[str, str]:
        return {check["name"]: check["status"] for check in card["gate"]["checks"]}

    return statuses
