"""``make bench-gpu``, of which every part is run here on the pretended GPU, at tiny sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import robench
from robench.evidence import card_file
from robench.testing import pretended_cuda

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(monkeypatch):
    """Return the module behind ``make bench-gpu``, and the parts and sizes of it."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import bench_gpu, gpu_parts, gpu_victims

    # The real one's statistics take seconds to draw.
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 8, 8), torch.nn.Flatten(), torch.nn.Linear(32, 10))
    monkeypatch.setattr(gpu_victims, "resnet20", lambda: small)
    bench_gpu.parts, bench_gpu.TINY = gpu_parts, gpu_victims.TINY
    return bench_gpu


#: Of each part how its first and its last row begin, and how many there are.
ROWS = {
    "against the CPU": ("fgsm, Linf: against the CPU", "pgd, L1: against the CPU", 6),
    "repeated": ("ResNet-20: PGD-3 twice", "tiny: kernels of PGD-3", 4),
    "ceilings": ("products of float32 matrices", "serving images at 224 px", 3),
    "speed": ("ResNet-20, PGD-1: counted floor", "tiny, PGD-1: the stage", 14),
}


def test_every_attack_that_is_compared_can_be(bench, monkeypatch):
    tried = []

    def moved(self, model, images, labels, task):
        tried.append(self.name)
        if self.shared:
            task.training_images()
        return images

    for kind in bench.parts.robench_attacks():
        monkeypatch.setattr(kind, "craft", moved)
    rows = list(bench.PARTS["against the CPU"]("cpu", replace(bench.TINY, attacks=())))
    assert {"pgd", "apgd", "cw", "fab", "square", "universal"} <= {*tried}
    assert len(rows) == len(tried) / 2 >= 30


@pytest.mark.parametrize("name", ROWS)
def test_each_part_runs(bench, monkeypatch, name):
    monkeypatch.setattr(bench.parts, "kernels", lambda work: 7)  # torch's profiler does not end on a pretended device
    with pretended_cuda():
        rows = list(bench.PARTS[name]("cuda", bench.TINY))
    assert (rows[0][0], rows[-1][0], len(rows)) == ROWS[name]
    assert all(len(row) == 3 and "|" not in "".join(row) for row in rows)
    if name == "against the CPU":
        assert {row[1] for row in rows} == {"0 of 2 verdicts differ, pixels by at most 0/255"}
    if name == "repeated":
        assert rows[0][1] == "the same bits"


def test_the_gates_share_is_read_from_a_card(bench, monkeypatch):
    asked = {}
    file = ROOT / "tests" / "golden" / "card-v3.json"
    card = card_file.decode(file.read_bytes(), file.name)
    monkeypatch.setattr(robench, "run", lambda **request: asked.update(request) or [card])
    (row,) = bench.PARTS["gate"]("cuda", bench.TINY)
    assert f"; {card.cost.gate.forwards:,} forwards against {card.cost.craft.forwards:,}" in row[1]
    assert (asked["n"], asked["gate"], asked["device"]) == (6, "quick", "cuda")
    # As it is run on a pretended GPU in tests/pipeline/test_on_cuda.py.
    assert {*asked} - {"n", "gate", "device", "store"} == {"dataset", "victim", "defense", "attack"}


WORKER = """
import json, pathlib, sys, time
device, images, batch, steps, folder = sys.argv[1:]
folder = pathlib.Path(folder)
(folder / f"ready-{images}-{id(folder)}-{time.time_ns()}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
print(json.dumps([int(images), 10.5]))
"""


def test_several_processes_begin_together(bench, monkeypatch):
    monkeypatch.setattr(bench.parts, "WORKER", ("-c", WORKER))
    # Each is given two of the four images, and says that it worked from second 2 to 10.5.
    assert bench.parts._together(2, "cpu", bench.TINY) == 8.5
    monkeypatch.setattr(bench.parts, "WORKER", ("-c", "raise SystemExit(3)"))
    with pytest.raises(RuntimeError, match="a process did not begin"):
        bench.parts._together(1, "cpu", bench.TINY)


def test_what_each_of_them_does(bench, tmp_path, capsys):
    from benchmarks import gpu_worker

    (tmp_path / "go").touch()
    gpu_worker.main("cpu", 2, 2, 1, str(tmp_path))
    begun, ended = json.loads(capsys.readouterr().out)
    assert begun < ended
    assert len(list(tmp_path.glob("ready-*"))) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cpu_is_given_no_kernel(bench):
    assert bench.parts.kernels(lambda: torch.ones(3) + 1) == 0


