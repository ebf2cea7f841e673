"""Make ``release.tar.gz`` again: a store and cards of this release, for ``tests/cli/test_release.py``.

    python tests/golden/release.py

Only when ids are meant to change, which empties every store and outdates every card: say so in the release's notes.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from robench.api import run
from robench.evidence.card_file import write

#: Small enough to lie in the repository; what it measures says nothing.
REQUEST = {
    "defense": ["tecoa"],
    "attack": ["fgsm", "pgd"],
    "n": 8,
    "gate_cost": 40,
    "parameters": {"tecoa.epochs": 1, "tecoa.rank": 2, "pgd.steps": 2},
}
FILE = Path(__file__).with_name("release.tar.gz")


def make(file: Path) -> None:
    """Run the request in an empty store and pack it with its cards."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for card in run(store=root / "store", device="cpu", **REQUEST):
            write(card, root / "cards")
        with tarfile.open(file, "w:gz", compresslevel=9) as archive:
            for path in sorted((root / "store").glob("*")):
                if path.name not in ("tmp", "locks"):
                    archive.add(path, f"store/{path.name}", filter=_plain)
            archive.add(root / "cards", "cards", filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    make(FILE)
