"""``robench run --on parsl:CONFIG.py``: the parts of a grid as tasks of an engine, on whatever machines it has.

Parsl (Babuji et al. 2019) starts workers through Slurm, PBS, Kubernetes and others, gives each a GPU of its own, and
gives a task again that a lost machine did not finish. A task is this program with the user's own words, for one
comparison group of cells: the store is what the tasks share, and where their results are.
"""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robench.cli.options import warn
from robench.cli.workers import PROGRAM, last_line, without
from robench.errors import PluginError, SpecError

if TYPE_CHECKING:
    from robench.plan.spec import Spec

PREFIX = "parsl:"
#: What a task is told otherwise.
TOLD = ("--out", "-o", "--store", "--workers", "--on", "--shard")


def run_on(
    engine: str, words: Sequence[str], specs: Sequence[Spec], store: Path | None, out: Path, options: dict[str, Any]
) -> None:
    """Let an engine compute what the store does not have, so that nothing is left to compute here.

    Args:
        engine: ``parsl:CONFIG.py``.
        words: the command as it was typed.
        specs: what is run.
        store: folder that all machines see.
        out: folder below which the tasks say what they have to say.
        options: those of ``robench run``.

    Raises:
        SpecError: the engine, or its file, is none.
        PluginError: Parsl is not installed.
    """
    from robench.evidence.files import ready_folder
    from robench.evidence.store import default_root
    from robench.runtime.progress_bars import terminal

    config = _config(engine)
    for name, value in (("--workers", options["workers"] != 1), ("--shard", options["shard"])):
        if value:
            raise SpecError(f"--on {engine} gives the work out by itself; leave {name} out.")
    root = (store or default_root()).resolve()
    parts = _parts(specs, root, options)
    if not parts:
        return
    logs = out.resolve() / "tasks"
    ready_folder(logs)
    logs.mkdir(parents=True, exist_ok=True)
    told = ["--store", str(root)]
    with _loaded(config) as submit, terminal() as progress:
        tasks = {
            submit(_command([*without(words, TOLD), *told, "--shard", part]), logs / f"{number}.log"): number
            for number, part in enumerate(parts, 1)
        }
        for task in progress.track(as_completed(tasks), len(tasks), f"tasks of {engine}"):
            _tell(task, logs / f"{tasks[task]}.log")


def _tell(task: Future[int], log: Path) -> None:
    """Say why a task did not finish its part; cells that failed in it (exit code 1) are told of at the end."""
    error = task.exception()
    if error is not None and getattr(error, "exitcode", None) != 1:
        said = last_line(log) if log.is_file() else str(error)
        warn(f"A task failed ({said}); its cells are computed when the command is given again. Log: {log}")


def _parts(specs: Sequence[Spec], root: Path, options: dict[str, Any]) -> list[str]:
    """Return a part of the grid a task: as many for a group as it has defended victims that are not in the store.

    Several tasks of one group share its victims. All groups come once before any comes twice.
    """
    from robench.api import choose_device, comparison_groups
    from robench.evidence.store import Store
    from robench.gate.level import level_of
    from robench.pipeline.card_cache import cached
    from robench.plan.spec import plan

    level, store = level_of(options["gate"], options["gate_images"], options["gate_cost"]), Store(root)
    device = choose_device(options["device"])
    groups = [group for spec in specs for group in comparison_groups(plan(spec, device))]
    counts = [0 if cached(group, store, level) else len({cell.fit_id for cell in group}) for group in groups]
    return [
        f"{place}/{len(groups)}"
        for round_ in range(max(counts, default=0))
        for place, count in enumerate(counts, 1)
        if round_ < count
    ]


def _command(words: Sequence[str]) -> str:
    """Return the command line of a task, in the folder where the user typed it; what it renders is dropped."""
    line = shlex.join([sys.executable, *PROGRAM, *words])
    there = f"cd {shlex.quote(str(Path.cwd()))} && rendered=$(mktemp -d)"
    return f'{there} && {{ {line} --out "$rendered"; code=$?; rm -rf "$rendered"; exit $code; }}'


def _config(engine: str) -> Any:
    """Return the Parsl configuration of a file."""
    file = Path(engine.removeprefix(PREFIX))
    if not engine.startswith(PREFIX) or not engine.removeprefix(PREFIX):
        raise SpecError(f"--on {engine} names no engine; write --on parsl:CONFIG.py (docs/clusters.md has such files).")
    try:
        from parsl.config import Config
    except ImportError:
        raise PluginError(f"--on {engine} needs Parsl; run pip install 'robench[parsl]'.") from None
    if not file.is_file():
        raise SpecError(f"--on {engine}: there is no file {file}; write one that sets 'config' (docs/clusters.md).")
    try:
        found = runpy.run_path(str(file)).get("config")
    except Exception as error:  # the user's code may raise anything
        raise SpecError(f"--on {engine}: {file} fails with {type(error).__name__}: {error}.") from error
    if not isinstance(found, Config):
        raise SpecError(f"--on {engine}: {file} sets no 'config' that is a parsl.config.Config (docs/clusters.md).")
    return found


@contextmanager
def _loaded(config: Any) -> Iterator[Any]:
    """Give what submits a command line, while Parsl runs; what has not begun is given up when this is left early."""
    import parsl

    def task(line: str, stdout: str, stderr: tuple[str, str]) -> str:
        return line

    with parsl.load(config) as kernel:
        app = parsl.bash_app(task, data_flow_kernel=kernel)
        yield lambda line, log: app(line, stdout="/dev/null", stderr=(str(log), "w"))
