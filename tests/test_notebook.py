"""The example notebook, run by a kernel as Jupyter starts it: tables, chart, progress, errors as a reader sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "notebook" / "first_steps.ipynb"


@pytest.fixture(scope="module")
def outputs(once):
    """Return the outputs of each code cell, by the cell's id, and the folder in which the notebook ran."""

    def execute(root):
        book = nbformat.read(NOTEBOOK, as_version=4)
        environment = {**os.environ, "ROBENCH_STORE": str(root / "store")}
        client = nbclient.NotebookClient(book, timeout=800, resources={"metadata": {"path": str(root)}})
        with client.setup_kernel(env=environment):
            for place, cell in enumerate(book.cells):
                client.execute_cell(cell, place)
        nbformat.write(book, root / "done.ipynb")

    root = once("notebook", execute)
    book = nbformat.read(root / "done.ipynb", as_version=4)
    return {cell.id: cell.outputs for cell in book.cells if cell.cell_type == "code"}, root


def of_kind(outputs, kind):
    return [output.data[kind] for output in outputs if "data" in output and kind in output.data]


def test_results_are_a_table_and_a_line_a_card(outputs):
    shown, _ = outputs
    (table,) = of_kind(shown["run"], "text/html")
    assert table.startswith("<table><thead><tr><th>dataset</th>")
    assert table.count("<tr>") == 1 + 6
    plain = of_kind(shown["run"], "text/plain")[-1]
    assert plain.splitlines()[0] == "Results: 6 cards"
    assert "none on tiny-clip, digits, fgsm at Linf 2/255, n = 100: clean 9" in plain


def test_progress_is_one_line_that_ends_with_the_last_stage(outputs):
    shown, _ = outputs
    lines = [output for output in shown["run"] if output.output_type == "display_data"]
    assert len(lines) == 1
    assert ": done (" in lines[0].data["text/plain"]


def test_tables_and_chart(outputs):
    shown, _ = outputs
    (frame,) = of_kind(shown["dataframe"], "text/html")
    assert "<th>robust_low</th>" in frame
    assert len(of_kind(shown["plot"], "image/png")) == 1


def test_a_module_a_refusal_and_a_report(outputs):
    shown, root = outputs
    assert of_kind(shown["module"], "text/plain")[-1].startswith("(0.")
    (said,) = [output.text for output in shown["error"]]
    assert "'pdg'; did you mean 'pgd'?" in said
    assert (root / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_no_cell_writes_to_the_error_stream(outputs):
    shown, _ = outputs
    assert [out.text for found in shown.values() for out in found if out.get("name") == "stderr"] == []
