"""The undefended row."""

from __future__ import annotations

import torch

from robench import Defense
from robench_builtins.defenses.none import Undefended


def test_the_victim_itself_comes_back(small_clip, task):
    victim = small_clip()
    images = torch.rand(4, 3, 8, 8)
    before = victim(images)
    defended = Undefended().wrap(victim, task)
    assert defended is victim
    assert torch.equal(defended(images), before)


def test_it_trains_nothing_and_says_so(small_clip, task, trainable):
    assert Undefended.undefended
    assert Undefended.fit is Defense.fit
    assert trainable(Undefended().wrap(small_clip(), task)) == []
    assert Undefended().recipe() == {"defense": "none"}


def test_it_takes_any_victim(plain, task):
    assert Undefended().wrap(plain, task) is plain
