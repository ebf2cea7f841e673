"""What the gate costs: passes counted by the meter against passes counted by hand, and the promise of each level."""

from __future__ import annotations

import json
import re

import pytest
import torch

from robench import Classifier, Dataset, Examples, input_gradient
from robench.api import run as run_cells
from robench.evidence.card_file import encode
from robench.gate.pass_budget import FEWEST

from ..grey import SURVIVORS, Steps, checks, defense

#: Scoring 44 clean images, 4 steps on the 40 that are right, and scoring 44 again.
OWN = 44 + 40 * (4 + 4) + 44
STAND = SURVIVORS[8]


def passes(card):
    return card.cost.gate.forwards, card.cost.gate.backwards


def test_quick_tries_the_least_of_everything_on_a_tiny_cell(grey):
    # 0.15 * OWN = 61, so the 180 passes that are always there: 117 for the row, 63 for the attack.
    (card,) = grey.run(eps="8/255", gate="quick")
    answers = 1 * 7  # first, again, alone, in company of as many of noise (twice), plain, with gradients
    # Two backwards of one forward; two steps; rounding, rivals, and two differences of two forwards.
    gradients = (3 * 10, 3 * 2)
    unseen = 9  # moved images: 8 % of 117, as of one step
    one_step = (3 * 2, 3)
    stronger = (2 * (11 + 1), 2 * 10)  # ten steps and the start, one verdict
    identity = (1 * 4, 1 * 4)
    trace = (2 * (4 + 1), 2 * 4)  # moved images under attack would take 4 * 10, and 23 are left
    rescored, again = 7, 2 * 3  # 12 and 10 % of 63, the clean ones by two models

    forwards = answers + gradients[0] + unseen + one_step[0] + stronger[0] + identity[0] + trace[0] + rescored + again
    backwards = gradients[1] + one_step[1] + stronger[1] + identity[1] + trace[1]
    assert passes(card) == (forwards, backwards)
    assert card.gate.share == pytest.approx((forwards + backwards) / OWN, abs=1e-6)
    assert (card.gate.level, card.gate.images) == ("quick", 32)


def test_what_does_not_fit_says_how_many_images_would(grey):
    few = {"dataset": "few-greys", "gate_cost": 0.01}

    class Few(grey.Greys):
        """Serve the first ten."""

        name = "few-greys"

        def load(self, split):
            examples = grey.Greys().load(split)
            return Examples.from_tensors(examples.images()[:10], examples.labels[:10])

    (card,) = grey.run(("dataset", Few), eps="2/255", **few)
    found = checks(card)["measured slopes <= gradients"]

    assert (found.status, found.value) == ("skipped", None)
    sentence = re.fullmatch(
        r"Not enough images: what this takes is more than the gate may spend on this cell\. About ([\d,]+) would do "
        r"\(--n\), or --gate-cost ([\d.]+)\.",
        found.meaning,
    )
    assert sentence, found.meaning
    (again,) = grey.run(("dataset", Few), eps="2/255", dataset="few-greys", gate_cost=float(sentence[2]))
    assert checks(again)["measured slopes <= gradients"].n >= 2


def test_standard_tries_everything_on_all_that_stands_if_it_may(grey):
    (card,) = grey.run(eps="8/255", gate_cost=1000)
    answers = 8 * 7
    gradients = (16 * 10, 16 * 2)
    one_step = (STAND * (2 + 1 + 6), 2 * STAND)  # whole; then along the slope five that stop short, and the best again
    stronger = (2 * STAND * (41 + 1), 2 * STAND * 40)
    slopes = STAND * (4 * 4 + 2 + 1)  # each of 16 pixels, here, all of them, one verdict
    queries, noise, landscape = STAND * (150 + 1), STAND * 20, STAND * (10 + 1)
    identity, trace = (4 * 4, 4 * 4), (8 * (4 + 1), 8 * 4)
    again, double = (STAND * (4 + 1), STAND * 4), (STAND * (8 + 1), STAND * 8)
    sweep = (16 * 4 * (4 + 1), 16 * 4 * 4)
    # Moved images are as they were: 44 are answered, and of 32 that are drawn the 29 that are right are attacked.
    unseen = (44 + 32 + 29 * (4 + 1), 29 * 4)
    clean_again = 2 * 44
    both = (gradients, unseen, one_step, stronger, identity, trace, again, double, sweep)

    # At larger radii every image falls, but the toy attack takes all its steps.
    assert passes(card) == (
        answers + clean_again + slopes + queries + noise + landscape + 44 + sum(forwards for forwards, _ in both),
        sum(backwards for _, backwards in both),
    )


def test_fewer_images_are_tried_where_fewer_are_asked_for(grey):
    (card,) = grey.run(eps="8/255", gate_cost=1000, gate_images=3)
    found = checks(card)

    assert card.gate.images == 3
    assert [found[name].n for name in ("stronger attack", "queries <= gradients", "noise <= gradients")] == [3, 3, 3]
    assert found["more steps"].n == 3


def test_a_smaller_share_costs_less_and_a_larger_one_more(grey):
    shares = [grey.run(eps="8/255", gate_cost=cost)[0].gate.share for cost in (0.01, 10, 100)]

    assert shares == sorted(shares)
    assert shares[1] <= 10
    assert shares[0] < shares[1] < shares[2]


def test_the_row_is_charged_once_to_its_dearest_cell(grey):
    cards = grey.run(eps="8/255", gate="quick", attack=["step", "steps"], surrogate="self")
    by_attack = {(card.cell.attack.name, card.cell.threat.access): sum(passes(card)) for card in cards}
    dearest = by_attack.pop(("steps", "white-box"))

    assert all(dearest > 2 * other for other in by_attack.values())


