"""Defenses that do not do what they say."""

from __future__ import annotations

import pytest

DEFENSES = """
class Scale(Defense):
    '''Train one number by which logits are multiplied.'''
    name = "scale"
    rate: float = parameter(0.1, "learning rate", minimum=0)
    def wrap(self, victim, task):
        victim.gain = nn.Parameter(torch.ones(()))
        victim.register_forward_hook(lambda module, _, logits: logits * module.gain)
        return victim
    def fit(self, defended, train, task):
        for batch in train[:64].batches(64):
            nn.functional.cross_entropy(defended(batch.images), batch.labels).backward()
            with torch.no_grad():
                defended.gain -= self.rate * defended.gain.grad
    def recipe(self):
        return {"loss": "cross-entropy", "rate": self.rate}

class Twin(Scale):
    '''Be scale by another name.'''
    name = "twin"

class Lazy(Scale):
    '''Declare a parameter and leave it.'''
    name = "lazy"
    def fit(self, defended, train, task):
        pass
    def recipe(self):
        return {"loss": "none"}

class Sneaky(Scale):
    '''Change what was not declared.'''
    name = "sneaky"
    def fit(self, defended, train, task):
        super().fit(defended, train, task)
        with torch.no_grad():
            defended.network[1].bias += 0.01
    def recipe(self):
        return {"loss": "sneaky"}

class Diverging(Scale):
    '''Step as far as floats go.'''
    name = "diverging"
    def fit(self, defended, train, task):
        with torch.no_grad():
            defended.gain += float("inf")
        super().fit(defended, train, task)

class Raising(Scale):
    '''Fail in training.'''
    name = "raising"
    def fit(self, defended, train, task):
        raise KeyError("epoch")

class Unwrapped(Defense):
    '''Return a bare module.'''
    name = "unwrapped"
    def wrap(self, victim, task):
        return victim.network

class Unwrapping(Defense):
    '''Fail in wrap.'''
    name = "unwrapping"
    def wrap(self, victim, task):
        return victim.no_such_part

class Peeking(Scale):
    '''Ask for a threat model, which a fit has not.'''
    name = "peeking"
    def fit(self, defended, train, task):
        task.threat.eps

class Dice(Scale):
    '''Draw initial values from the global generator.'''
    name = "dice"
    def wrap(self, victim, task):
        victim = super().wrap(victim, task)
        torch.seed()
        victim.register_buffer("noise", 0.001 * torch.randn(10))
        victim.register_forward_hook(lambda module, _, logits: logits + module.noise)
        return victim
    def recipe(self):
        return {"loss": "dice"}

class Coarse(Defense):
    '''Say that there is no gradient, although there is.'''
    name = "coarse"
    gradient = "none"
    def wrap(self, victim, task):
        victim.register_forward_pre_hook(lambda module, images: (images[0] + 0 * images[0].round(),))
        return victim

@hookimpl
def robench_victims(): return [Centroid]

@hookimpl
def robench_defenses():
    return [Scale, Twin, Lazy, Sneaky, Diverging, Raising, Unwrapped, Unwrapping, Peeking, Dice, Coarse]
"""
STANDING = ("scale", "twin", "lazy", "sneaky", "dice", "coarse")
SENTENCES = {
    "diverging": "diverging diverged: after training, gain holds NaN or infinite values.",
    "raising": "raising.fit failed: KeyError: 'epoch'.",
    "unwrapped": "unwrapped.wrap must return a robench.Classifier, not Sequential.",
    "unwrapping": "unwrapping.wrap failed: AttributeError: 'Classifier' object has no attribute 'no_such_part'.",
    "peeking": "task.threat exists only while crafting: a defense is fitted once for all threat models, so give it an "
    "eps parameter of its own.",
}
SHORT = ("run", "--victim", "centroid", "--attack", "fgsm", "--n", "40", "--eps", "64/255", "--defense")


@pytest.fixture(scope="module")
def finished(shared_site, centroid):
    shared_site.install("menders", centroid + DEFENSES)
    return shared_site.robench(*SHORT, ",".join([*STANDING, *SENTENCES]))


@pytest.fixture
def card(finished):
    return lambda defense: finished.cards()["centroid", defense, "fgsm"]


def test_failing_defenses_lose_their_cells_alone(finished):
    assert finished.code == 1
    assert f"{len(SENTENCES)} cells failed; the others stand:" in finished.err
    assert {defense for _, defense, _ in finished.cards()} == {"none", *STANDING}


@pytest.mark.parametrize("defense", SENTENCES)
def test_failing_defense_gets_its_sentence(finished, defense):
    assert f"centroid / {defense} / fgsm at Linf 64/255, seed 0" in finished.said
    assert SENTENCES[defense] in finished.said


def test_a_trained_number_is_in_the_card(card, checks):
    scale = card("scale")
    assert scale["training"]["names"] == ["gain"]
    assert scale["training"]["trainable"] == 1
    assert checks(scale)["trained parameters"] == "pass"


def test_declared_but_not_trained_is_invalid(card, checks):
    assert card("lazy")["gate"]["verdict"] == "INVALID"
    assert checks(card("lazy"))["trained parameters"] == "invalid"
    assert card("lazy")["training"]["without_gradient"] == ["gain"]


def test_trained_but_not_declared_is_invalid(card, checks):
    assert card("sneaky")["gate"]["verdict"] == "INVALID"
    assert checks(card("sneaky"))["trained parameters"] == "invalid"
    assert card("sneaky")["training"]["undeclared"] == ["network.1.bias"]


def test_gradients_that_are_declared_absent_and_are_there_are_invalid(card, checks):
    assert card("coarse")["gate"]["verdict"] == "INVALID"
    assert checks(card("coarse"))["gradients present"] == "invalid"


def test_one_recipe_under_two_names_is_ranked_once(finished):
    page = (finished.folder / "LEADERBOARD.md").read_text()
    rows = [[word.strip() for word in line.split("|")[1:3]] for line in page.splitlines() if line.startswith("| ")]
    ranks = {name: rank for rank, name in rows if name in ("scale", "twin")}
    assert sorted(rank == "-" for rank in ranks.values()) == [False, True]
    assert "the same recipe, the same 1 trainable" in page


def test_initial_values_from_the_global_generator_are_found_out(shared_site, finished):
    # Another radius needs the model again, and the fit is in the store.
    done = shared_site.robench(*SHORT[:-3], "--eps", "4/255", "--defense", "dice")
    assert done.code == 1
    assert (
        "dice.wrap gave other values than when it was fitted; draw initial values from task.generator(...), never from "
        "the global generator." in done.said
    )


def test_a_plugins_parameter_has_its_range_checked_before_any_work(shared_site, finished):
    done = shared_site.robench(*SHORT, "scale[rate=-1]", "--dry-run")
    assert done.code == 2
    assert "scale.rate must be at least 0, not -1.0 (learning rate)." in done.said
