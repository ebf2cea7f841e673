"""A data set in CLIP_benchmark's layout of tar shards, from a folder or the Hugging Face hub."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from robench import DataError, parameter
from robench_builtins.datasets.shared.resizable_set import OwnSet
from robench_builtins.datasets.shared.stratified_splits import share_of
from robench_builtins.downloads import hub_folder
from robench_builtins.offline import offline

if TYPE_CHECKING:
    from robench import Examples, Split
    from robench_builtins.datasets.shared.wds_tars import Sample

NAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"
#: Most bytes of a text file of the layout.
MOST_TEXT = 4_000_000


class Wds(OwnSet):
    """Serve a set in CLIP_benchmark's layout: ``wds:FOLDER``, or ``wds:ORG/NAME`` of the Hugging Face hub.

    The folder holds ``train/`` and ``test/``, each with ``nshards.txt`` and ``0.tar``, ``1.tar``, ...; class names and
    prompts are those of its ``classnames.txt`` and ``zeroshot_classification_templates.txt``. Val is cut from train.
    Shards are read where they lie and never unpacked: a member that is a link or leads outside is refused.
    """

    name = "wds"
    victim = "clip-vit-b32"
    source = "the data set's own page; the layout is that of https://github.com/LAION-AI/CLIP_benchmark"
    licence = "the data set's own"

    path: str = parameter(default="", help="local folder, or id on the hub such as clip-benchmark/wds_cars", path=True)
    revision: str = parameter(default="", help="commit or tag on the hub; empty: the newest")
    size: int | None = parameter(
        default=224, help="side in pixels at which images are attacked; none: as they are, if all are alike", minimum=8
    )
    first: int = parameter(
        default=0,
        help="serve only so many test images, the first ones, as RobustVLM does; 0: all",
        minimum=0,
    )
    val: float = parameter(default=0.1, help="share of each class of train for val", minimum=0, maximum=1)
    split_seed: int = parameter(default=0, help="seed that cuts val from train", minimum=0)

    @property
    def templates(self) -> tuple[str, ...]:  # type: ignore[override]  # the set's own, where it is named
        """Return the set's prompts, {c} read as {}."""
        if not self.path:
            return OwnSet.templates
        lines = self._lines(TEMPLATES)
        prompts = tuple(line.replace("{c}", "{}") for line in lines)
        odd = next((line for line in prompts if line.count("{}") != 1), None)
        if odd is not None:
            raise DataError(f"wds: the prompt '{odd[:100]}' in {self._root / TEMPLATES} has no single place {{c}}.")
        return prompts

    def classes(self) -> tuple[str, ...]:
        """Return the lines of ``classnames.txt``."""
        names = tuple(self._lines(NAMES))
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None or len(names) < 2:
            what = f"names '{twice}' twice" if twice is not None else "names fewer than two classes"
            raise DataError(f"wds: {self._root / NAMES} {what}; give each class a name of its own.")
        return names

    def files(self) -> tuple[Path, ...]:
        """Return the folder, if a local one is named."""
        from robench_builtins.datasets.shared.folder_walk import is_folder

        return (Path(self.path).expanduser(),) if self.path and is_folder(self.path) else ()

    def missing(self) -> tuple[str, ...]:
        """Return what to download, unless the folder is local or in the hub's cache."""
        if not self.path or self.files() or any(hub_folder(self.path, "datasets").glob("snapshots/*/*/nshards.txt")):
            return ()
        place = hub_folder(self.path, "datasets")
        return (
            f"https://huggingface.co/datasets/{self.path}: to {place}; without the hub, put its files into a folder "
            "and write wds:FOLDER.",
        )

    def load(self, split: Split) -> Examples:
        """Return one split, decoded on demand."""
        from robench_builtins.datasets.shared.wds_images import examples

        samples = self._samples("test" if split == "test" else "train")
        if split == "test":
            chosen = samples[: self.first or None]
        else:
            rows = share_of([sample.label for sample in samples], split, 0.0, self.val, self.split_seed)
            chosen = [samples[row] for row in rows]
        if not chosen:
            raise DataError(f"wds leaves no {split} images of {self.path} with val={self.val:g}; give val=0.1.")
        return examples(chosen, self.resizing)

    def _samples(self, part: str) -> list[Sample]:
        from robench_builtins.datasets.shared.wds_tars import samples_of

        folder, classes = self._root / part, len(self.classes())
        text = "".join(self._lines(f"{part}/nshards.txt"))
        if not text.isdecimal() or not 0 < int(text) <= 100_000:
            raise DataError(f"wds: {folder / 'nshards.txt'} holds '{text[:20]}', which is no number of shards.")
        self._fetch([f"{part}/{number}.tar" for number in range(int(text))])
        found = [sample for number in range(int(text)) for sample in samples_of(folder / f"{number}.tar", classes)]
        if not found:
            raise DataError(f"wds: the shards in {folder} hold no sample; fetch them again.")
        return found

    def _lines(self, name: str) -> list[str]:
        """Return the lines of a text file of the layout, without those that are empty."""
        self._fetch([name])
        path = self._root / name
        if not path.is_file():
            raise DataError(
                f"wds needs {path}, which is not there; the folder must be in CLIP_benchmark's layout, with train/ and "
                f"test/ of nshards.txt and tar shards, {NAMES} and {TEMPLATES}."
            )
        if path.stat().st_size > MOST_TEXT:
            raise DataError(f"wds: {path} is larger than {MOST_TEXT:,} bytes, which is no list of names.")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except ValueError:
            raise DataError(f"wds: {path} is not UTF-8; save it as UTF-8.") from None
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise DataError(f"wds: {path} is empty; fetch it again.")
        return found

    def _fetch(self, names: list[str]) -> None:
        """Fetch files of a set on the hub; nothing for a local folder."""
        if not self.files():
            for name in names:
                self._from_hub(name)

    @cached_property
    def _root(self) -> Path:
        from robench_builtins.datasets.shared.folder_walk import existing_folder

        if self.files():
            return existing_folder(self.name, self.path)
        return self._from_hub(NAMES).parent

    def _from_hub(self, name: str) -> Path:
        """Return a file of the set on the hub, fetched unless it is there or the run is offline."""
        from huggingface_hub import hf_hub_download

        if not self.path:
            raise DataError("wds needs a data set: write wds:FOLDER, or wds:ORG/NAME with its id on the hub.")
        try:
            return Path(
                hf_hub_download(
                    self.path, name, repo_type="dataset", revision=self.revision or None, local_files_only=offline()
                )
            )
        except Exception as error:  # the hub raises many kinds
            why = "and the run is offline" if offline() else f"({str(error).splitlines()[0][:200]})"
            raise DataError(
                f"wds needs '{name}' of {self.path}, which is no folder here and not in the hub's cache {why}: put the "
                f"files of https://huggingface.co/datasets/{self.path} into a folder and write wds:FOLDER."
            ) from None
