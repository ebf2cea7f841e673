"""The pages run: each marked block in an empty folder, in order; what it shows comes out; every link leads somewhere.

``<!-- run -->`` before a block runs it (``console``: the lines behind ``$``; ``python``: the block), ``<!-- run: exit 2
-->`` expects that exit code, ``<!-- file: NAME -->`` writes it. Shown output must occur in the real one, numbers apart.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest

from .fork_server import script

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "leaderboard").glob("*.md"),
        *ROOT.glob("examples/**/*.md"),
    ]
)
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>run|file)(?:: (?P<what>[^>]+?))? -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
#: A number, so that what is shown on a page need not be measured anew on each machine.
NUMBER = re.compile(r"[-+]?\d[\d.,]*")
#: So runs may take fewer images than on the page, whose numbers are not looked at.
IMAGES = re.compile(r"--n [12]00\b"), "--n 80"


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    mark: str
    what: str
    kind: str
    text: str

    @property
    def code(self) -> int:
        return int(self.what.removeprefix("exit ")) if self.mark == "run" and self.what else 0


def blocks(page):
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(m["mark"] or "", m["what"] or "", m["kind"], m["text"]) for m in found]


def commands(text):
    """Yield each command of a console block with the lines that are shown below it."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        lines = part.splitlines()
        end = next(place for place, line in enumerate(lines) if not line.endswith("\\")) + 1
        yield "\n".join(lines[:end]), [line for line in lines[end:] if line.strip()]


class Reader:
    """Do what a page says, as somebody who reads it from top to bottom."""

    def __init__(self, folder, store):
        self.folder, self.site = folder, folder / ".site"
        self.site.mkdir(parents=True)
        scripts = f"{script().parent}:{Path(sys.executable).parent}"
        self.environment = {
            **os.environ,
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "PYTHONPATH": f"{self.site}:{os.environ.get('PYTHONPATH', '')}",
            "ROBENCH_STORE": str(store),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "200",
        }

    def follow(self, block):
        if block.mark == "file":
            path = self.folder / block.what
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.mark == "run" and block.kind == "python":
            self.run([sys.executable, "-c", block.text], block.code)
        elif block.mark == "run":
            assert block.kind == "console", f"a {block.kind} block cannot be run"
            for command, shown in commands(block.text):
                if command.startswith("pip install -e "):
                    self.install(self.folder / command.removeprefix("pip install -e "))
                else:
                    typed = IMAGES[0].sub(IMAGES[1], command)
                    self.check(self.run(["bash", "-ec", typed], block.code), shown, typed)

    def run(self, words, code):
        done = subprocess.run(
            words, capture_output=True, text=True, cwd=self.folder, env=self.environment, check=False, timeout=600
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, f"{words[-1]}\n{said}"
        assert "Traceback" not in said, said
        return " ".join(said.split())

    def check(self, said, shown, command):
        for line in shown:
            words = " ".join(line.split())
            pattern = NUMBER.sub("\0", words)
            pattern = re.escape(pattern).replace(re.escape("\0"), NUMBER.pattern)
            assert re.search(pattern, said), f"'$ {command}' does not print '{words}', but: {said}"

    def install(self, project):
        """Put a project where pip would, without building it or reaching for an index."""
        stated = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        info = self.site / f"{stated['name'].replace('-', '_')}-{stated['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {stated['name']}\nVersion: {stated['version']}\n")
        points = stated["entry-points"]["robench"].items()
        (info / "entry_points.txt").write_text("[robench]\n" + "".join(f"{key} = {value}\n" for key, value in points))
        for module in project.glob("*.py"):
            (self.site / module.name).write_text(module.read_text())


