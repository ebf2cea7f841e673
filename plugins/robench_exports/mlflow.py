"""MLflow: one run a card, on a tracking server, in a database, or in a folder of this machine."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from robench import Card, Exporter, SpecError, parameter
from robench_exports.tracked_run import curves, metrics, parameters, run_name, tags

#: What a name may have in MLflow, and what a server takes at once.
_FORBIDDEN = re.compile(r"[^\w\-. /]", re.ASCII)
_LONGEST, _PARAMETERS, _METRICS = 6000, 100, 1000


class MLflow(Exporter):
    """Log one MLflow run a card: ``mlflow:URI`` or ``mlflow:FOLDER``; verdict as tag, card as artifact."""

    name = "mlflow"
    source = "https://mlflow.org/docs/latest/ml/tracking"

    uri: str = parameter(default="", help="tracking server, database or folder; empty: $MLFLOW_TRACKING_URI, or -o")
    experiment: str = parameter(default="robench", help="name of the experiment; it is made where there is none")

    @classmethod
    def shorthand(cls, text: str) -> dict[str, str] | None:
        """Read ``mlflow:URI``."""
        word, colon, rest = text.partition(":")
        return {"uri": rest} if colon and word == cls.name else None

    def destination(self) -> str:
        """Return the tracking URI, if one is named."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI", "")

    def write(self, cards: Sequence[Card], target: Path) -> None:
        """Log the runs; a card that the experiment has is not logged twice, only its verdict is brought up to date."""
        client, artifacts = self._client(target)
        experiment = client.get_experiment_by_name(self.experiment)
        number = (
            client.create_experiment(self.experiment, artifact_location=artifacts)
            if experiment is None
            else experiment.experiment_id
        )
        for card in cards:
            found = client.search_runs([number], f"tags.card = '{card.id}'", max_results=1)
            run = found[0].info.run_id if found else self._new_run(client, number, card)
            if found:
                for name, value in tags(card).items():
                    client.set_tag(run, name, value)
            client.log_text(run, msgspec.json.format(msgspec.json.encode(card)).decode(), card.file_name)

    def _client(self, target: Path) -> tuple[Any, str | None]:
        """Return a client of the tracking store, and where artifacts go, if not where the store says."""
        # What MLflow does unasked: report how it is used, try a dead server again for minutes, tell of its own tables.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise SpecError("mlflow needs the package 'mlflow'; run: pip install 'robench[mlflow]'.") from None

        where = self.destination()
        if where and (re.match(r"[\w+]{2,}:", where) or where == "databricks"):
            return MlflowClient(where), None
        folder = Path(where).expanduser().resolve() if where else target.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        database = f"sqlite:///{(folder / 'mlflow.db').as_posix()}"
        return MlflowClient(database), (folder / "artifacts").as_uri()

    def _new_run(self, client: Any, experiment: str, card: Card) -> str:
        """Log parameters, metrics and training curves of the card, and return the id of the finished run.

        The client is used and not ``mlflow.start_run``, which would add this machine's user and the path of the script.
        """
        from mlflow.entities import Metric, Param

        now = int(1000 * time.time())
        run: str = client.create_run(experiment, run_name=run_name(card), tags=tags(card)).info.run_id
        given = [Param(_FORBIDDEN.sub("_", name), str(value)[:_LONGEST]) for name, value in parameters(card).items()]
        measured = [Metric(name, value, now, 0) for name, value in metrics(card).items()]
        for step, figures in curves(card):
            measured += [Metric(_FORBIDDEN.sub("_", name), value, now, step) for name, value in figures.items()]
        for start in range(0, len(given), _PARAMETERS):
            client.log_batch(run, params=given[start : start + _PARAMETERS])
        for start in range(0, len(measured), _METRICS):
            client.log_batch(run, metrics=measured[start : start + _METRICS])
        client.set_terminated(run)
        return run
