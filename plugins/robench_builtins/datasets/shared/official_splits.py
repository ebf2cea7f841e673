"""What the sets with official train and test images share: where they lie, and how val is cut from train."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robench import DataError, Dataset, parameter
from robench_builtins.datasets.shared.stratified_splits import stratified_order

if TYPE_CHECKING:
    from robench import Split


class OfficialSplits(Dataset):
    """Serve the official test images as they are; cut val and train, stratified and seeded, from the train images."""

    path: str = parameter(
        default="", help="folder of the files; empty: $ROBENCH_DATA, or robench's cache folder of the user"
    )
    val: int = parameter(default=5000, help="validation images, cut from the official train images", minimum=10)
    train: int = parameter(default=0, help="train images; 0: all that val leaves", minimum=0)
    split_seed: int = parameter(default=0, help="seed that cuts val from train", minimum=0)

    def rows(self, labels: Sequence[int], split: Split) -> list[int]:
        """Return the places of ``split`` (train or val) among the official train images."""
        return cut(self.name, labels, split, self.val, self.train, self.split_seed)


def cut(name: str, labels: Sequence[int], split: Split, val: int, train: int, seed: int) -> list[int]:
    """Return the sorted places of the val images, or of the ``train`` (0: all) images that follow them."""
    left = len(labels) - val
    if left < max(train, 1):
        raise DataError(
            f"{name} has {len(labels)} train images, so val={val} leaves {max(left, 0)} for "
            f"train={train or 'all'}; lower one of the two."
        )
    order = stratified_order(labels, seed)
    return sorted(order[:val] if split == "val" else order[val:][: train or None])


def data_folder(given: str) -> Path:
    """Return the folder that the user named, else $ROBENCH_DATA, else robench's own cache."""
    import platformdirs

    if given:
        return Path(given).expanduser()
    shared = os.environ.get("ROBENCH_DATA")
    return Path(shared).expanduser() if shared else Path(platformdirs.user_cache_dir("robench")) / "data"
