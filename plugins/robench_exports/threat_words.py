"""What the attacker may do, in words for captions and names of metrics: tables hold eps as it is typed."""

from __future__ import annotations


def in_latex(norm: str, radius: str) -> str:
    """Return norm and radius for a caption: ``Linf, $\\epsilon = 8/255$``, ``corruption, severity 3``."""
    words = _counted(norm, radius)
    return f"{norm}, {words}" if words else f"{norm}, $\\epsilon = {radius}$"


def in_words(norm: str, radius: str) -> str:
    """Return norm and radius: ``Linf eps 8/255``, ``L0, 24 pixels``, ``corruption, severity 3``."""
    words = _counted(norm, radius)
    return f"{norm}, {words}" if words else f"{norm} eps {radius}"


def _counted(norm: str, radius: str) -> str:
    """Return a radius that is a count; empty for one that is a length."""
    counted = {"L0": f"{radius} pixels", "patch": f"{radius} pixels wide", "corruption": f"severity {radius}"}
    return counted.get(norm, "")
