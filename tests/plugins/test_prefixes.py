"""A third party's names with a prefix: in every role, in a run and an export of real processes, and when mistyped."""

from __future__ import annotations

import json

import pytest

SHELF = '''
"""Offer a prefix in every role."""

from robench import Dataset, Exporter

ROBENCH_API = 1


class Prefix:
    @classmethod
    def shorthand(cls, text):
        word, colon, rest = text.partition(":")
        return {"item": rest} if colon and word == "shelf" else None


class ShelfSet(Prefix, Dataset):
    """Serve the digits as item says."""

    name = "shelf"
    victim = "shelf"
    item: str = parameter(default="", help="what to take")

    def classes(self):
        return tuple("0123456789")

    def load(self, split):
        from robench_builtins.datasets.digits import Digits

        return Digits().load(split)


class ShelfModel(Prefix, Centroid):
    """Answer with the nearest class mean, as item says."""

    name = "shelf"
    item: str = parameter(default="", help="what to take")


class ShelfAttack(Prefix, Attack):
    """Take one step, as item says."""

    name = "shelf"
    item: str = parameter(default="", help="what to take")

    def craft(self, model, images, labels, task):
        return task.threat.project(images, images + task.threat.eps * ascent(model, images, labels))


class ShelfDefense(Prefix, Defense):
    """Leave the victim as it is, as item says."""

    name = "shelf"
    item: str = parameter(default="", help="what to take")
    more: int = parameter(default=0, help="a number")


class ShelfExporter(Prefix, Exporter):
    """Write how many cards there are, as item says."""

    name = "shelf"
    item: str = parameter(default="", help="what to take")
    more: int = parameter(default=0, help="a number")

    def write(self, cards, target):
        target.write_text(f"{len(cards)} cards, {self.item}, {self.more}\\n")


@hookimpl
def robench_datasets():
    return [ShelfSet]


@hookimpl
def robench_victims():
    return [ShelfModel]


@hookimpl
def robench_surrogates():
    return [ShelfModel]


@hookimpl
def robench_attacks():
    return [ShelfAttack]


@hookimpl
def robench_defenses():
    return [ShelfDefense]


@hookimpl
def robench_exporters():
    return [ShelfExporter]
'''


@pytest.fixture(scope="module")
def shelf(shared_site, centroid):
    shared_site.install("robench-shelf", centroid + SHELF)
    return shared_site


def test_every_role_takes_a_prefix_in_a_run_and_an_export(shelf):
    run = ("--dataset", "shelf:a", "--victim", "shelf:b", "--surrogate", "shelf:c", "--attack", "shelf:d")
    done = shelf.robench("run", *run, "--defense", "shelf:e[more=3]", "--n", "20", "--eps", "8/255", "--gate", "quick")
    assert done.code == 0, done.said
    cards = [json.loads(file.read_text())["cell"] for file in sorted((done.folder / "cards").glob("*.json"))]
    transfer = next(card for card in cards if card["surrogate"] and card["defense"]["name"] == "shelf")
    given = {role: transfer[role]["parameters"] for role in ("dataset", "victim", "surrogate", "attack", "defense")}
    assert {role: found["item"] for role, found in given.items()} == {
        "dataset": "a", "victim": "b", "surrogate": "c", "attack": "d", "defense": "e"
    }  # fmt: skip
    assert given["defense"]["more"] == 3
    done = shelf.robench("export", str(done.folder / "cards"), "--to", "shelf:f[more=4]")
    assert (done.code, done.out) == (0, f"{len(cards)} cards, f, 4\n"), done.said


@pytest.mark.parametrize("role", ["dataset", "victim", "surrogate", "attack", "defense", "exporter"])
def test_a_mistyped_prefix_is_answered_with_the_one_that_was_meant(role, shelf):
    words = ("export", ".", "--to", "shelv:a") if role == "exporter" else ("run", f"--{role}", "shelv:a", "--dry-run")
    done = shelf.robench(*words)
    assert done.code == 2
    assert f"There is no {role} 'shelv:a'; did you mean 'shelf:a'?" in done.said
