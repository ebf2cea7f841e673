"""Several defenses of one victim: what is loaded, copied and hashed between the stages, counted."""

from __future__ import annotations

import pytest
import torch

import robench
from robench.contracts.shared_weights import same_memory
from robench.contracts.task import Silent
from robench.evidence import tensor_digests, victim_digests
from robench.pipeline import workbench
from robench.pipeline.stages import fit as stage
from robench.runtime import time_beside
from robench_builtins.defenses.tecoa import Tecoa
from robench_builtins.defenses.vpt import VPT
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


def own(model, victim):
    """Return the bytes of a model that lie in none of the victim's parameters."""
    weights = [*victim.parameters()]
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.nbytes for tensor in tensors if not any(same_memory(tensor, weight) for weight in weights))


def write_what_is_trainable(defense, defended, train, task):
    """Fit without a pass."""
    with torch.no_grad():
        for weight in defended.parameters():
            if weight.requires_grad:
                weight.add_(0.01)


def test_of_the_victims_bytes_only_those_are_copied_that_a_defense_changes(run, monkeypatch):
    made, prepared, real, prepare = {}, {}, stage.fit, workbench.prepare

    def fitted(defense, victim, *given):
        found = real(defense, victim, *given)
        made[defense.name] = (own(found.model, victim), found.model, victim)
        return found

    def rewritten(model, *given, **named):
        found = prepare(model, *given, **named)
        (name,) = [name for name, (_, fit, _) in made.items() if fit is model]
        prepared[name] = own(found.model, model)
        return found

    monkeypatch.setattr(workbench, "fit", fitted)
    monkeypatch.setattr(workbench, "prepare", rewritten)
    for kind in (Tecoa, VPT):
        monkeypatch.setattr(kind, "fit", write_what_is_trainable)
    cards = run(["none", "tecoa", "vpt"])
    victim = 4 * cards[0].model.parameters
    trained = {card.cell.defense.name: 4 * card.training.trainable for card in cards if card.training is not None}
    buffers = sum(tensor.nbytes for tensor in made["none"][2].buffers())
    assert victim > 300_000
    assert made["none"][0] <= buffers < 0.01 * victim
    assert made["vpt"][0] <= trained["vpt"] + 2 * buffers
    assert made["tecoa"][0] == trained["tecoa"] + buffers  # A and B of each adapter
    assert made["tecoa"][0] < 0.1 * victim
    # Merged: the adapted layers' weights once more, and no other.
    adapted = [module for _, module in made["tecoa"][1].named_modules() if hasattr(module, "base_layer")]
    merged = sum(module.base_layer.weight.nbytes for module in adapted)
    assert 0 < merged < 0.3 * victim
    assert prepared["tecoa"] == merged + buffers
    assert prepared["none"] == prepared["vpt"] == buffers  # nothing to rewrite: the model itself, whose buffers count


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
