"""The grey benchmark, shared with the tests of the pipeline."""

from __future__ import annotations

from ..grey import catalog_of, grey

__all__ = ["catalog_of", "grey"]
