"""What do several defenses of one victim copy and hash? Counted in the victim's own bytes, and timed.

    python -m benchmarks.defense_copies [large | vit]

Of tiny-clip at --gate standard, what a copy holds in memory of its own is looked at when the next one is made, in
float64 where that happens, and at the end. ``vit`` does the same with a whole CLIP of ViT-B/32 and its text tower, of
random weights, on 8 images at 224 px; its defenses learn from 30. ``large`` copies the image tower by itself.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
import weakref
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import robench
from robench.contracts.module_copy import copy_module
from robench.contracts.shared_weights import own_memory
from robench.evidence import victim_digests
from robench.evidence.victim_digests import digests_of
from robench.runtime import time_beside
from robench.runtime.inference import freeze
from robench_builtins.models.tiny_clip import WEIGHTS

from .gpu_victims import _clip
from .interleave import interleave, ratios, report, timed_rows
from .peak_memory import highest, resident

DEFENSES = ("none", "tecoa", "fare", "lora-ce", "vpt", "pmg-aft", "ttc")
TRAINED = DEFENSES[1:-1]
#: Few images at once: ttc is differentiated twice over several draws, which takes 2.5 GB an image of a ViT-B/32.
BATCH = 2


class Copies:
    """Follow every module that is copied, and remember how many bytes it had of its own."""

    def __init__(self):
        self.own, self._alive, self._origins, self._depth = Counter(), {}, [], 0

    @contextmanager
    def followed(self):
        """Follow what copy.deepcopy makes of modules."""
        real, double = copy.deepcopy, nn.Module.double

        def deepcopy(given, memo=None, *more):
            if not isinstance(given, nn.Module) or self._depth:
                return real(given, memo, *more)
            self._depth += 1
            try:
                made = real(given, memo, *more)
            finally:
                self._depth -= 1
            self.look()
            if not any(kept() is given for kept in self._alive.values()):
                self._origins.append(weakref.ref(given))
            self._alive[len(self._alive)] = weakref.ref(made)
            return made

        def doubled(module):
            made = double(module)
            self.look()
            return made

        copy.deepcopy, nn.Module.double = deepcopy, doubled
        try:
            yield self
        finally:
            self.look()
            copy.deepcopy, nn.Module.double = real, double

    def look(self):
        """See what each copy that is alive has of its own: neither a victim's nor an earlier copy's memory."""
        seen = {_place(tensor) for origin in self._origins if (model := origin()) for tensor in _tensors(model)}
        for number, kept in self._alive.items():
            model = kept()
            if model is not None:
                tensors = {_place(tensor): tensor.nbytes for tensor in _tensors(model)}
                self.own[number] = max(self.own[number], sum(tensors[place] for place in tensors.keys() - seen))
                seen |= tensors.keys()


def _tensors(model):
    return [*model.parameters(), *model.buffers()]


def _place(tensor):
    return torch._C._data_address(tensor) if tensor.nbytes else 0


def large(rounds=5):
    """Copy CLIP's ViT-B/32 of random weights, whole and shared, and ask whose bits a copy has."""
    victim = own_memory(freeze(_clip("ViT-B/32"), "cpu"))
    one = sum(tensor.nbytes for tensor in _tensors(victim))
    known, images = digests_of(victim), torch.rand(1, 3, 224, 224)
    made = {"whole": copy_module(victim, whole=True), "shared": copy_module(victim)}
    for name, model in made.items():
        model(images.clone().requires_grad_()).sum().backward()  # an attack's pass writes to nothing
        places = {_place(tensor) for tensor in _tensors(victim)}
        own = sum(tensor.nbytes for tensor in _tensors(model) if _place(tensor) not in places)
        print(f"{name}: {own / 2**20:.1f} of {one / 2**20:.1f} MiB of its own")  # noqa: T201 - as the tables
    for what, work in (
        ("copied", {"whole": lambda: copy_module(victim, whole=True), "shared": lambda: copy_module(victim)}),
        ("compared", {name: partial(known.of, model, victim) for name, model in made.items()}),
    ):
        spent = interleave(work, rounds)
        report(f"ViT-B/32 {what}: ratio, seconds", timed_rows(spent, ratios(spent, "whole")))


def whole_vit(folder):
    """Save a CLIP of random weights and 40 drawn pictures; return the request that names them."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    tokenizer, drawn = CLIPTokenizer.from_pretrained(WEIGHTS), np.random.default_rng(0)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config={**ids, "pad_token_id": tokenizer.pad_token_id})).save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    CLIPImageProcessor().save_pretrained(folder / "clip")
    for split, count in (("train", 30), ("test", 10)):
        for number in range(count):
            place = folder / "pictures" / split / f"kind-{number % 10}"
            place.mkdir(parents=True, exist_ok=True)
            tiles = Image.fromarray(drawn.integers(0, 256, (7, 7, 3), dtype=np.uint8))
            tiles.resize((224, 224)).save(place / f"{number}.png")
    parameters = {"dataset.path": str(folder / "pictures"), "dataset.size": 224, "dataset.val": 0}
    victim = f"clip-vit-b32[checkpoint={folder / 'clip'}]"
    return {"dataset": "imagefolder", "victim": victim, "batch_size": BATCH}, parameters


def measured(request, parameters, folder):
    """Run the seven defenses; print what was copied, hashed and held, and what the run says of its time."""
    hashed, real, said = [], victim_digests.digest, []
    victim_digests.digest = lambda tensor: hashed.append(tensor.nbytes) or real(tensor)
    time_beside.WORTH_SAYING = 0.0

    class Said(robench.contracts.task.Silent):
        def note(self, text):
            said.append(text)

    parameters = {**parameters, **{f"{name}.{key}": 1 for name in TRAINED for key in ("epochs", "attack_steps")}}
    before, begun = resident(), time.perf_counter()
    with Copies().followed() as copies, highest() as peak:
        cards = robench.run(
            **request, defense=list(DEFENSES), attack="pgd[steps=2]", n=8, gate="standard",
            parameters=parameters, device="cpu", store=folder / "store", progress=Said(),
        )  # fmt: skip
    spent = time.perf_counter() - begun
    one = 4 * cards[0].model.parameters
    report(
        f"{len(DEFENSES)} defenses of {cards[0].cell.victim.name}, in the victim's bytes ({one / 2**20:.1f} MiB)",
        [
            ("copies made", len(copies.own)),
            ("copied", f"{sum(copies.own.values()) / one:.2f}"),
            ("hashed", f"{sum(hashed) / one:.2f}"),
            ("peak memory, MiB", f"{(peak[0] - before) / 2**20:.0f}"),
            ("seconds", f"{spent:.1f}"),
        ],
    )
    print(json.dumps([round(own / one, 2) for own in copies.own.values()]))  # noqa: T201 - one a copy, in order
    print([text for text in said if text.startswith("Beside")])  # noqa: T201 - likewise
    print(json.dumps([[card.id[:12], card.robust.hits] for card in cards]))  # noqa: T201


def main(what=""):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny = {"dataset": "digits", "victim": "tiny-clip"}, {}
        measured(*(whole_vit(folder) if what == "vit" else tiny), folder)


if __name__ == "__main__":
    large() if sys.argv[1:] == ["large"] else main(*sys.argv[1:])
