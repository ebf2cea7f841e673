"""--compile where torch cannot compile: said once, and the run goes on."""

from __future__ import annotations

import torch

from robench.contracts.task import Silent


class Notes(Silent):
    """Keep what the user would be told."""

    def __init__(self):
        self.texts = []

    def note(self, text):
        self.texts.append(text)


def test_why_nothing_is_compiled_is_said_once_and_changes_nothing(grey, monkeypatch, tmp_path):
    def fails(network):
        raise RuntimeError("backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler found\n\nSet A=1")

    monkeypatch.setattr(torch, "compile", fails)
    request = {"defense": ["none", "scale"], "gate": "quick", "eps": "4/255"}
    notes = Notes()
    cards = grey.run(compiled=True, progress=notes, **request)
    assert [text for text in notes.texts if "torch.compile" in text] == [
        "torch.compile cannot be used here (InvalidCxxCompiler: No working C++ compiler found), so models run as they "
        "are. Leave --compile out; if a compiler is missing, install it (g++, or Triton for a GPU)."
    ]
    plain = grey.run(store=tmp_path / "plain", **request)
    assert [card.id for card in cards] == [card.id for card in plain]
    assert [card.robust.correct for card in cards] == [card.robust.correct for card in plain]
