"""Unfinished work that is damaged, exchanged or forged: the run that takes it up ends with the same cards."""

from __future__ import annotations

import hashlib
import io
import json
import shutil

import pytest
import torch
from torch import nn

from robench import Defense
from robench.api import CellsFailed
from robench.errors import RobenchError
from robench.evidence import craft_checkpoint

from ..grey import Steps
from ..without_clocks import without_clocks

#: Whether attack and defense break off half-way; no parameter, so that what is broken off has the id of what is not.
BREAK = {"craft": False, "fit": False}


class Crumbling(Steps):
    """Take the four steps, and keep the state after each; break off at the last batch."""

    name = "crumbling"

    def craft(self, model, images, labels, task):
        kept = task.checkpoint.load()
        iterate, first = (images, 0) if kept is None else (kept["images"], kept["step"])
        for step in range(first, self.steps):
            if BREAK["craft"] and 30 in task.indices and step == 2:
                raise RuntimeError("killed")
            moved = super().craft(model, iterate, labels, task)
            iterate = task.threat.project(images, iterate + (moved - iterate) / self.steps)
            task.checkpoint.save({"images": iterate, "step": step + 1})
        return iterate


class Patient(Defense):
    """Train the gain for three epochs, and keep it after each; break off after the second."""

    name = "patient"

    def wrap(self, victim, task):
        victim.network.gain.requires_grad_(True)
        return victim

    def fit(self, defended, train, task):
        kept = task.checkpoint.load()
        first = 0
        if kept is not None:
            first = kept["epoch"]
            with torch.no_grad():
                defended.network.gain.copy_(kept["gain"])
        for epoch in range(first, 3):
            if BREAK["fit"] and epoch == 2:
                raise RuntimeError("killed")
            images, labels, _ = next(train.batches(40, task.device))
            loss = nn.functional.cross_entropy(defended(images), labels)
            (gradient,) = torch.autograd.grad(loss, defended.network.gain)
            defended.network.gain.grad = gradient
            with torch.no_grad():
                defended.network.gain -= gradient
            task.log(epoch=epoch, loss=loss.item())
            task.checkpoint.save({"epoch": epoch + 1, "gain": defended.network.gain.detach().clone()})


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(craft_checkpoint, "EVERY", 0.0)
    monkeypatch.setattr(craft_checkpoint, "SHARE", 0)


@pytest.fixture
def cards(grey):
    """Return a function that runs the grid in a store, with everything but clocks of its cards."""

    def go(store):
        found = grey.run(
            ("attack", Crumbling), ("defense", Patient), attack="crumbling", defense="patient", eps="4/255",
            batch_size=16, store=store, gate="quick",
        )  # fmt: skip
        return [without_clocks(card) for card in found]

    return go


@pytest.fixture
def broken_off(once, cards, tmp_path):
    """Return a function that gives the cards of a whole run, and a store in which crafting or a fit was broken off."""

    def fill(folder):
        (folder / "cards.json").write_text(json.dumps(cards(folder / "whole")))
        for what in BREAK:
            BREAK[what] = True
            try:
                with pytest.raises((CellsFailed, RobenchError)):
                    cards(folder / what)
            finally:
                BREAK[what] = False

    def give(what):
        folder = once("work-broken-off", fill)
        shutil.copytree(folder / what, tmp_path / "store")
        files = sorted((tmp_path / "store" / "tmp").glob("*.partial"))
        return json.loads((folder / "cards.json").read_text()), tmp_path / "store", files

    return give


def flip(files):
    for file in files:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)


def truncate(files):
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(files):
    for file in files:
        file.write_bytes(b"")


def append(files):
    for file in files:
        file.write_bytes(file.read_bytes() + b"x")


def exchange(files):
    contents = [file.read_bytes() for file in files]
    for file, content in zip(files, contents[1:] + contents[:1], strict=True):
        file.write_bytes(content)


def foreign(files):
    for file in files:
        file.write_text("not ours")


def lost(files):
    for file in files:
        file.unlink()


def sealed(files, change):
    """Change what is inside and write the checksum anew, as no damage does."""
    for file in files:
        kept = torch.load(io.BytesIO(file.read_bytes()[32:]), weights_only=True)
        change(kept["state"])
        written = io.BytesIO()
        torch.save(kept, written)
        file.write_bytes(hashlib.sha256(file.name.encode() + written.getvalue()).digest() + written.getvalue())


def outside(files):
    sealed(files, lambda state: state["images"].add_(0.5))


def hollow(files):
    sealed(files, lambda state: state["images"].fill_(float("nan")))


def smaller(files):
    sealed(files, lambda state: state.update(images=state["images"][:, :, :2, :2].clone()))


ANY = (flip, truncate, empty, append, exchange, foreign, lost)


def plain(cards):
    return json.loads(json.dumps(cards))


@pytest.mark.parametrize("damage", [*ANY, outside, hollow, smaller])
def test_crafting_that_goes_on_after_damage_ends_with_the_same_cards(cards, broken_off, damage):
    wanted, store, files = broken_off("craft")
    assert [file.name.partition("-")[0] for file in files] == ["adversarial"] * 2, "of both victims"
    damage(files)
    assert plain(cards(store)) == wanted
    assert not any(file.exists() for file in files)


@pytest.mark.parametrize("damage", ANY)
def test_a_fit_that_goes_on_after_damage_ends_with_the_same_cards(cards, broken_off, damage):
    wanted, store, files = broken_off("fit")
    (file,) = [file for file in files if file.name.startswith("fit-")]
    damage([file, *_another(file)] if damage is exchange else [file])
    assert plain(cards(store)) == wanted
    assert not file.exists()


def _another(file):
    """Return the unfinished work of another fit, whose weights are sound and wrong here."""
    other = file.with_name(f"fit-{'0' * 64}.partial")
    other.write_bytes(file.read_bytes())
    sealed([other], lambda state: state["gain"].fill_(-1.0))
    yield other


@pytest.mark.parametrize("what", BREAK)
def test_unfinished_work_that_is_sound_is_gone_on_with(cards, broken_off, what):
    wanted, store, _ = broken_off(what)
    assert plain(cards(store)) == wanted
