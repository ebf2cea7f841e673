"""Passes are counted exactly; clocks add up."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robench.contracts.classifier import Classifier, input_gradient
from robench.evidence import meter as module
from robench.evidence.card import Cost
from robench.evidence.meter import Meter


def model():
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), 4)


def images(count):
    return torch.rand(count, 3, 2, 2)


def climb(network, count):
    labels = torch.zeros(count, dtype=torch.long)
    return input_gradient(lambda x: F.cross_entropy(network(x), labels, reduction="none"), images(count))


@pytest.fixture
def meter():
    return Meter()


def passes(meter):
    return meter.forwards, meter.backwards


def test_a_forward_without_gradients_counts_its_images(meter):
    network = model()
    with meter.counting(network), torch.no_grad():
        network(images(5))
        network(images(2))
    assert passes(meter) == (7, 0)


def test_a_forward_with_gradients_that_are_not_taken_is_no_backward(meter):
    network = model()
    with meter.counting(network):
        network(images(5))
    assert passes(meter) == (5, 0)


def test_a_step_is_one_forward_and_one_backward(meter):
    network = model()
    with meter.counting(network):
        for _ in range(3):
            climb(network, 4)
    assert passes(meter) == (12, 12)


def test_frozen_weights_change_no_count(meter):
    network = model().requires_grad_(False)
    with meter.counting(network):
        climb(network, 4)
        network(images(3))
    assert passes(meter) == (7, 4)


def test_training_is_counted_likewise(meter):
    network = model()
    with meter.counting(network):
        network(images(6)).sum().backward()
    assert passes(meter) == (6, 6)


def test_two_backwards_through_one_forward_are_two(meter):
    network = model()
    with meter.counting(network):
        logits = network(images(3))
        logits[:, 0].sum().backward(retain_graph=True)
        logits[:, 1].sum().backward()
    assert passes(meter) == (3, 6)


def test_one_backward_through_two_forwards_is_two(meter):
    network = model()
    with meter.counting(network):
        (network(images(3)) + network(images(3))).sum().backward()
    assert passes(meter) == (6, 6)


def test_counting_ends_with_its_block(meter):
    network = model()
    with suppress(ValueError), meter.counting(network):
        network(images(1))
        raise ValueError
    network(images(9))
    assert passes(meter) == (1, 0)


def test_several_models_are_counted_together(meter):
    first, second, third = model(), model(), model()
    with meter.counting(first), meter.counting(second):
        climb(first, 2)
        climb(second, 3)
        climb(third, 4)
    assert passes(meter) == (5, 5)


def test_inner_modules_are_not_counted_twice(meter):
    network = Classifier(model(), 4)
    with meter.counting(network):
        climb(network, 3)
    assert passes(meter) == (3, 3)


def test_what_is_no_tensor_is_not_counted(meter):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    network = Pair()
    with meter.counting(network):
        network(images(2))
    assert passes(meter) == (0, 0)


# Clocks


def test_the_clock_adds_up(meter):
    for _ in range(2):
        with meter.clock():
            time.sleep(0.02)
    assert 0.04 <= meter.seconds < 2
    assert meter.peak_bytes > 1_000_000
    assert meter.joules is None


def test_the_clock_stops_on_an_error(meter):
    with suppress(ValueError), meter.clock():
        time.sleep(0.01)
        raise ValueError
    stopped = meter.seconds
    assert stopped >= 0.01
    time.sleep(0.01)
    assert meter.state()["seconds"] == stopped


def test_a_running_clock_counts_so_far(meter):
    with meter.clock():
        time.sleep(0.01)
        assert 0.01 <= meter.state()["seconds"] < 1
        assert meter.seconds == 0


def test_peak_memory_is_the_largest_of_the_blocks(meter, monkeypatch):
    peaks = iter([300, 700, 500])
    monkeypatch.setattr(module, "_peak", lambda device: next(peaks))
    for _ in range(3):
        with meter.clock():
            pass
    assert meter.peak_bytes == 700


def test_energy_is_added_where_it_is_measured(meter, monkeypatch):
    counter = iter([10.0, 12.5, 20.0, 21.0])
    monkeypatch.setattr(module, "_joules", lambda device: next(counter))
    for _ in range(2):
        with meter.clock():
            pass
    assert meter.joules == 3.5


def test_a_cpu_has_no_energy_counter():
    assert module._joules("cpu") is None
    assert module._joules("cuda:99") is None or torch.cuda.is_available()


def test_peak_memory_without_proc_is_the_processs(monkeypatch):
    def missing(*args):
        raise OSError

    monkeypatch.setattr(module.Path, "read_text", missing)
    monkeypatch.setattr(module.Path, "write_text", missing)
    module._reset_peak("cpu")
    assert module._peak("cpu") > 1_000_000


# Figures there and back

FIGURES = {
    "images": 10,
    "forwards": 30,
    "backwards": 20,
    "seconds": 1.5,
    "peak_bytes": 1000,
    "batch_size": 8,
    "joules": None,
}


def test_figures_survive_being_stored(meter):
    meter.add(json.loads(json.dumps(FIGURES)))
    assert meter.state() == FIGURES
    assert meter.cost() == Cost(**FIGURES)
    assert meter.cost().ms_per_image == 150.0


def test_figures_of_two_parts_add_up_and_peaks_do_not(meter):
    meter.add(FIGURES)
    meter.add({**FIGURES, "peak_bytes": 400, "batch_size": 16, "joules": 2.0})
    meter.add({**FIGURES, "joules": 1.0})
    assert meter.state() == {
        "images": 30,
        "forwards": 90,
        "backwards": 60,
        "seconds": 4.5,
        "peak_bytes": 1000,
        "batch_size": 16,
        "joules": 3.0,
    }


def test_nothing_costs_nothing(meter):
    assert meter.cost() == Cost(images=0, forwards=0, backwards=0, seconds=0.0, peak_bytes=0, batch_size=0, joules=None)
    assert meter.cost().ms_per_image == 0.0
