"""Let torch ask the system for large pages, so that a fresh tensor does not cost a page fault for every 4 KB of it."""

from __future__ import annotations

import os

#: torch's own switch, read at its first allocation of 2 MB or more; it asks by madvise, which Linux alone has.
VARIABLE = "THP_MEM_ALLOC_ENABLE"


def prefer_large_pages() -> None:
    """Switch them on, unless the user said otherwise; no result depends on it."""
    os.environ.setdefault(VARIABLE, "1")
