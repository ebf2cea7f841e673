"""Runs through an ensemble of surrogates, on the grey benchmark whose every number is known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, Model, parameter
from robench.api import CellsFailed
from robench.errors import SpecError
from robench.plan.spec import plan
from robench.verify.recompute import request_of
from robench_builtins.models.ensemble import Ensemble


class Half(nn.Module):
    """Tell bright from dark by one half of the image."""

    def __init__(self, half, gain):
        super().__init__()
        self.half, self.gain = half, gain

    def forward(self, images):
        rows = images[:, :, :2] if self.half == "upper" else images[:, :, 2:]
        score = self.gain * (rows.flatten(1).mean(1) - 0.5)
        return torch.stack([score, -score], 1)


class Upper(Model):
    """Look at the upper half."""

    name = "upper"
    half = "upper"
    gain: float = parameter(default=10.0, help="steepness")

    def load(self, task):
        return Classifier(Half(self.half, self.gain), classes=2)


class Lower(Upper):
    """Look at the lower half."""

    name = "lower"
    half = "lower"


class Wrong(Upper):
    """State an accuracy it does not have."""

    name = "wrong"
    reference = {"greys": 0.5}


ROLES = (("surrogate", Ensemble), ("surrogate", Upper), ("surrogate", Lower), ("surrogate", Wrong))


def transfer(grey, surrogate, **request):
    cards = grey.run(*ROLES, eps="8/255", surrogate=surrogate, **request)
    return next(card for card in cards if card.cell.surrogate is not None)


@pytest.mark.parametrize("mean", ["logits", "probabilities"])
def test_two_that_see_half_the_image_each_craft_for_a_victim_that_sees_it_whole(grey, mean):
    # One half moved by 8 levels moves the mean by 4; both halves move it by 8.
    alone = transfer(grey, "upper")
    both = transfer(grey, f"ensemble[models=upper+lower,mean={mean}]")
    assert alone.robust.correct == grey.survivors[4]
    assert both.robust.correct == grey.survivors[8]
    assert both.adversarial.surrogate_clean == pytest.approx(40 / 44, abs=1e-6)
    assert both.cell.surrogate.name == "ensemble"
    assert both.cell.surrogate.parameters == {"models": "upper+lower", "mean": mean}


def test_the_card_holds_the_members_and_asks_for_the_same_cell_again(grey, catalog_of):
    card = transfer(grey, "upper+lower", parameters={"upper.gain": 3.0, "surrogate.mean": "probabilities"})
    assert [(part.name, part.parameters) for part in card.cell.loads] == [
        ("upper", {"gain": 3.0}),
        ("lower", {"gain": 10.0}),
    ]
    again = plan(request_of(card), "cpu", catalog_of(*ROLES))
    assert card.id in [cell.score_id for cell in again]


def test_another_member_s_parameter_is_another_set_and_the_same_one_is_not_crafted_again(grey):
    ids = [
        transfer(grey, "upper+lower", parameters={"lower.gain": gain}).adversarial.artifact for gain in (3.0, 4.0, 3.0)
    ]
    assert ids[0] == ids[2] != ids[1]


def test_a_member_that_is_not_what_it_states_may_not_craft(grey):
    with pytest.raises(CellsFailed, match=r"The surrogate wrong classifies 90\.9% of the clean images, but 50\.0% is"):
        transfer(grey, "upper+wrong")


def test_an_unknown_member_is_refused_before_any_work(grey):
    with pytest.raises(SpecError, match=r"^There is no surrogate 'lowest'; did you mean 'lower'\?"):
        transfer(grey, "upper+lowest")
    assert not grey.Greys.loads


def test_a_model_that_loads_another_without_saying_so_is_a_sentence(grey):
    class Sly(Upper):
        """Load what it does not name."""

        name = "sly"

        def load(self, task):
            return task.load_model("upper")

    with pytest.raises(CellsFailed, match=r"sly\.load loads 'upper', which its members\(\) does not return; name it"):
        grey.run(*ROLES, ("surrogate", Sly), eps="8/255", surrogate="sly")
