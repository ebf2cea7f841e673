"""The kit finds what a certificate may not do, each mistake by the check that is made for it."""

from __future__ import annotations

import torch

from robench import Certificate, ContractError, certified
from robench.testing import check_component


def judged(certify_, norms_=("Linf",)):
    class Made(Certificate):
        """Certify as the test says."""

        name = "made"
        source = "the test"
        norms = norms_

        def certify(self, model, images, labels, task):
            return certify_(model, images, labels, task)

    return {result.name: result for result in check_component(Made)}


def failed(found):
    return {name for name, result in found.items() if result.status == "failed"}


def test_a_sound_certificate_passes():
    found = judged(lambda model, images, labels, task: certified(model, images, labels, task.threat, "interval"))
    assert {result.status for result in found.values()} == {"passed"}


def test_one_that_claims_all_is_told_what_falls():
    found = judged(lambda model, images, labels, task: torch.ones_like(labels, dtype=torch.bool))
    assert {"truth values", "nothing falls, linear", "nothing falls, network"} <= failed(found)
    assert "that are answered wrongly without any attack" in found["truth values"].sentence
    assert "images at Linf 0.4/255 white-box that fall to gradient steps on a linear map (images " in (
        found["nothing falls, linear"].sentence
    )


def test_one_that_bounds_a_smaller_ball_is_found_on_a_linear_map():
    def half(model, images, labels, task):
        from dataclasses import replace

        return certified(model, images, labels, replace(task.threat, eps=task.threat.eps / 2), "crown")

    assert "nothing falls, linear" in failed(judged(half, ("Linf", "L2")))


def test_types_draws_and_changes_are_said():
    found = judged(lambda model, images, labels, task: labels)
    assert "must return a truth value for each image, a bool tensor of shape (4,), not torch.int64 (4,)" in (
        found["truth values"].sentence
    )

    def drawn(model, images, labels, task):
        return (model(images).argmax(1) == labels) & (torch.rand(len(labels)) < 0.5)

    assert "certifies other images for the same seed or in other batches" in judged(drawn)["same again"].sentence

    def vandal(model, images, labels, task):
        next(model.parameters()).zero_()
        return torch.zeros_like(labels, dtype=torch.bool)

    assert "made.certify changes a tensor of the model it is given; work on a copy." in (
        judged(vandal)["leaves all alone"].sentence
    )


def test_one_that_knows_no_bound_is_not_tried_and_no_failure():
    def refuse(model, images, labels, task):
        raise ContractError("made knows no bound of these layers.")

    found = judged(refuse)
    assert not failed(found)
    assert found["nothing falls, network"].sentence == "made knows no bound of these layers."
