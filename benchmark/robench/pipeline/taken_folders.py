"""Whether weights may be written into a folder: those of another training or defense are not replaced."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from robench.errors import CardError, StoreError
from robench.evidence.files import read_bounded
from robench.evidence.training_card_file import is_training
from robench.pipeline.export_weights import FILE as WEIGHTS

_README = "README.md"


def check_training(folder: Path, training: str) -> None:
    """Raise StoreError if a folder has weights, and no card of the training with that id."""
    if not (folder / WEIGHTS).exists() or any(folder.glob(f"*-{training[:8]}.json")):
        return
    there = [path.name for path in sorted(folder.glob("*.json")) if _training(path)]
    what = (
        f"the weights of another training ({there[0]})"
        if there
        else f"weights without the card of a training ({WEIGHTS})"
    )
    raise StoreError(f"{folder} has {what}, and they would be overwritten; name another folder with -o.")


def check_recipe(folder: Path) -> None:
    """Raise StoreError if a folder has weights: nothing there says of which recipe and seed they are."""
    if (folder / WEIGHTS).exists():
        raise StoreError(
            f"{folder} has {WEIGHTS} already, and it would be overwritten; name another folder with -o, or remove it."
        )


def check_export(folder: Path, card: str, files: Collection[str]) -> None:
    """Raise StoreError if a folder has some of those files, and its model card is not of the card with that id."""
    there = [name for name in (*files, _README) if (folder / name).exists()]
    if not there:
        return
    readme = folder / _README
    if readme.is_file() and f"card `{card}`" in readme.read_text(encoding="utf-8", errors="replace"):
        return
    raise StoreError(
        f"{folder} has {there[0]}, which is not of this card, and it would be overwritten; name another folder with -o."
    )


def _training(path: Path) -> bool:
    try:
        return is_training(read_bounded(path))
    except CardError:
        return False
