"""The forms that robench writes results in, beside the plugin of the built-ins: editing one changes no fingerprint."""

from __future__ import annotations

from robench import Exporter, hookimpl


@hookimpl
def robench_exporters() -> list[type[Exporter]]:
    """Offer the built-in exporters."""
    from robench_exports.csv import CSV
    from robench_exports.hf_model_index import HFModelIndex
    from robench_exports.jsonl import JSONLines
    from robench_exports.latex import LaTeX

    return [CSV, HFModelIndex, JSONLines, LaTeX]
