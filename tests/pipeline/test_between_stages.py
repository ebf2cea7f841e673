"""Several defenses of one victim: what is loaded, copied and hashed between the stages, counted."""

from __future__ import annotations

import pytest

import robench
from robench.contracts.task import Silent
from robench.evidence import tensor_digests, victim_digests
from robench.pipeline import workbench
from robench.pipeline.stages import fit as stage
from robench.runtime import time_beside
from robench_builtins.models.shared import text_features


class Notes(Silent):
    """Keep what the user would be told."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def counted(monkeypatch, place, name, of=lambda *given: 1):
    """Return a list to which each call of a function adds ``of`` its arguments."""
    calls, real = [], getattr(place, name)
    monkeypatch.setattr(place, name, lambda *given, **named: calls.append(of(*given)) or real(*given, **named))
    return calls


@pytest.fixture
def run(tmp_path):
    request = {"dataset": "digits", "victim": "tiny-clip", "attack": ["fgsm"], "n": 4, "gate": "quick", "device": "cpu"}
    return lambda defenses, **more: robench.run(defense=defenses, store=tmp_path, **request, **more)


def test_one_victim_is_loaded_once_and_hashed_once(run, monkeypatch):
    loads = counted(monkeypatch, workbench, "load_model")
    texts = counted(monkeypatch, text_features, "class_features")
    copies = counted(monkeypatch, stage, "copy_module")
    hashed = counted(monkeypatch, victim_digests, "digest", lambda tensor: tensor.nbytes)
    whole = counted(monkeypatch, tensor_digests, "weights_digest")
    monkeypatch.setattr(time_beside, "WORTH_SAYING", 0.0)
    monkeypatch.setattr(time_beside, "WORTH_NAMING", 0.0)
    monkeypatch.setattr(stage, "trains", lambda defense: False)
    monkeypatch.setattr(workbench, "trains", lambda defense: False)  # what is trained is not what is asked here
    notes = Notes()
    defenses = ["none", "tecoa", "fare", "adv-finetune", "vpt"]
    cards = run(defenses, progress=notes)
    tensors = 4 * cards[0].model.parameters
    assert len({card.model.victim for card in cards}) == 1
    assert (len(cards), len(loads), len(texts), len(copies)) == (5, 1, 1, 5)
    # The victim's own bytes once; beside them what vpt puts before the tower, before and after its fit.
    assert tensors <= sum(hashed) < 1.3 * tensors
    assert whole == []
    (said,) = [text for text in notes.texts if text.startswith("Beside the stages")]
    for what in ("reading data sets", "loading models", "copying, comparing and storing", "preparing models"):
        assert what in said
