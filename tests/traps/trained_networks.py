"""The two networks that most traps stand on, trained once for all processes of the tests and read by the others.

A copy of this file, called ``sitecustomize.py``, lies beside their weights: with that folder on its module path a
process of ``robench traps`` reads them too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import patch

from safetensors.torch import load_file, save_file

from robench_traps import base

NETWORKS = (base.plain, base.robust)


def write(folder: Path) -> None:
    """Train both and write their weights."""
    for network in NETWORKS:
        save_file(network().state_dict(), folder / f"{network.__name__}.safetensors")
    shutil.copy(__file__, folder / "sitecustomize.py")


def read(folder: Path) -> None:
    """Let both be what is written in the folder, as if this process had trained them."""
    for network in NETWORKS:
        weights = load_file(folder / f"{network.__name__}.safetensors")

        def known(untrained, *_, weights=weights):
            untrained.load_state_dict(weights)
            return untrained.eval()

        with patch.object(base, "learn", known):
            network()


if __name__ == "sitecustomize":
    read(Path(__file__).parent)
