"""Reference attacks as plain functions: the gate and the built-ins both use them, and neither owns them."""

from __future__ import annotations

from pathlib import Path


def attack_sources() -> tuple[Path, ...]:
    """Return the files of these algorithms, for :meth:`Component.files` of whoever is built on them.

    A component's fingerprint covers its own package; without these files an edited algorithm would be answered
    with yesterday's adversarial images.
    """
    return tuple(sorted(Path(__file__).parent.glob("*.py")))
