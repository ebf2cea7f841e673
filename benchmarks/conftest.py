"""Settings that must stand before torch is imported anywhere."""

from __future__ import annotations

import os

# On a machine that other work shares, spinning OpenMP threads cost more than the work they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
