"""Data sets that the user has to download: where the copy lies, and what is said where there is none."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from robench import DataError
from robench_builtins.datasets.shared.official_splits import data_folder
from robench_builtins.datasets.shared.resizable_set import NamedSet

if TYPE_CHECKING:
    from robench import Examples


class ManualDownload(NamedSet):
    """Find the user's copy in ``path``, or in its folder ``base``, and serve its files.

    A subclass declares ``path`` as a parameter, since its help says what lies there.
    """

    #: What the authors call the folder.
    base: ClassVar[str]
    path: str

    @abstractmethod
    def is_copy(self, place: Path) -> bool:
        """Tell whether a folder is the copy."""

    @property
    @abstractmethod
    def needs(self) -> str:
        """Say what to download, and where to put it."""

    def files(self) -> tuple[Path, ...]:
        """Return the local copy that the user named."""
        return (self._found,) if self.path and self._found is not None else ()

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless it is there."""
        return () if self._found is not None else (self.needs,)

    @property
    def root(self) -> Path:
        """Return the folder of the copy; DataError if there is none."""
        if self._found is None:
            raise DataError(self.needs)
        return self._found

    def served(self, paths: Sequence[Path], labels: Sequence[int]) -> Examples:
        """Return images that are decoded on demand, at the resolution asked for or as wide as the first."""
        from robench import Examples, Resize, describe_image

        return Examples.from_files(paths, labels, self.resizing or Resize(describe_image(paths[0]).width))

    @property
    def _found(self) -> Path | None:
        folder = data_folder(self.path)
        return next((place for place in (folder / self.base, folder) if self.is_copy(place)), None)
