"""Hugging Face: the ``model-index`` block that a model card's README.md begins with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robench import Card, Exporter, SpecError, leaderboard, parameter
from robench_exports.threat_words import in_words


class HFModelIndex(Exporter):
    """Write the evaluation results of one defended model as model card metadata (YAML)."""

    name = "hf-model-index"
    source = "huggingface.co/docs/hub/model-cards, section on evaluation results"

    defense: str = parameter(default="", help="of several models in the cards, the one with this defense")
    model: str = parameter(default="", help="name of the model, such as its repository")
    dataset: str = parameter(default="", help="id of the dataset on the Hub, if it has one")
    url: str = parameter(default="", help="where the cards can be read")

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Write the block between its two lines of dashes; rows that are not ranked are never among the results."""
        import yaml

        chosen = [
            (board, row)
            for board in leaderboard(cards).boards
            for row in board.rows
            if row.rank and self.defense in ("", row.defense.name, row.defense.label)
        ]
        names = sorted({f"{row.defense.label} on {row.victim.label}" for _, row in chosen})
        if not names:
            which = f" of the defense '{self.defense}'" if self.defense else ""
            raise SpecError(
                f"The cards have no ranked row{which}, so there is nothing a model card may state; robench leaderboard "
                "says why."
            )
        if len(names) > 1:
            raise SpecError(
                f"The cards are of {len(names)} models ({', '.join(names[:6])}); a model card is of one. Name one with "
                "--to 'hf-model-index[defense=NAME]', or give its cards only."
            )
        results = [self._result(board, row) for board, row in chosen]
        block = {"model-index": [{"name": self.model or names[0], "results": results}]}
        text = yaml.safe_dump(block, sort_keys=False, allow_unicode=True, width=120)
        target.write_text(f"---\n{text}---\n", encoding="utf-8")

    def _result(self, board: Any, row: Any) -> dict[str, Any]:
        threat = in_words(board.norm, board.radius)
        corrupted = board.norm == "corruption"
        worst, what = ("mean over", "corruptions") if corrupted else ("per-image worst case over", "attacks")
        attacks = [attack for attack in row.attacks if corrupted or attack.access == "white-box"]
        metrics = [
            _metric("accuracy", "Clean accuracy", row.clean, {"seed": row.seed}),
            _metric(
                "robust_accuracy",
                f"Robust accuracy, {threat}, {worst} {len(row.attacks)} {what}",
                row.robust,
                {"norm": board.norm, "eps": board.eps, "attacks": [attack.label for attack in attacks]},
            ),
        ]
        # The Hub takes a source's name only together with its address.
        source = {"source": {"name": "robench", "url": self.url}} if self.url else {}
        return {
            "task": {"type": "image-classification", "name": "Image classification under attack"},
            "dataset": {
                "type": self.dataset or board.dataset.partition("[")[0],
                "name": board.dataset,
                "split": "test",
                "args": {"n": board.n, "shape": list(board.shape), "sha256": board.test},
            },
            "metrics": metrics,
            **source,
        }


def _metric(kind: str, name: str, accuracy: Any, inside: dict[str, Any]) -> dict[str, Any]:
    interval = {"low": accuracy.low, "high": accuracy.high, "confidence": 0.95}
    return {"type": kind, "name": name, "value": accuracy.rate, "args": {**inside, **interval}}
