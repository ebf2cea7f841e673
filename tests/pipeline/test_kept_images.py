"""`--keep-images`: less in the store, the same numbers, and a sentence for what can no longer be done."""

from __future__ import annotations

import msgspec
import pytest
import torch

from robench.contracts.task import Silent
from robench.errors import SpecError, StoreError
from robench.evidence.adversarial_set import KEPT, KIND, chunk_key, images_of
from robench.evidence.store import Store
from robench.pipeline.stages.score import KIND as OUTCOMES
from robench.verify import recompute

REQUEST = {"defense": "scale", "eps": "4/255"}


def chunk(grey, card):
    return Store(grey.store).get(KIND, chunk_key(card.adversarial.artifact, 0))


def plain(cards):
    return {card.id: (card.robust, card.adversarial, card.gate.verdict, card.gate.checks) for card in cards}


def test_digests_alone_are_kept(grey):
    card = grey.run(keep_images="digests", **REQUEST)[1]
    kept = chunk(grey, card)
    assert [path.name for path in kept.path.iterdir()] == ["meta.json"]
    assert kept.meta[KEPT] == []
    with pytest.raises(StoreError, match="none of them, only their digest was kept"):
        images_of(kept)


def test_those_that_fell_are_kept(grey):
    whole = grey.run(**REQUEST)[1]
    images = images_of(chunk(grey, whole))
    card = grey.run(keep_images="flipped", **REQUEST)[1]
    kept = chunk(grey, card)
    fell = [
        place for place, (a, b) in enumerate(zip(card.clean.mask(), card.robust.mask(), strict=True)) if a and not b
    ]
    assert kept.meta[KEPT] == fell
    assert len(fell) == grey.clean - grey.survivors[4]
    assert torch.equal(kept.tensors()["images"], images[fell])
    with pytest.raises(StoreError, match=f"{len(fell)} of them was kept"):
        images_of(kept)


@pytest.mark.parametrize("keep", ["flipped", "digests"])
def test_what_is_kept_changes_no_card(grey, keep):
    before = plain(grey.run(keep_images=keep, **REQUEST))
    assert plain(grey.run(**REQUEST)) == before
    assert plain(grey.run(store=grey.store.with_name("other"), **REQUEST)) == before


@pytest.mark.parametrize("lost", [OUTCOMES, "probes", "gallery"])
def test_images_that_are_needed_again_are_crafted_again(grey, lost):
    cards = grey.run(keep_images="digests", gallery=True, **REQUEST)
    store = Store(grey.store)
    for kind in (lost, "card"):
        for path in sorted(grey.store.glob(f"{kind}/??/*")):
            store.remove(kind, path.name)
    assert plain(grey.run(gallery=True, **REQUEST)) == plain(cards)
    assert all(KEPT not in chunk(grey, card).meta for card in cards)


def test_images_that_come_out_otherwise_are_refused(grey):
    (card,) = grey.run(keep_images="digests", eps="4/255")
    store, key = Store(grey.store), chunk_key(card.adversarial.artifact, 0)
    store.replace(KIND, key, {**store.get(KIND, key).meta, "images": "0" * 64})
    for kind in (OUTCOMES, "card"):
        for path in sorted(grey.store.glob(f"{kind}/??/*")):
            store.remove(kind, path.name)
    with pytest.raises(StoreError, match=r"crafting them here gives others .* compute the cell in another store"):
        grey.run(eps="4/255")


def test_verify_says_what_it_cannot_do(grey, monkeypatch):
    (card,) = grey.run(keep_images="digests", eps="4/255")
    found = {each.what: each for each in recompute.verify(card, grey.store, "cpu", Silent())}
    assert found["clean outcomes"].good
    assert found["robust outcomes"].good
    assert found["re-score"].good is None
    assert found["re-score"].detail == (
        "not all of its images were kept (--keep-images), so the model cannot be asked about them again; recompute "
        "with --rerun"
    )


def test_another_word_is_refused(grey):
    with pytest.raises(
        SpecError, match=r"^keep_images='flip' is unknown; did you mean 'flipped'\? Known: all, digests"
    ):
        grey.run(keep_images="flip", **REQUEST)


def test_pictures_are_taken_before_images_go(grey):
    card = grey.run(keep_images="digests", gallery=True, **REQUEST)[1]
    from robench.evidence.gallery import KIND as GALLERY
    from robench.evidence.gallery import gallery_key

    assert Store(grey.store).get(GALLERY, gallery_key(card.id)).tensors()["adversarial"].shape[0] == 6
    assert msgspec.json.encode(card)
