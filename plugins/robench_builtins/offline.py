"""Whether a component may use the network."""

from __future__ import annotations

import os

#: Variables that forbid it; ``--offline`` sets the first before anything is imported.
OFFLINE = ("HF_HUB_OFFLINE", "ROBENCH_OFFLINE")


def offline() -> bool:
    """Tell whether the user forbade the network."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE)
