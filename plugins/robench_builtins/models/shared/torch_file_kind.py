"""Tell what kind of torch file a user brought, without reading more than its list of contents."""

from __future__ import annotations

import zipfile
from pathlib import Path


def kind_of(path: Path) -> str:
    """Return what a file is, and how such a file is brought."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        if path.suffix == ".safetensors":
            return f"it holds tensors and no network, so write FILE.py:NAME -p victim.weights={path}"
        return "it is not a file that torch wrote, or is damaged"
    if "archive_format" in names or any(name.startswith("models/") for name in names):
        return f"it is a torch.export program, so write export:{path}"
    if any(name.startswith("code/") for name in names):
        return f"it is a TorchScript program, so write torchscript:{path}"
    if "data.pkl" in names:
        return f"it holds tensors or a pickled model, so write FILE.py:NAME -p victim.weights={path}"
    return "it is an archive of something else"
