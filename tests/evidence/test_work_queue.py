"""Processes that share a store take what is free: each piece of work once, in any order, with one result."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from robench import Attack, Classifier, Examples, ThreatModel
from robench.api import choose_device, grid
from robench.contracts.task import Task
from robench.evidence.adversarial_set import KIND, chunk_key
from robench.evidence.store import Store
from robench.evidence.work_queue import free_first
from robench.pipeline import flow
from robench.pipeline.stages import craft as module
from robench.plan.spec import Spec, plan

from ..grey import catalog_of, grey
from ..worker_processes import simulate

__all__ = ["catalog_of", "grey"]


class Other:
    """Be another process that holds a lock, until it is told to let go."""

    def __init__(self, root, kind, key):
        self._go, ready = threading.Event(), threading.Event()

        def hold():
            with Store(root).lock(kind, key):
                ready.set()
                self._go.wait(60)

        self._thread = threading.Thread(target=hold)
        self._thread.start()
        assert ready.wait(60)

    def let_go(self):
        self._go.set()
        self._thread.join(60)


def test_what_another_holds_comes_last(tmp_path):
    other = Other(tmp_path, "group", "b")
    try:
        places = free_first("group", ["a", "b", "c"], Store(tmp_path))
        assert [next(places) for _ in range(3)] == [0, 2, 1]
    finally:
        other.let_go()
    assert list(free_first("group", ["a", "b", "c"], Store(tmp_path))) == [0, 1, 2]


def test_a_group_is_held_while_it_is_worked_on(tmp_path):
    mine, others = free_first("group", ["a", "b"], Store(tmp_path)), free_first("group", ["a", "b"], Store(tmp_path))
    assert next(mine) == 0
    assert next(others) == 1  # the other process begins with what is free
    assert next(others) == 0  # and then helps
    assert next(mine) == 1


class Noting(Attack):
    """Take down which images are crafted."""

    name = "noting"

    def craft(self, model, images, labels, task):
        began.append(task.indices[0])
        if task.indices[0] == 2:
            other.let_go()  # the other process has finished, or was killed
        return images


began: list[int] = []
other = SimpleNamespace()


def test_chunks_that_another_crafts_are_waited_for_last(tmp_path, monkeypatch):
    global other
    monkeypatch.setattr(module, "CHUNK", 2)
    began.clear()
    store, other = Store(tmp_path), Other(tmp_path, KIND, chunk_key("set", 0))
    task = Task(classes=("a", "b"), shape=(1, 2, 2), threat_model=ThreatModel("Linf", 0.1), batch_size=2)
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 2)
    images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    test = Examples.from_tensors(images, torch.zeros(6))
    made = module.craft(Noting(), model, test, None, task, store, "set")
    assert began == [2, 4, 0]
    assert torch.equal(torch.cat([batch.images for batch in made.batches(2, "cpu")]), images)


def test_cards_come_in_the_order_of_the_request(grey, monkeypatch):
    finished: list[float] = []
    keys: list[str] = []
    named = grid._key
    monkeypatch.setattr(grid, "_key", lambda group: keys.append(named(group)) or keys[-1])
    known = grey.run(eps=["4/255", "8/255"])
    holding = Other(grey.store / "again", "group", keys[0])
    try:
        found = grey.run(
            eps=["4/255", "8/255"],
            store=grey.store / "again",
            on_card=lambda card: finished.append(round(255 * card.cell.threat.eps)),
        )
    finally:
        holding.let_go()
    assert finished[0] == 8
    assert [card.id for card in found] == [card.id for card in known]
    assert [card.robust.bits for card in found] == [card.robust.bits for card in known]


def test_a_defended_victim_that_another_fits_comes_last_in_its_group(grey, monkeypatch):
    asked = {"defense": ["scale"], "attack": ["step", "steps"]}
    known = grey.run(**asked)
    measured: list[str] = []
    measure = flow.measure
    monkeypatch.setattr(flow, "measure", lambda cell, *given: measured.append(cell.fit_id) or measure(cell, *given))
    measured.clear()
    first, *others = dict.fromkeys(cell.fit_id for cell in plan(Spec(**asked), "cpu", grey.catalog))
    holding = Other(grey.store / "again", "victim", first)
    try:
        found = grey.run(**asked, store=grey.store / "again")
    finally:
        holding.let_go()
    assert list(dict.fromkeys(measured)) == [*others, first]
    assert [card.id for card in found] == [card.id for card in known]
    assert [card.robust.bits for card in found] == [card.robust.bits for card in known]


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "SLURM_LOCALID"])
def test_each_process_of_a_node_takes_a_gpu_of_its_own(monkeypatch, variable):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    taken = []
    for number in range(3):
        monkeypatch.setenv(variable, str(number))
        taken.append(choose_device("cuda"))
    assert taken == ["cuda", "cuda:1", "cuda:0"]
    assert choose_device("cuda:0") == "cuda:0"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # the scheduler shows each process one
    monkeypatch.setenv(variable, "1")
    assert choose_device("cuda") == "cuda"


def test_many_processes_do_each_piece_once(tmp_path):
    spent = simulate(tmp_path, pieces=60, workers=12, seconds=0.002)
    assert spent.times == [1] * 60