RUNNABLE = [page for page in PAGES if any(block.mark for block in blocks(page))]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return one store for all pages: what one page trained, another need not."""
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_does_what_it_says(page, store, tmp_path):
    reader = Reader(tmp_path / "reader", store)
    for block in blocks(page):
        reader.follow(block)


def test_every_role_has_a_page_that_runs():
    names = {page.relative_to(ROOT / "docs").as_posix() for page in RUNNABLE if (ROOT / "docs") in page.parents}
    assert {f"how-to/{role}.md" for role in ("dataset", "victim", "surrogate", "attack", "defense")} <= names
    assert "tutorial.md" in names


def test_plugins_on_the_pages_are_short():
    modules = [block for page in RUNNABLE for block in blocks(page) if re.search(r"/robench_\w+\.py$", block.what)]
    assert len(modules) >= 3
    for block in modules:
        assert len(block.text.splitlines()) <= 60, block.what


def unmarked():
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in blocks(page):
            if block.kind == "console" and not block.mark:
                typed = (command for command, _ in commands(block.text) if command.startswith("robench "))
                yield from (pytest.param(command, id=command[:60]) for command in typed)


@pytest.mark.parametrize("command", list(unmarked()))
def test_what_cannot_run_here_is_at_least_understood(command, monkeypatch):
    from robench.cli.commands import robench

    monkeypatch.setattr(os, "environ", dict(os.environ))  # --offline and --without write into it
    _, name, *words = shlex.split(command.replace("\\\n", " "))
    robench.commands[name].make_context(name, words)


# The tests of the tests: a page that lies is caught.


@pytest.fixture
def liar(tmp_path, store):
    """Return a function that follows a page's text."""

    def follow(text):
        page = tmp_path / "page.md"
        page.write_text(text, encoding="utf-8")
        reader = Reader(tmp_path / f"reader{len(list(tmp_path.iterdir()))}", store)
        for block in blocks(page):
            reader.follow(block)

    return follow


@pytest.mark.parametrize(
    "text",
    [
        "<!-- run -->\n```console\n$ robench list attack\nnothing like this\n```\n",
        "<!-- run -->\n```console\n$ robench run --defense no-such\n```\n",
        "<!-- run: exit 2 -->\n```console\n$ robench list\n```\n",
        "<!-- run -->\n```python\nraise SystemExit(1)\n```\n",
    ],
)
def test_a_page_that_is_not_true_is_caught(liar, text):
    with pytest.raises(AssertionError):
        liar(text)


def test_numbers_may_differ_words_and_order_may_not(liar):
    liar("<!-- run -->\n```console\n$ echo 'a 96.5 [93.0, 98.3] b'\na 1 [2, 3]   b\n```\n```console\n$ false\n```\n")
    with pytest.raises(AssertionError, match="does not print"):
        liar("<!-- run -->\n```console\n$ echo 'a 96.5 b'\nb 1 a\n```\n")


# Links


def slugs(page):
    """Return the anchors that GitHub gives a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{sum(other.startswith(slug) for other in found)}")
    return {*found, *re.findall(r'<a (?:id|name)="([^"]+)"', text)}


def dead_links(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    dead = []
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in slugs(place)):
            dead.append(target)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_and_anchor_leads_somewhere(page):
    assert dead_links(page) == []


def test_dead_links_are_found(tmp_path):
    (tmp_path / "other.md").write_text("# A `name`, and more\n\n## Twice\n\n## Twice\n```\n# no heading\n```\n")
    good = [
        "other.md",
        "other.md#a-name-and-more",
        "other.md#twice-1",
        "#here",
        "https://x.invalid/y",
        ".",
        "other.md#twice",
    ]
    bad = ["gone.md", "other.md#a-name", "#there", "other.md#no-heading", "other.md#twice-2"]
    page = tmp_path / "page.md"
    page.write_text("# Here\n\n" + "\n".join(f"[text]({target})" for target in [*good, *bad]) + "\n`[code](gone.md)`\n")
    assert dead_links(page) == bad


def test_every_page_of_the_docs_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert name == "README.md" or f"({name})" in index, f"docs/README.md does not name {name}"
