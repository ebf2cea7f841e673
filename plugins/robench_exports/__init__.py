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
    from robench_exports.mlflow import MLflow
    from robench_exports.wandb import WandB

    return [CSV, HFModelIndex, JSONLines, LaTeX, MLflow, WandB]
