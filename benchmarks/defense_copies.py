"""What do several defenses of one victim copy and hash? Counted in the victim's own bytes, and timed.

    python -m benchmarks.defense_copies [tiny-clip|vit-b32]

tiny-clip at --gate standard; vit-b32 is CLIP's ViT-B/32 of random weights at --gate quick. Eight images, one epoch on
all of digits or on 6. What a copy holds in memory of its own is looked at when the next one is made, in float64 where
that happens, and at the end.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import robench
from robench import Dataset, Examples
from robench.evidence import victim_digests
from robench.plugin.catalog import Offer, catalog
from robench.plugin.discovery import Plugin
from robench.runtime import time_beside

from .interleave import report

DEFENSES = ("none", "tecoa", "fare", "lora-ce", "vpt", "pmg-aft", "ttc")
TRAINED = DEFENSES[1:-1]


class Noise(Dataset):
    """Serve a few random images."""

    name = "noise"

    def classes(self):
        return ("cat", "dog", "truck")

    def load(self, split):
        n = {"test": 8, "train": 6, "val": 0}[split]
        generator = torch.Generator().manual_seed(len(split))
        images = torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)
        return Examples(torch.arange(n) % 3, (3, 32, 32), lambda rows: images[rows], lambda rows: b"noise")


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


def random_checkpoint(folder):
    """Write a CLIP ViT-B/32 of random weights, whose tokenizer knows the classes."""
    from transformers import CLIPConfig, CLIPModel

    from robench_builtins.models.shared.tiny_clip_training import build_tokenizer

    tokenizer = build_tokenizer([*Noise().classes(), "a photo of a {}."])
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    words = {**ids, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    CLIPModel(CLIPConfig(text_config=words)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(victim="tiny-clip"):
    hashed, real, said, peak, done = [], victim_digests.digest, [], [0], threading.Event()
    victim_digests.digest = lambda tensor: hashed.append(tensor.nbytes) or real(tensor)
    time_beside.WORTH_SAYING = 0.0

    class Said(robench.contracts.task.Silent):
        def note(self, text):
            said.append(text)

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], int(Path("/proc/self/statm").read_text().split()[1]) * 4096)

    level = "quick" if victim == "vit-b32" else "standard"
    with tempfile.TemporaryDirectory() as folder, Copies().followed() as copies:
        parameters = {f"{name}.{key}": 1 for name in TRAINED for key in ("epochs", "attack_steps")}
        request, known = {"victim": victim, "dataset": "digits", "n": 8}, None
        if victim == "vit-b32":
            random_checkpoint(Path(folder) / "clip")
            plugin = Plugin("benchmarks", "benchmarks", "0", None)
            known = replace(catalog(), offers=dict(catalog().offers))
            known.offers["dataset", "noise"] = Offer("dataset", "noise", Noise, plugin)
            parameters |= {f"{name}.batch_size": 6 for name in TRAINED}
            parameters["clip-vit-b32.checkpoint"] = str(Path(folder) / "clip")
            request = {"victim": "clip-vit-b32", "dataset": "noise"}
        before = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        begun, watcher = time.perf_counter(), threading.Thread(target=watch)
        watcher.start()
        cards = robench.run(
            **request, parameters=parameters, defense=list(DEFENSES), attack="pgd[steps=2]", gate=level, device="cpu",
            known=known, store=Path(folder) / "store", progress=Said(),
        )  # fmt: skip
        done.set()
        watcher.join()
        spent = time.perf_counter() - begun
    one = 4 * cards[0].model.parameters
    report(
        f"{len(DEFENSES)} defenses of {victim}, in the victim's bytes ({one / 2**20:.1f} MiB)",
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


if __name__ == "__main__":
    main(*sys.argv[1:])
