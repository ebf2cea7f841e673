"""Terminals and locales that cannot show every letter: write what they can, and never fail for it."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path


def any_text() -> None:
    """Let every text be written, with a question mark for a letter that the terminal does not have (cp1252, ASCII).

    Under an ASCII locale, in which a file could not even be named, the command starts again in Python's UTF-8 mode.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    if ascii_only(sys.getfilesystemencoding()) and Path(sys.argv[0]).stem == "robench" and not sys.flags.utf8_mode:
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - ourselves again


def ascii_only(encoding: str) -> bool:
    """Tell whether an encoding has no letter beside those of ASCII."""
    return codecs.lookup(encoding).name == "ascii"
