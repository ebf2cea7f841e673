"""docs/ten-minutes.md, typed line by line in an empty folder and a clean environment."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ten-minutes.md").read_text(encoding="utf-8")

#: A file to save, or commands to type with lines that must be among what they say.
BLOCK = re.compile(r"(?:<!-- file: (?P<path>\S+) -->\n)?```(?P<kind>python|console)\n(?P<text>.*?)```", re.DOTALL)


def steps():
    """Yield (what, text, expected) in the order of the page."""
    for block in BLOCK.finditer(PAGE):
        if block["kind"] == "python":
            yield "save", block["path"], block["text"]
            continue
        for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            line, _, expected = part.partition("\n")
            yield "type", line, expected


def test_the_page_has_what_it_promises():
    found = list(steps())
    typed = [line for what, line, _ in found if what == "type"]
    assert [line.split()[2] for line in typed if line.startswith("robench new")] == ["defense", "attack", "dataset"]
    assert sum(line.startswith("robench check-plugin") for line in typed) == 3
    assert sum(line.startswith("robench run") for line in typed) >= 3
    assert all(path for what, path, _ in found if what == "save")


def test_every_command_does_what_the_page_says(machine):
    for what, first, second in steps():
        if what == "save":
            (machine.home / first).write_text(second)
            continue
        said = machine.does(first)
        for line in filter(None, map(str.strip, second.splitlines())):
            assert line in said, f"$ {first}\n{said}"


@pytest.mark.parametrize("path", [path for what, path, _ in steps() if what == "save"])
def test_its_files_are_as_the_house_would_write_them(tmp_path, path):
    (text,) = (text for what, first, text in steps() if what == "save" and first == path)
    (tmp_path / "it.py").write_text(text)
    for words in (["check"], ["format", "--check"]):
        ours = ["--config", str(ROOT / "pyproject.toml"), "--config", "src=['.']", "--no-cache"]
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, *ours, "it.py"], capture_output=True, text=True, cwd=tmp_path,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
