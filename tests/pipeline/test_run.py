"""The flow end to end, on a benchmark whose every number is known by hand."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from robench import Classifier, Defense, Model, parameter
from robench.api import CellsFailed, comparison_groups, run, spec_from
from robench.errors import DataError, SpecError
from robench.evidence.card_file import decode, encode
from robench.plan.spec import plan

from ..without_clocks import without_clocks


@pytest.mark.parametrize("levels", [0, 1, 4, 8, 16, 20])
def test_clean_and_robust_accuracy_are_those_known_by_hand(grey, levels):
    (card,) = grey.run(eps=f"{levels}/255")

    assert (card.clean.correct, card.clean.n) == (grey.clean, grey.n)
    assert card.robust.correct == (grey.survivors[levels] if levels else grey.clean)


def test_eps_zero_gives_the_clean_outcome_image_by_image(grey):
    (card,) = grey.run(eps="0")

    assert card.robust.mask() == card.clean.mask()
    assert card.adversarial.largest == 0.0


def test_l2_robust_accuracy_is_that_known_by_hand(grey):
    # In L2 the mean of 16 pixels moves by eps / sqrt(16): eps = 32/255 acts like 8/255 in Linf.
    (card,) = grey.run(eps="32/255", norm="L2")

    assert card.robust.correct == grey.survivors[8]


def test_only_correct_images_are_attacked_and_passes_are_counted_exactly(grey):
    (card,) = grey.run(eps="8/255", attack="steps[steps=3]")

    assert card.adversarial.attacked == grey.clean
    assert (card.cost.craft.images, card.cost.craft.forwards, card.cost.craft.backwards) == (40, 120, 120)
    assert (card.cost.score.images, card.cost.score.forwards, card.cost.score.backwards) == (44, 44, 0)


def test_transfer_attacks_every_image_and_is_labelled(grey):
    white, transfer = grey.run(eps="8/255", surrogate="self")

    assert white.cell.threat.access == "white-box"
    assert transfer.cell.threat.access == "transfer"
    assert transfer.cell.surrogate_is_victim
    assert transfer.adversarial.attacked == grey.n
    # The surrogate is the victim itself. The wrongly labelled images move away from the label: still wrong.
    assert transfer.robust.correct == grey.survivors[8]
    assert transfer.adversarial.surrogate_clean == pytest.approx(40 / 44, abs=1e-6)


def test_the_transfer_set_is_crafted_once_for_all_defenses(grey):
    cards = grey.run(eps="8/255", defense=["none", "scale"], surrogate="mean")
    transfers = [card for card in cards if card.cell.surrogate is not None]

    assert len(transfers) == 2
    assert transfers[0].adversarial == transfers[1].adversarial
    assert transfers[0].cost.craft == transfers[1].cost.craft  # the very same measurement, clocks included


def test_a_second_run_does_no_work(grey):
    first = grey.run(eps="8/255", defense="scale")
    fits, loads = len(grey.Scale.fits), len(grey.Greys.loads)
    networks = [network.forwards for network in grey.Mean.calls]

    second = run(store=grey.store, device="cpu", attack="steps", known=grey.catalog, eps="8/255", defense="scale")

    assert second == first
    assert len(grey.Scale.fits) == fits == 1
    assert len(grey.Greys.loads) == loads
    assert [network.forwards for network in grey.Mean.calls] == networks


def test_a_wider_grid_reuses_what_is_there(grey):
    grey.run(eps="8/255", defense="scale")
    run(store=grey.store, device="cpu", known=grey.catalog, attack=["steps", "step"], eps=["8/255"], defense="scale")

    assert len(grey.Scale.fits) == 1


def test_the_same_request_in_another_store_gives_the_same_card_but_for_clocks(grey, tmp_path):
    request = {"eps": "8/255", "defense": "scale", "surrogate": "self", "n": 30}
    first = grey.run(**request)
    second = grey.run(**request, store=tmp_path / "other")

    assert [without_clocks(card) for card in first] == [without_clocks(card) for card in second]


def test_the_batch_size_changes_no_number(grey, tmp_path):
    request = {"eps": "8/255", "defense": "scale", "surrogate": "self"}
    first = grey.run(**request, batch_size=7)
    second = grey.run(**request, batch_size=44, store=tmp_path / "other")

    for one, other in zip(first, second, strict=True):
        assert one.robust == other.robust
        assert one.adversarial == other.adversarial
        assert (one.cost.craft.forwards, one.cost.craft.backwards) == (
            other.cost.craft.forwards,
            other.cost.craft.backwards,
        )


def test_without_the_inference_rewrites_the_numbers_are_the_same(grey, tmp_path):
    (prepared,) = grey.run(eps="8/255")
    (plain,) = grey.run(eps="8/255", prepared=False, store=tmp_path / "other")

    assert plain.robust == prepared.robust
    assert plain.model.inference == []


def test_what_was_trained_is_in_the_card(grey):
    cards = grey.run(eps="8/255", defense="scale[epochs=3]")
    training = cards[1].training

    assert cards[1].cell.defense.label == "scale[epochs=3]"
    assert (training.trainable, training.names) == (1, ["network.gain"])
    assert training.without_gradient == training.undeclared == training.buffers == []
    assert [point["epoch"] for point in training.history] == [0, 1, 2]
    assert cards[1].data.train_n == 40
    assert (cards[1].cost.fit.forwards, cards[1].cost.fit.backwards) == (3 * 40, 3 * 40)
    assert cards[1].data.train != cards[1].data.test


def test_the_victim_is_untouched_by_a_defense(grey):
    none, scale = grey.run(eps="8/255", defense="scale")

    assert none.model.victim == scale.model.victim == none.model.defended
    assert scale.model.defended != scale.model.victim
    assert all(float(network.gain) == 10.0 for network in grey.Mean.calls)


def test_the_undefended_row_is_added_and_comes_first(grey):
    cards = grey.run(eps="8/255", defense="scale")

    assert [card.cell.defense.name for card in cards] == ["none", "scale"]
    assert [card.cell.undefended for card in cards] == [True, False]


def test_every_seed_and_radius_is_a_ring_of_its_own(grey):
    spec = spec_from(eps=["4/255", "8/255"], seed=[0, 1], defense="scale", attack="steps", surrogate="self")

    assert sorted(len(group) for group in comparison_groups(plan(spec, "cpu", grey.catalog))) == [4, 4, 4, 4]


def test_a_card_survives_the_round_trip_through_json(grey):
    (card,) = grey.run(eps="8/255")

    assert decode(encode(card), "here") == card


def test_more_images_than_there_are_is_a_sentence(grey):
    with pytest.raises(DataError, match=r"n=45 asks for more images than the test split of greys has \(44\)"):
        grey.run(eps="8/255", n=45, defense="scale")


def test_n_draws_the_same_images_for_every_seed_and_nests(grey):
    small = grey.run(eps="8/255", n=10, seed=[0, 1])
    (large,) = grey.run(eps="8/255", n=43)

    assert small[0].data.test == small[1].data.test
    assert small[0].data.test_n == 10
    assert large.data.test_n == 43


def test_an_impossible_request_fails_before_any_work(grey):
    with pytest.raises(SpecError, match="eps 8 is larger than the whole pixel range"):
        grey.run(eps="8")
    assert not grey.Mean.calls


def test_parameters_of_the_prepared_model_never_get_a_gradient(grey):
    grey.run(eps="8/255", defense="scale", surrogate="self")

    assert all(parameter.grad is None for network in grey.Mean.calls for parameter in network.parameters())


def test_a_run_leaves_the_global_generator_alone(grey):
    torch.manual_seed(3)
    expected = torch.get_rng_state().clone()
    grey.run(eps="8/255", surrogate="self")

    assert torch.equal(torch.get_rng_state(), expected)


class Borrower(Defense):
    """Train on images crafted on a model that is loaded by name."""

    name = "borrower"
    lender: str = parameter(default="lender", help="the model's name")
    seen: ClassVar[list[float]] = []

    def surrogates(self):
        return (self.lender,)

    def fit(self, defended, train, task):
        self.seen.append(float(task.load_model("lender").network.gain))


class Lender(Model):
    """Serve a network with a gain."""

    name = "lender"
    gain: float = parameter(default=10.0, help="its gain")

    def load(self, task):
        network = MeanNetwork()
        with torch.no_grad():
            network.gain.fill_(self.gain)
        return Classifier(network, classes=2)


class MeanNetwork(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(10.0))

    def forward(self, images):
        brightness = self.gain * (images.flatten(1).mean(1) - 0.5)
        return torch.stack([brightness, -brightness], 1)


def test_a_fit_loads_models_with_the_parameters_of_the_request(grey):
    Borrower.seen.clear()
    roles = (("defense", Borrower), ("surrogate", Lender))
    first = grey.run(*roles, defense="borrower", eps="8/255", parameters={"lender.gain": 3.0})
    second = grey.run(*roles, defense="borrower", eps="8/255", parameters={"lender.gain": 4.0})
    grey.run(*roles, defense="borrower", eps="8/255", parameters={"lender.gain": 4.0})

    assert Borrower.seen == [3.0, 4.0]  # another model is another fit; the same one is not fitted again
    assert first[1].id != second[1].id
    assert first[1].cell.loads[0].parameters == {"gain": 3.0}


def test_a_model_that_a_fit_loads_without_saying_so_is_a_sentence(grey):
    class Sly(Borrower):
        """Load what it does not name."""

        name = "sly"

        def surrogates(self):
            return ()

    with pytest.raises(CellsFailed, match=r"sly\.fit loads 'lender', which its surrogates\(\) does not return"):
        grey.run(("defense", Sly), ("surrogate", Lender), defense="sly", eps="8/255")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_while_training_names_the_batch_size(grey, error):
    class Hungry(Borrower):
        """Ask for too much."""

        name = "hungry"

        def surrogates(self):
            return ()

        def fit(self, defended, train, task):
            raise error

    with pytest.raises(CellsFailed, match=r"hungry ran out of memory on cpu .* give 'hungry\.batch_size' a smaller"):
        grey.run(("defense", Hungry), defense="hungry", eps="8/255")
