"""A stranger's test: for each question of the kind "where would I change ..." a file whose path says so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Question -> the file that answers it, and what must be defined there.
WHERE = {
    "how L2 balls are projected": ("benchmark/robench/contracts/threat_model.py", "ThreatModel.project"),
    "how 8/255 is parsed": ("benchmark/robench/contracts/threat_model.py", "parse_eps"),
    "how a JPEG is decoded": ("benchmark/robench/contracts/image_files.py", "decode_image"),
    "how the type of a parameter is converted": ("benchmark/robench/contracts/parameters.py", "convert"),
    "what keeps test images out of training": (
        "benchmark/robench/contracts/test_split_guard.py",
        "guarding_test_split",
    ),
    "what a card's cost holds": ("benchmark/robench/evidence/card.py", "Cost"),
    "how forwards and backwards are counted": ("benchmark/robench/evidence/meter.py", "Meter.counting"),
    "what a fingerprint depends on": ("benchmark/robench/evidence/fingerprint.py", "of_component"),
    "how an artifact is stored": ("benchmark/robench/evidence/store.py", "Store.put"),
    "which images the gate samples": ("benchmark/robench/gate/probe_context.py", "ProbeContext.some"),
    "the gate's pass budget": ("benchmark/robench/gate/pass_budget.py", "PassBudget.images"),
    "how many images a level of the gate takes": ("benchmark/robench/gate/level.py", "LEVELS"),
    "what is known of a measured cell": ("benchmark/robench/gate/measurement.py", "Measurement"),
    "which checks are made, in which order": ("benchmark/robench/gate/registry.py", "CHECKS"),
    "when a gradient counts as masked": ("benchmark/robench/gate/gradients.py", "BLIND"),
    "what the user's request may hold": ("benchmark/robench/plan/spec.py", "Spec"),
    "which keys a suite file has": ("benchmark/robench/plan/suite.py", "read_suite"),
    "what `folder:photos` stands for": ("benchmark/robench/plan/references.py", "resolve_reference"),
    "the default batch size": ("benchmark/robench/pipeline/workbench.py", "Workbench.batch_size"),
    "the order of the stages": ("benchmark/robench/pipeline/flow.py", "measure"),
    "how batches are halved when memory runs out": (
        "benchmark/robench/runtime/out_of_memory.py",
        "retry_in_halves",
    ),
    "which exact rewrites make inference faster": ("benchmark/robench/runtime/inference.py", "prepare"),
    "what `robench list` prints": ("benchmark/robench/cli/list_show.py", "list_command"),
    "how a card's verdict looks in the terminal": ("benchmark/robench/cli/card_view.py", "print_verdict"),
    "how plugins are found": ("benchmark/robench/plugin/discovery.py", "discover"),
    "the loop that trains a model from scratch": ("plugins/robench_builtins/training/loop.py", "TrainingLoop"),
    "how rows share a rank": ("leaderboard/robench_leaderboard/statistics/significance.py", "shared_ranks"),
}


def defined(path: Path) -> set[str]:
    """Return what a module defines: functions, classes and their methods, and module-level names."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{entry.name}" for entry in node.body if isinstance(entry, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("question", WHERE)
def test_the_file_that_answers_is_there_and_defines_it(question):
    file, name = WHERE[question]

    assert name in defined(ROOT / file)


def test_there_are_as_many_questions_as_a_stranger_was_asked():
    assert len(WHERE) >= 25
