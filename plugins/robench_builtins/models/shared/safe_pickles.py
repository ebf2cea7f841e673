"""What may lie beside tensors in a checkpoint without running anyone's code; imported only where torch is wanted."""

from __future__ import annotations

import argparse
import re
from pathlib import Path, PosixPath, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

#: What is read beside tensors, in words, for the documentation.
ALLOWED = "numbers, strings, lists, dicts, argparse.Namespace, SimpleNamespace, numpy scalars and arrays, paths"


def load(path: Path) -> Any:
    """Return what torch.load reads of ``path`` with ``weights_only=True``, and the harmless kinds of above."""
    with torch.serialization.safe_globals(_kinds()):
        return torch.load(path, "cpu", weights_only=True)


def named_code(error: BaseException) -> str:
    """Return the class or function that torch would not run; empty if it was another error."""
    found = re.search(r"(?:GLOBAL|[Uu]nsupported class) ([\w.]+)", str(error))
    return found.group(1).rstrip(".") if found else ""


def _kinds() -> list[Any]:
    """Return constructors that only hold what they are given."""
    array: Any = np.empty(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    places = ("numpy.core.multiarray", "numpy._core.multiarray")  # numpy 1 and 2 name them differently
    numpy = [
        *((scalar, f"{place}.scalar") for place in places),
        *((array, f"{place}._reconstruct") for place in places),
        np.ndarray,
        np.dtype,
        *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdFDU"},
    ]
    paths = [(PosixPath, f"{place}.PosixPath") for place in ("pathlib", "pathlib._local")]
    pure = [(PurePosixPath, f"{place}.PurePosixPath") for place in ("pathlib", "pathlib._local")]
    return [argparse.Namespace, SimpleNamespace, *numpy, *paths, *pure]
