"""Attacks that rebuild the model are refused; those that only use it are not."""

from __future__ import annotations

import types

import pytest
import torch
from torch import nn

from robench import ContractError
from robench.runtime.model_guard import unchanged


def model():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())


def forward(made):
    made.forward = lambda images: images.flatten(1)


def child(made):
    made[2] = nn.Identity()


def class_of(made):
    made[2].__class__ = nn.Identity


def hook(made):
    made[1].register_forward_hook(lambda *_: None)


def gradient_hook(made):
    made[1].register_full_backward_hook(lambda *_: None)


def before_hook(made):
    made[1].register_forward_pre_hook(lambda *_: None)


def call(made):
    made._call_impl = types.MethodType(lambda self, images: images, made)


@pytest.mark.parametrize(
    ("change", "place"),
    [(forward, "Sequential"), (child, "2"), (class_of, "2"), (hook, "1"), (gradient_hook, "1"), (before_hook, "1"),
     (call, "Sequential")],
)  # fmt: skip
def test_what_is_rebuilt_is_refused_and_named(change, place):
    made = model()
    with pytest.raises(ContractError, match=rf"sly rebuilt the model that it attacked: .*\({place}\)"), \
            unchanged(made, "sly"):  # fmt: skip
        change(made)


def test_a_function_of_the_class_is_seen_too():
    class Own(nn.Module):
        def forward(self, images):
            return images

    with pytest.raises(ContractError, match="other functions"), unchanged(Own(), "sly"):
        Own.forward = lambda _self, images: 2 * images


def test_use_is_no_change():
    made = model()
    with unchanged(made, "fair"):
        handle = made[1].register_forward_hook(lambda *_: None)
        images = torch.rand(2, 1, 2, 2, requires_grad=True)
        made.train()
        made(images).sum().backward()
        made.eval().zero_grad()
        handle.remove()


def test_an_error_inside_is_left_as_it_is():
    def fails(made):
        forward(made)
        raise ValueError("mine")

    made = model()
    with pytest.raises(ValueError, match="mine"), unchanged(made, "fair"):
        fails(made)