def test_operations_are_those_counted_by_hand(bench):
    linear = torch.nn.Linear(5, 3)
    # A product of 1 x 5 and 5 x 3, and back to the image one of 1 x 3 and 3 x 5; two operations a product.
    assert bench.parts.operations(linear.requires_grad_(False), torch.zeros(1, 5)) == 2 * 15 + 2 * 15


def test_without_a_gpu_it_says_so(bench, capsys):
    assert bench.main([]) == 2
    assert capsys.readouterr().err == (
        "make bench-gpu measures what only a CUDA GPU can show, and torch sees none here: run it on a machine with one "
        "and a torch build with CUDA. What can be shown without one: make bench, and tests/pipeline/test_on_cuda.py.\n"
    )
    assert "bench-gpu:" in (ROOT / "Makefile").read_text()


@pytest.fixture
def page(tmp_path):
    """Return a page like docs/speed.md, whose real place is empty or filled by real runs alone."""
    file = tmp_path / "speed.md"
    file.write_text("# Speed\n\n<!-- bench-gpu: begin -->\n\nEmpty.\n\n<!-- bench-gpu: end -->\n\nThe end.\n")
    real = (ROOT / "docs" / "speed.md").read_text()
    assert real.count("<!-- bench-gpu: begin -->") == real.count("<!-- bench-gpu: end -->") == 1
    return file


def test_the_table_goes_into_its_place_and_a_failing_part_stops_no_other(bench, page, monkeypatch, capsys):
    def fails(device, sizes):
        yield "one row", "1", device
        raise RuntimeError("no | kernel\nimage")

    monkeypatch.setattr(bench, "PARTS", {"broken": fails, "whole": lambda device, sizes: iter([("two", "2", "")])})
    with pretended_cuda():
        code = bench.main(["--only", "broken,whole", "--out", str(page)])
        bench.put(page, "Another card", bench.table("Another card", [("three", "3", "")]))
        bench.main(["--only", "whole", "--out", str(page)])
    assert code == 1
    text = page.read_text()
    head, rows = "pretended GPU 0, torch ", "| what | measured | how |\n|:--|:--|:--|\n"
    assert text.startswith(
        "# Speed\n\n<!-- bench-gpu: begin -->\n\n### Another card\n\n" + rows + "| three | 3 |  |\n\n"
    )
    assert text.count(f"### {head}") == 1
    assert text.endswith(rows + "| two | 2 |  |\n\n<!-- bench-gpu: end -->\n\nThe end.\n")
    assert "broken: failed" not in text
    assert "no / kernel" not in capsys.readouterr().err


def test_what_failed_and_what_is_not_reached_is_named(bench, monkeypatch):
    def fails(device, sizes):
        yield "one row", "1", device
        raise RuntimeError("no | kernel\nimage")

    monkeypatch.setattr(bench, "PARTS", {"broken": fails})
    assert bench.rows_of("cpu", bench.TINY, ["broken"]) == (
        [("one row", "1", "cpu"), ("broken", "failed: RuntimeError: no / kernel image", "")],
        ["broken"],
    )
    rows, failed = bench.rows_of("cpu", bench.TINY, ["broken"], limit=-1)
    assert (rows, failed) == ([("broken", "not reached in time", "--only gives it a run of its own")], [])


def test_what_is_compiled_is_timed_and_compared(bench, monkeypatch):
    made = []
    monkeypatch.setattr(torch, "compile", lambda network, **how: made.append(how) or network)
    rows = list(bench.PARTS["compiled"]("cpu", bench.TINY))
    assert [row[0] for row in rows] == [
        f"{name}: torch.compile, {way}" for name in ("ResNet-20", "tiny") for way in ("any size", "CUDA graphs")
    ]
    assert made == 2 * [{}, {"mode": "reduce-overhead", "dynamic": False}]
    assert all(row[1].endswith("of the time, gradients differ by 0.0e+00") for row in rows)
    assert {row[2] for row in rows} == {"batch 2; compiled in 0 s"}


def test_compiling_is_begun_only_where_there_is_time_for_it(bench, monkeypatch):
    monkeypatch.setattr(bench, "PARTS", {"compiled": lambda device, sizes: iter([("one", "1", "")])})
    late = ([("compiled", "not reached in time", "--only gives it a run of its own")], [])
    assert bench.rows_of("cpu", bench.TINY, ["compiled"], limit=149) == late
    assert bench.rows_of("cpu", bench.TINY, ["compiled"], limit=200) == ([("one", "1", "")], [])


def test_an_unknown_part_is_refused(bench, capsys):
    with pytest.raises(SystemExit) as raised:
        bench.main(["--only", "sped"])
    assert raised.value.code == 2
    assert "there is no part sped; there are against the CPU, repeated, ceilings" in capsys.readouterr().err
