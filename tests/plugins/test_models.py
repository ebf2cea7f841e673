"""Models that are not what a classifier must be: each fails in a sentence, the others are measured."""

from __future__ import annotations

import pytest

MODELS = """
def wrong(label, change, classes=10):
    class Wrong(Centroid):
        '''Break the contract.'''
        name = label
        def load(self, task):
            return change(centroids())
    return Wrong

class Nan(nn.Module):
    def forward(self, logits):
        return logits * float("nan")

class Picky(nn.Module):
    def forward(self, images):
        raise RuntimeError("shapes cannot be multiplied")

def absent(network):
    raise OSError("weights.bin: no such file")

def classifier(*layers):
    return lambda network: Classifier(nn.Sequential(network, *layers), classes=10)

CLASSES = [
    Centroid,
    wrong("softmax", classifier(nn.Softmax(1))),
    wrong("nine", classifier(nn.Linear(10, 9))),
    wrong("nan", classifier(Nan())),
    wrong("flat", classifier(nn.Flatten(0))),
    wrong("double", lambda network: Classifier(network.double(), 10, preprocess=Double())),
    wrong("bare", lambda network: network),
    wrong("absent", absent),
]

class Double(nn.Module):
    def forward(self, images):
        return images.double()

PICKY = wrong("picky", lambda network: Classifier(Picky(), classes=10))

class Boasting(Centroid):
    '''State more than it has.'''
    name = "boasting"
    reference = {"digits": 0.999}

class Modest(Centroid):
    '''State what it has not, as a surrogate.'''
    name = "modest"
    reference = {"digits": 0.3}

@hookimpl
def robench_victims(): return [*CLASSES, PICKY, Boasting]

@hookimpl
def robench_surrogates(): return [Centroid, Modest]
"""

SENTENCES = {
    "softmax": "softmax returns probabilities, not logits: each row is in [0, 1] and sums to 1. Remove the softmax;",
    "nine": "nine has 9 classes, but the dataset has 10: choose another victim, or a checkpoint trained on these",
    "nan": "nan returns NaN or infinite logits on real images.",
    "flat": "flat must return logits of shape (2, 10), not (20,).",
    "double": "double must return float32 logits, not torch.float64.",
    "bare": "bare.load must return a robench.Classifier, not Sequential; wrap the network: Classifier(",
    "absent": "loading absent failed: OSError: weights.bin: no such file.",
}


@pytest.fixture(scope="module")
def finished(shared_site, centroid):
    shared_site.install("zoo", centroid + MODELS)
    names = ",".join(["centroid", *SENTENCES])
    return shared_site.robench("run", "--victim", names, "--attack", "fgsm", "--n", "20")


def test_wrong_models_lose_their_cells_alone(finished):
    assert finished.code == 1
    assert f"{len(SENTENCES)} cells failed; the others stand:" in finished.err
    assert list(finished.cards()) == [("centroid", "none", "fgsm")]


@pytest.mark.parametrize("victim", SENTENCES)
def test_wrong_model_gets_its_sentence(finished, victim):
    assert f"{victim} / none / fgsm at Linf 8/255, seed 0" in finished.said
    assert SENTENCES[victim] in finished.said


def test_a_model_whose_forward_raises_loses_its_cell(shared_site, finished):
    done = shared_site.robench("run", "--victim", "picky,centroid", "--attack", "fgsm", "--n", "20")
    assert done.code == 1
    assert "picky" in done.err
    assert "RuntimeError: shapes cannot be multiplied" in done.said
    assert ("centroid", "none", "fgsm") in done.cards()


def test_a_stated_accuracy_that_is_not_met(shared_site, finished, checks):
    done = shared_site.robench("run", "--victim", "boasting", "--attack", "fgsm", "--n", "300")
    card = done.cards()["boasting", "none", "fgsm"]
    assert card["gate"]["verdict"] == "SUSPECT"
    assert checks(card)["reference clean accuracy"] == "suspect"


def test_a_surrogate_that_is_not_what_it_says_may_not_craft(shared_site, finished):
    words = ("--attack", "fgsm", "--n", "20", "--surrogate", "modest")
    done = shared_site.robench("run", "--victim", "centroid", *words)
    assert done.code == 1
    assert "The surrogate modest classifies " in done.said
    assert "but 30.0% is stated: wrong weights, preprocessing or class order." in done.said
    assert "1 cells failed" in done.err
