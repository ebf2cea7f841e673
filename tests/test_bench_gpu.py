"""``make bench-gpu``, of which every part is run here on the pretended GPU, at tiny sizes."""

from __future__ import annotations

import json
import re
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
    from benchmarks import bench_gpu, gpu_clock, gpu_parts, gpu_search, gpu_speed, gpu_victims

    # The real one's statistics take seconds to draw.
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 8, 8), torch.nn.Flatten(), torch.nn.Linear(32, 10))
    monkeypatch.setattr(gpu_victims, "resnet20", lambda: small)
    bench_gpu.parts, bench_gpu.TINY = gpu_parts, gpu_victims.TINY
    bench_gpu.clock, bench_gpu.search, bench_gpu.in_hands = gpu_clock, gpu_search, gpu_speed
    return bench_gpu


#: Of each part how its first and its last row begin, and how many there are.
ROWS = {
    "against the CPU": ("fgsm, Linf: against the CPU", "pgd, L1: against the CPU", 6),
    "repeated": ("ResNet-20: PGD-3 twice", "tiny: kernels of PGD-3", 4),
    "ceilings": ("products of float32 matrices", "serving images at 224 px", 3),
    "speed": ("ResNet-20, PGD-1: counted floor", "tiny, PGD-1: the stage", 14),
    "precision": ("ResNet-20, PGD-1 in float32", "tiny, PGD-1 in bf16", 6),
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
    assert "corruption" not in tried  # its library may be missing, and no model is asked
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
    monkeypatch.setattr(bench.in_hands, "WORKER", ("-c", WORKER))
    # Each is given two of the four images, and says that it worked from second 2 to 10.5.
    assert bench.in_hands._together(2, "cpu", bench.TINY) == 8.5
    monkeypatch.setattr(bench.in_hands, "WORKER", ("-c", "raise SystemExit(3)"))
    with pytest.raises(RuntimeError, match="a process did not begin"):
        bench.in_hands._together(1, "cpu", bench.TINY)


def test_what_each_of_them_does(bench, tmp_path, capsys):
    from benchmarks import gpu_worker

    (tmp_path / "go").touch()
    gpu_worker.main("cpu", 2, 2, 1, str(tmp_path))
    begun, ended = json.loads(capsys.readouterr().out)
    assert begun < ended
    assert len(list(tmp_path.glob("ready-*"))) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cpu_is_given_no_kernel(bench):
    assert bench.clock.kernels(lambda: torch.ones(3) + 1) == 0


def test_operations_are_those_counted_by_hand(bench):
    linear = torch.nn.Linear(5, 3)
    # A product of 1 x 5 and 5 x 3, and back to the image one of 1 x 3 and 3 x 5; two operations a product.
    assert bench.clock.operations(linear.requires_grad_(False), torch.zeros(1, 5)) == 2 * 15 + 2 * 15


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


def test_a_part_is_begun_only_where_there_is_time_for_it(bench, monkeypatch):
    monkeypatch.setattr(bench, "PARTS", {"compiled": lambda device, sizes: iter([("one", "1", "")])})
    late = ([("compiled", "not reached in time", "--only gives it a run of its own")], [])
    assert bench.rows_of("cpu", bench.TINY, ["compiled"], limit=99) == late
    assert bench.rows_of("cpu", bench.TINY, ["compiled"], limit=150) == ([("one", "1", "")], [])


def test_no_part_takes_the_seconds_of_those_after_it(bench, monkeypatch):
    now = [0.0]

    def slow(device, sizes):
        for row in range(9):
            now[0] += 100
            yield f"row {row}", "1", ""

    monkeypatch.setattr(bench.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(bench, "PARTS", {"speed": slow, "compiled": lambda device, sizes: iter([("one", "1", "")])})
    cut = ("speed", "out of time after these rows", "--only gives it a run of its own")
    rows, _ = bench.rows_of("cpu", bench.TINY, ["speed", "compiled"])
    assert [row[0] for row in rows] == ["row 0", "row 1", "row 2", "row 3", "speed", "compiled"]
    assert rows[4] == cut
    now[0] = 0.0
    rows, _ = bench.rows_of("cpu", bench.TINY, ["speed"], limit=600)
    assert [row[0] for row in rows] == [f"row {row}" for row in range(7)] + ["speed"]


def test_every_part_has_its_seconds_and_together_they_fit(bench):
    assert {*bench.NEEDED} == {*bench.PARTS}
    assert sum(bench.NEEDED.values()) <= bench.LIMIT
    page = (ROOT / "docs" / "speed.md").read_text()
    assert all(f"| `{part}` | {seconds:.0f} |" in page for part, seconds in bench.NEEDED.items())


def test_what_fewer_bits_decide_otherwise_is_counted_in_float32(bench, monkeypatch):
    asked, precise = [], bench.search.searching_in

    def watched(kind, model, device):
        asked.append((kind, device))
        return precise(kind, model, device)

    monkeypatch.setattr(bench.search, "searching_in", watched)
    # Of the searched images float32 gets as many right whatever searched, in bf16 two others.
    stands = iter(torch.tensor(rows).bool() for rows in ([1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 0, 0]))
    monkeypatch.setattr(bench.search, "standing", lambda found, moved: next(stands))
    times = iter([(2.0, None), (1.0, None), (0.5, None)])
    monkeypatch.setattr(bench.search, "timed", lambda work, device, rounds: next(times))
    with pretended_cuda():
        rows = list(bench.PARTS["precision"]("cuda", replace(bench.TINY, clip=())))
    assert asked == [("float32", "cuda"), ("tf32", "cuda"), ("bf16", "cuda")]
    assert [row[1] for row in rows] == [
        "2.000 s, 50% stand",
        "0.50 of float32's time, 0 of 4 verdicts differ",
        "0.25 of float32's time, 2 of 4 verdicts differ",
    ]


def test_a_card_without_tf32_is_said_to_have_none(bench, monkeypatch):
    with pretended_cuda():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device=None: (7, 5))
        rows = list(bench.PARTS["precision"]("cuda", replace(bench.TINY, clip=())))
    assert [row[1] == "not on this card" for row in rows] == [False, True, False]
    assert "has no TF32, which takes 8.0" in rows[1][2]


def test_refilled_batches_ask_the_model_less_often(bench):
    sizes = replace(bench.TINY, resnet_batch=8, steps=(10,))
    with pretended_cuda():
        half, few = list(bench.PARTS["refill"]("cuda", sizes))
    for row, share in ((half, 0.5), (few, 0.02)):
        stand = int(row[0].removeprefix("ResNet-20, PGD-10, batches refilled, ").partition("%")[0]) / 100
        assert abs(stand - share) <= 0.25
        now, before = map(int, re.search(r"(\d+) calls of the model instead of (\d+)", row[1]).groups())
        assert now < before <= 4 * 10
        assert row[1].endswith(", 0 of 32 verdicts differ")
        assert row[2] == "32 images, 4 batches of 8 at once, early exit"


def test_a_radius_is_found_at_which_a_share_stands(bench):
    found = bench.search.victim("ResNet-20", 64, 32, "cpu")
    attack = bench.search.PGD(steps=3)
    for share in (0.2, 0.5, 0.8):
        threat = bench.search.radius(found, attack, share, "cpu")
        task = found.task("cpu").replace(threat_model=threat, stop_early=True)
        moved = attack.craft(found.model, found.images, found.labels, task)
        assert abs(float(bench.search.standing(found, moved).float().mean()) - share) <= 0.1


def test_an_unknown_part_is_refused(bench, capsys):
    with pytest.raises(SystemExit) as raised:
        bench.main(["--only", "sped"])
    assert raised.value.code == 2
    assert "there is no part sped; there are against the CPU, repeated, ceilings" in capsys.readouterr().err