def test_a_verdict_is_kept_for_each_level(grey, monkeypatch):
    first = grey.run(eps="8/255", gate="quick")
    other = grey.run(eps="8/255", gate="standard")

    def refuse(self, images):
        raise AssertionError("a cached verdict asks no model")

    monkeypatch.setattr(Classifier, "forward", refuse)
    assert grey.run(eps="8/255", gate="quick") == first
    assert grey.run(eps="8/255", gate="standard") == other
    assert [card.gate.level for card in (*first, *other)] == ["quick", "standard"]
    assert first[0].id == other[0].id


def patterns(n):
    """Return a dataset of ``n`` different images of 4 x 4 pixels: noise around two grey levels."""

    class Patterns(Dataset):
        """Serve bright and dark noise."""

        name = "patterns"
        victim = "mean"

        def classes(self):
            return ("bright", "dark")

        def load(self, split):
            draws = torch.Generator().manual_seed(("train", "val", "test").index(split))
            labels = torch.arange(n if split == "test" else 60) % 2
            noise = torch.randint(-30, 31, (len(labels), 1, 4, 4), generator=draws)
            return Examples.from_tensors(
                (torch.where(labels == 0, 150, 105).view(-1, 1, 1, 1) + noise).to(torch.uint8), labels
            )

    return "dataset", Patterns


def takes(name_, steps_, stated=None, iterative_=True):
    """Return an attack that takes ``steps_`` steps of each image, and states as many if it is honest."""

    class Takes(Steps):
        """Step to the edge of the ball."""

        name = name_

        @property
        def iterative(self):
            return iterative_

        def passes(self):
            return (steps_, steps_) if stated is None else (stated, stated)

        def craft(self, model, images, labels, task):
            iterate = images
            for _ in range(steps_):
                _, gradient = input_gradient(
                    lambda x: torch.nn.functional.cross_entropy(model(x), labels, reduction="none"), iterate
                )
                moved = iterate + task.threat.eps / min(steps_, 4) * task.threat.steepest(gradient)
                iterate = task.threat.project(images, moved)
            return iterate

    return "attack", Takes


#: An FGSM, a PGD, an AutoAttack by their passes, and two that take other numbers than they state.
TAKEN = {
    "one-step": takes("one-step", 1, iterative_=False),
    "twenty-steps": takes("twenty-steps", 20),
    "many-steps": takes("many-steps", 200),
    "states-fewer": takes("states-fewer", 20, stated=1),
    "states-more": takes("states-more", 2, stated=3000),
}


@pytest.mark.parametrize("attack", TAKEN)
@pytest.mark.parametrize("n", [12, 24, 40, 60, 150])
def test_no_level_costs_more_than_its_share_at_any_n_of_any_attack(grey, n, attack):
    spent = {}
    for gate, share in (("quick", 0.15), ("standard", 1.0)):
        for eps in ("2/255", "40/255"):  # nearly all stand, and none
            (card,) = grey.run(
                patterns(n), TAKEN[attack], dataset="patterns", attack=attack, eps=eps, gate=gate, batch_size=500
            )
            cost, scored = card.cost, card.cost.score.forwards
            own = n + cost.craft.forwards + cost.craft.backwards + scored
            spent[gate, eps] = sum(passes(card))
            assert card.robust.correct > n / 2 if eps == "2/255" else card.robust.correct == 0
            assert 0 < spent[gate, eps] <= max(share * own, min(FEWEST, 1.5 * own)), (gate, eps, own)
            assert n < 40 or gate == "quick" or spent[gate, eps] <= 1.2 * own
    if n == 150:
        assert all(spent["quick", eps] < spent["standard", eps] for eps in ("2/255", "40/255"))


def test_the_limit_holds_for_answers_that_are_drawn(grey):
    """Every answer costs ten forwards there, and an image counts as lost after three of them."""
    noisy = defense("noisy", Noisy, randomized_=True)
    for n in (12, 60):
        cards = grey.run(
            patterns(n), TAKEN["twenty-steps"], noisy, dataset="patterns", attack="twenty-steps", defense=["noisy"],
            eps="8/255",
        )  # fmt: skip
        for card in cards:
            draws = card.robust.draws
            own = n * card.clean.draws + card.cost.craft.forwards + card.cost.craft.backwards + n * draws
            assert 0 < sum(passes(card)) <= own, (n, card.cell.defense.name)


class Noisy(torch.nn.Module):
    """Add noise to every query."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images + 0.02 * torch.randn_like(images))


#: Images of the digits: so few that a level's promise is not kept by their number alone.
N = 200


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Return a function that runs pgd on the undefended digits, one store for all levels."""
    store = tmp_path_factory.mktemp("digits")

    def go(eps, gate):
        (card,) = run_cells(store=store, device="cpu", dataset="digits", attack="pgd", eps=eps, gate=gate, n=N)
        return card

    return go


# Most images stand at 1/255, and cost the attack all its steps; at 8/255 nearly none does.
@pytest.mark.parametrize("eps", ["1/255", "8/255"])
@pytest.mark.parametrize(("gate", "limit"), [("quick", 0.15), ("standard", 1.0)])
def test_the_promise_holds_on_the_embedded_default(digits, eps, gate, limit):
    card = digits(eps, gate)

    assert 0 < card.gate.share < limit
    own = card.cost.craft.forwards + card.cost.craft.backwards + 2 * N
    assert card.gate.share == pytest.approx(sum(passes(card)) / own, abs=1e-6)
    assert card.gate.verdict == "VALID"
    if eps == "1/255":
        assert card.robust.rate > 0.8


def test_the_share_is_in_the_card_as_json(grey):
    (card,) = grey.run(eps="8/255", gate="quick")
    written = json.loads(encode(card))["gate"]

    assert written["share"] == card.gate.share
