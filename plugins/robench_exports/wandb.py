"""Weights & Biases: one run a card, sent, or kept in a folder until ``wandb sync``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from robench import Card, Exporter, SpecError, parameter
from robench_exports.tracked_run import curves, metrics, parameters, run_name, tags


class WandB(Exporter):
    """Log one W&B run a card: ``wandb:PROJECT`` or ``wandb:ENTITY/PROJECT``; verdict as tag, card as artifact."""

    name = "wandb"
    source = "https://docs.wandb.ai"

    project: str = parameter(default="robench", help="project, or ENTITY/PROJECT; it is made where there is none")

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``wandb:PROJECT``."""
        word, colon, rest = text.partition(":")
        return {"project": rest} if colon and word == cls.name else None

    def destination(self) -> str:
        """Return the project."""
        folder = os.path.join(os.environ.get("WANDB_DIR", ""), "wandb")
        offline = f" (offline: under {folder}; wandb sync sends them)" if _mode() == "offline" else ""
        return f"the W&B project {self.project}{offline}"

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Log the runs; a run's id is the card's, so that a card that is logged again takes the place of itself."""
        try:
            import wandb
        except ImportError:
            raise SpecError("wandb needs the package 'wandb'; run: pip install 'robench[wandb]'.") from None
        if _mode() == "disabled":
            raise SpecError("$WANDB_MODE is disabled, so nothing would be logged; unset it, or set it to offline.")
        try:
            for card in cards:
                self._log(wandb, card)
        except wandb.errors.UsageError as error:
            raise SpecError(
                f"W&B takes no runs of {self.project}: {str(error).rstrip('.')}. With WANDB_MODE=offline they are kept "
                "in this folder."
            ) from error

    def _log(self, wandb: Any, card: Card) -> None:
        entity, slash, project = self.project.rpartition("/")
        said = tags(card)
        with wandb.init(
            project=project,
            entity=entity if slash else None,
            id=card.id[:32],
            resume="allow",
            name=run_name(card),
            tags=[said["verdict"]],
            config={**parameters(card), **said},
            settings=_settings(wandb),
        ) as run:
            for step, figures in curves(card):
                run.log(dict(figures), step=step)
            run.summary.update(metrics(card))
            artifact = wandb.Artifact(f"card-{card.id[:32]}", type="card")
            with artifact.new_file(card.file_name, mode="wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(card)))
            run.log_artifact(artifact)


def _mode() -> str:
    return os.environ.get("WANDB_MODE", "online")


def _settings(wandb: Any) -> Any:
    """Return settings under which W&B says nothing of this machine, its user, the folder or the code."""
    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        email="",
        host="robench",
        program="robench",
        quiet=True,
        silent=True,
        username="robench",
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
