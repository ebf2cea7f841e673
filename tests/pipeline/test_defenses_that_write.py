"""A defense that writes into weights which it shares with the victim changes its own copy, and no other result."""

from __future__ import annotations

import pytest
import torch
from tests.grey import row

from robench import Defense
from robench.contracts.shared_weights import same_memory
from robench.evidence.tensor_digests import tensor_digests
from robench.pipeline.stages import fit as stage


def hostile(name_, write, surrogate=False):
    """Return a defense that declares one trainable tensor and writes into a frozen one of the victim's."""

    class Made(Defense):
        """Write where nothing was declared."""

        name = name_

        def wrap(self, victim, task):
            victim.network.unused.requires_grad_(True)
            return victim

        def surrogates(self):
            return ("self",) if surrogate else ()

        def fit(self, defended, train, task):
            network = (task.load_model("self") if surrogate else defended).network
            write(network.gain)
            with torch.no_grad():
                defended.network.unused.add_(1)

    return "defense", Made


def in_place(weight):
    with torch.no_grad():
        weight.neg_()


WRITES = {
    "in-place": in_place,
    "by-data": lambda weight: weight.data.neg_(),
    "by-numpy": lambda weight: weight.numpy().fill(-10.0),
    "by-storage": lambda weight: weight.untyped_storage().fill_(192),  # four of these bytes are -6.02
}


@pytest.fixture
def defended(monkeypatch):
    """Return what was wrapped, as (victim, copy), in order."""
    found, real = [], stage._wrap
    monkeypatch.setattr(stage, "_wrap", lambda *given: found.append((given[1], real(*given))) or found[-1][1])
    return found


@pytest.mark.parametrize("surrogate", [False, True])
def test_no_write_reaches_the_victim_the_others_or_what_is_stored(grey, defended, tmp_path, surrogate):
    request = {"gate": "quick", "eps": "4/255"}
    (alone,) = grey.run(defense="none", store=tmp_path / "alone", **request)
    defended.clear()
    kinds = [hostile(name, write, surrogate) for name, write in WRITES.items()]
    cards = grey.run(*kinds, defense=[*WRITES, "scale", "none"], **request)
    assert len(cards) == 6
    none = row(cards, "none")
    assert none.id == alone.id
    assert none.robust.correct == alone.robust.correct == grey.survivors[4]
    assert none.adversarial.fingerprint == alone.adversarial.fingerprint
    assert {card.model.victim for card in cards} == {alone.model.victim}
    scaled = row(cards, "scale")
    assert scaled.robust.correct == grey.survivors[4]  # it trains the weight that others wrote into
    victim = defended[0][0]
    assert all(of is victim for of, _ in defended)
    assert float(victim.network.gain) == 10.0
    for name in WRITES:
        wrote = row(cards, name)
        undeclared = ["network.gain"] if not surrogate else []
        assert wrote.training.undeclared == undeclared
        # Answers turned round, or the victim's own where only a surrogate was written to.
        assert (wrote.clean.correct == alone.clean.correct) == surrogate
    again = grey.run(*kinds, defense=[*WRITES, "scale", "none"], compute=False, **request)
    assert [card.id for card in again] == [card.id for card in cards]


def test_a_defense_has_memory_of_its_own_for_what_it_trains_alone(grey, defended):
    grey.run(defense=["none", "scale"], gate="quick", eps="4/255")
    (victim, plain), (_, scaled) = defended
    assert same_memory(plain.network.gain, victim.network.gain)
    assert same_memory(scaled.network.unused, victim.network.unused)
    assert not same_memory(scaled.network.gain, victim.network.gain)
    assert tensor_digests(plain) == tensor_digests(victim)
