"""A hook of MkDocs: links to files outside docs/ lead to the repository, those to a leaderboard to its own page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
LINK = re.compile(r"(\]\()([^)#:]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Return the page with links such as ``../suites/digits.toml`` as addresses of the repository."""
    here = (DOCS / page.file.src_path).parent

    def moved(found: re.Match[str]) -> str:
        target = (here / found[2]).resolve()
        if target.is_relative_to(DOCS) and target.suffix != ".py":
            return found[0]
        if target.name == "LEADERBOARD.md" and (target.parent / "index.html").is_file():
            # The workflow `pages` publishes the sortable page of each of these beside the documentation.
            up = "../" * page.file.url.removeprefix("./").count("/")
            return f"{found[1]}{up}{target.parent.relative_to(DOCS.parent).as_posix()}/index.html)"
        kind = "tree" if target.is_dir() else "blob"
        return f"{found[1]}{config.repo_url}/{kind}/main/{target.relative_to(DOCS.parent)}{found[3] or ''})"

    parts = re.split(r"(```.*?```)", markdown, flags=re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in parts)
