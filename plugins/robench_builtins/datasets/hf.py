"""Any image-classification set of the Hugging Face hub, or a local folder in one of its formats."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robench import DataError, parameter
from robench_builtins.datasets.shared.resizable_set import OwnSet

if TYPE_CHECKING:
    from robench import Examples, Split
    from robench_builtins.datasets.shared.hf_tables import HfTables


class Hf(OwnSet):
    """Serve a data set of the Hugging Face hub, or a local folder as ``datasets`` reads it: ``hf:ID`` or ``hf:FOLDER``.

    Columns and splits are found by their kind and usual names, or named by you. What has no test split is tested on
    its validation split; what has neither is cut, stratified and seeded. Images keep their resolution, upright (EXIF)
    and on white. A set is grey (1 x H x W) if its column says so, or if no image in any split has colour; then an image
    in colour is refused. No code of a data set is run.
    """

    name = "hf"
    version = 2
    source = "the data set's own page on huggingface.co"
    licence = "the data set's own"
    templates = ("a photo of a {}", "a blurry photo of a {}", "a picture of a {}", "an image of a {}")

    path: str = parameter(default="", help="id on the hub, such as uoft-cs/cifar10, or a local folder", path=True)
    config: str = parameter(default="", help="configuration of the data set, where it has several")
    revision: str = parameter(default="", help="commit or tag on the hub; empty: the newest")
    image_column: str = parameter(default="", help="column of the images; empty: the only one")
    label_column: str = parameter(default="", help="column of the labels; empty: the only one")
    train_split: str = parameter(default="", help="split to train on; empty: train")
    val_split: str = parameter(default="", help="split to validate on; empty: validation, val, valid or dev")
    test_split: str = parameter(default="", help="split to test on; empty: test")
    size: int | None = parameter(
        default=None, help="side in pixels to which images are resized and cropped; none: as they are", minimum=8
    )
    val: float = parameter(
        default=0.1, help="share of each class for val, where there is no such split", minimum=0, maximum=1
    )
    test: float = parameter(
        default=0.2, help="share of each class for test, where there is no such split", minimum=0, maximum=1
    )
    split_seed: int = parameter(default=0, help="seed that cuts the splits", minimum=0)

    def files(self) -> tuple[Path, ...]:
        """Return the folder, if a local one is named."""
        from robench_builtins.datasets.shared.folder_walk import existing_folder, is_folder

        return (existing_folder(self.name, self.path),) if self.path and is_folder(self.path) else ()

    def classes(self) -> tuple[str, ...]:
        """Return the names that the label column declares, as words; else its values, sorted."""
        return self._tables.classes

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand."""
        return self._tables.examples(split)

    @cached_property
    def _tables(self) -> HfTables:
        if not self.path:
            raise DataError("hf needs a data set: write hf:ID with its id on the hub, or hf:FOLDER.")
        try:
            import datasets  # noqa: F401 - an optional extra
        except ImportError as error:
            raise DataError("hf needs the package 'datasets'; install it with pip install 'robench[hf]'.") from error
        from robench_builtins.datasets.shared.hf_tables import HfRequest, HfTables

        return HfTables(
            HfRequest(
                path=self.path,
                config=self.config,
                revision=self.revision,
                image_column=self.image_column,
                label_column=self.label_column,
                train_split=self.train_split,
                val_split=self.val_split,
                test_split=self.test_split,
                resize=self.resizing,
                val=self.val,
                test=self.test,
                split_seed=self.split_seed,
            )
        )
