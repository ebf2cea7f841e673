"""Two whole third-party defenses, each under 40 lines, from the entry point to the card."""

from __future__ import annotations

import pytest

SMOOTHING = '''
"""Smooth the input before the victim sees it."""

from robench import Defense, hookimpl, parameter


class Smooth(Defense):
    """Average each pixel with its neighbours.

    f_defended(x) = f(mean of x over a square of side k), which is differentiable end to end.
    """

    name = "smooth"
    source = "Cohen's cheaper cousin"
    side: int = parameter(3, "side of the square, odd", minimum=1, maximum=9)

    def wrap(self, victim, task):
        from torch import nn

        mean = nn.AvgPool2d(self.side, stride=1, padding=self.side // 2, count_include_pad=False)
        victim.preprocess = nn.Sequential(mean, victim.preprocess)
        return victim


@hookimpl
def robench_defenses():
    return [Smooth]
'''

GAIN = '''
"""Train a gain on the logits."""

from robench import Defense, hookimpl, parameter


class Gain(Defense):
    """Multiply the logits by one trained number."""

    name = "gain"
    epochs: int = parameter(1, "passes over the training images", minimum=1)

    def wrap(self, victim, task):
        import torch

        victim.gain = torch.nn.Parameter(torch.ones(()))
        victim.register_forward_hook(lambda module, _, logits: logits * module.gain)
        return victim

    def fit(self, defended, train, task):
        import torch

        optimizer = torch.optim.SGD([defended.gain], lr=0.01)
        for epoch in task.progress.track(range(self.epochs), self.epochs, "gain"):
            for batch in train[:256].batches(64, task.device, shuffle=task.generator("order", epoch)):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(defended(batch.images), batch.labels).backward()
                optimizer.step()


@hookimpl
def robench_defenses():
    return [Gain]
'''


@pytest.fixture(scope="module")
def both(shared_site):
    shared_site.install("robench-smooth", SMOOTHING, entry="smooth", version="1.2")
    shared_site.install("robench-gain", GAIN, entry="gain")
    return shared_site


@pytest.mark.parametrize("source", [SMOOTHING, GAIN])
def test_a_whole_plugin_is_short(source):
    assert len(source.strip().splitlines()) < 40


def test_list_and_show_say_where_a_component_comes_from(both):
    listed, shown = both.robench("list", "defense"), both.robench("show", "smooth")
    assert listed.code == shown.code == 0
    lines = {" ".join(line.split()) for line in listed.out.splitlines()}
    assert "defense smooth Average each pixel with its neighbours. robench-smooth 1.2" in lines
    assert "defense gain Multiply the logits by one trained number. robench-gain 1.0" in lines
    assert "smooth defense, version 1, from robench-smooth 1.2" in shown.said
    assert "side int 3 side of the square, odd" in shown.said
    assert "source: Cohen's cheaper cousin" in shown.said


def test_both_run_to_cards_on_the_embedded_default(both, checks):
    words = ("run", "--defense", "smooth[side=5],gain", "--n", "40", "-p", "attack.steps=5", "-p", "gain.epochs=2")
    done = both.robench(*words)
    assert done.code == 0
    cards = done.cards()
    assert {defense for _, defense, _ in cards} == {"none", "smooth", "gain"}
    smooth, gain = cards["tiny-clip", "smooth", "pgd"], cards["tiny-clip", "gain", "pgd"]
    assert smooth["cell"]["defense"]["plugin"] == "robench-smooth 1.2"
    assert smooth["cell"]["defense"]["changed"] == {"side": 5}
    assert smooth["training"]["trainable"] == 0
    assert gain["training"]["names"] == ["gain"]
    # The gain comes after the network, so no gradient ever passes back through it.
    assert (gain["cost"]["fit"]["forwards"], gain["cost"]["fit"]["backwards"]) == (512, 0)
    assert checks(gain)["trained parameters"] == checks(smooth)["trained parameters"] == "pass"
    assert checks(gain)["eps = 0"] == checks(smooth)["eps = 0"] == "pass"
    assert "smooth" in done.out
    assert "robench-smooth 1.2" in (done.folder / "LEADERBOARD.md").read_text()
