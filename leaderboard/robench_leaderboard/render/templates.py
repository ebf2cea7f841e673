"""The environment of the packages' templates: strict, from the package's folder or the shared one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


#: The package whose templates, styles and scripts all pages share.
SHARED = "robench_leaderboard.render"


def environment(package: str, finalize: Callable[..., object], *, html: bool, trailing_newline: bool) -> Environment:
    """Return the environment of ``package``; what a template prints goes through ``finalize`` first."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(SHARED)]),
        autoescape=html,  # noqa: S701 - Markdown has an escape of its own, as ``finalize``
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=trailing_newline,
    )


def template_text(package: str, name: str) -> str:
    """Return a style or a script of ours as it is."""
    return files(package).joinpath("templates", name).read_text(encoding="utf-8")


def csp_hash(script: str) -> str:
    """Return the digest by which a page's policy allows this script, and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
