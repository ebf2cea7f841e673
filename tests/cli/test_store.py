"""`robench store`: what is there, whether it is sound, and what of it may go."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest

from robench.cli.doctor_store import locks
from robench.evidence.adversarial_set import KIND as ADVERSARIAL
from robench.evidence.card_file import read
from robench.evidence.gallery import KIND as GALLERY
from robench.evidence.stored_objects import References, stored_objects
from robench.pipeline.card_cache import CARDS
from robench.pipeline.stages.fit import KIND as FIT
from robench.pipeline.stages.fit import SIGNATURES
from robench.pipeline.stages.score import KIND as OUTCOMES
from robench.pipeline.training_cards import TRAININGS

from ..bad_inputs import ROOT


def age(store, days, kind="*"):
    """Let everything of a kind have been used last so many days ago."""
    then = time.time() - days * 86400
    for path in [*store.glob(f"{kind}/??/*/meta.json"), *(store / "tmp").iterdir()]:
        os.utime(path, (then, then))


def counts(store):
    found = {}
    for each in stored_objects(store):
        found[each.kind] = found.get(each.kind, 0) + 1
    return found


@pytest.fixture
def bare(copied_run, tmp_path):
    """Return the run's store where no card lies that could refer to it."""
    shutil.rmtree(copied_run.out)
    return copied_run.store


def test_info_counts_objects_and_what_cards_refer_to(robench, copied_run, tmp_path):
    copied_run.out.rename(tmp_path / "results")
    done = robench("store", "info", "--store", copied_run.store)
    assert done.code == 0, done.said
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines()[2:]}
    found = counts(copied_run.store)
    assert {kind: int(row[0]) for kind, row in rows.items()} == found
    cards = {kind: int(row[3]) for kind, row in rows.items()}
    assert cards == {kind: found[kind] for kind in cards}, "every card of this store lies in results"
    assert all(row[4:] == ["today"] for row in rows.values())


def test_every_kind_of_object_is_known_by_the_name_that_stages_give_it(copied_run):
    kinds = {ADVERSARIAL, CARDS, FIT, GALLERY, OUTCOMES, SIGNATURES}
    objects = stored_objects(copied_run.store)
    referred = References(read(path) for path in copied_run.cards).among(objects)
    assert {each.kind for each in objects if each.path in referred} == kinds
    assert TRAININGS == "training"


def test_nothing_that_a_card_refers_to_is_pruned(robench, copied_run, tmp_path):
    copied_run.out.rename(tmp_path / "results")
    age(copied_run.store, 90)
    before = counts(copied_run.store)
    done = robench("store", "prune", "--older-than", "30d", "--store", copied_run.store)
    assert done.code == 0, done.said
    assert "stay, since cards refer to them; --even-if-used takes them too." in done.said
    left = counts(copied_run.store)
    assert left == before
    card = next((tmp_path / "results" / "cards").glob("*tecoa-pgd*"))
    verified = robench("verify", card, "--store", copied_run.store)
    assert verified.code == 0, verified.said
    assert verified.out.splitlines()[-1].endswith("is identical.")


def test_cards_elsewhere_protect_where_they_are_named(robench, copied_run):
    age(copied_run.store, 90)
    words = ("store", "prune", "--older-than", "30d", "--dry-run", "--store", copied_run.store)
    assert "cards refer" not in robench(*words).said
    assert "cards refer" in robench(*words, "--cards", copied_run.out).said


def test_cards_of_older_releases_protect_what_they_name(robench, copied_run, tmp_path):
    """They do not state what the keys of the gate's probes follow from."""
    folder = tmp_path / "results" / "cards"
    folder.mkdir(parents=True)
    for version in (1, 2):
        shutil.copy(ROOT / "tests" / "golden" / f"card-v{version}.json", folder)
    done = robench("store", "info", "--store", copied_run.store)
    assert done.code == 0, done.said


def test_a_card_that_cannot_be_read_is_named_since_it_protects_nothing(robench, copied_run, tmp_path):
    copied_run.out.rename(tmp_path / "results")
    (tmp_path / "results" / "cards" / "newer.json").write_text('{"schema_version": 99}')
    done = robench("store", "prune", "--older-than", "30d", "--dry-run", "--store", copied_run.store)
    assert done.code == 0
    assert "warning: what this file refers to is not protected: results/cards/newer.json" in done.said


def test_even_what_is_used_goes_if_it_is_asked_for(robench, copied_run, tmp_path):
    copied_run.out.rename(tmp_path / "results")
    done = robench("store", "prune", "--kind", "adversarial", "--even-if-used", "--store", copied_run.store)
    assert done.code == 0, done.said
    assert "adversarial: 4 objects" in done.said
    assert "adversarial" not in counts(copied_run.store)


def test_a_dry_run_removes_nothing(robench, bare):
    before = counts(bare)
    done = robench("store", "prune", "--kind", "outcomes,adversarial", "--dry-run", "--store", bare)
    assert "adversarial: 4 objects" in done.said
    assert "would be freed" in done.said
    assert counts(bare) == before


def test_size_takes_the_longest_unused_first_and_no_more_than_it_must(robench, bare):
    age(bare, 9, "gallery")
    sizes = {each.kind: 0 for each in stored_objects(bare)}
    for each in stored_objects(bare):
        sizes[each.kind] += each.size
    limit = sum(sizes.values()) - sizes["gallery"] + 1
    before = counts(bare)
    done = robench("store", "prune", "--max-size", f"{limit}B", "--store", bare)
    assert done.code == 0, done.said
    assert before.keys() - counts(bare).keys() == {"gallery"}
    assert robench("store", "prune", "--max-size", "20GB", "--store", bare).said.startswith("0 B freed;")


def test_a_size_that_cards_do_not_allow_is_said(robench, copied_run, tmp_path):
    copied_run.out.rename(tmp_path / "results")
    done = robench("store", "prune", "--max-size", "1kB", "--store", copied_run.store)
    assert done.code == 0
    assert ", more than --max-size 1.0 kB" in done.said


def test_unfinished_and_damaged_objects_are_kinds_too(robench, bare):
    (bare / "tmp" / "fit-abc.partial").write_bytes(b"x" * 100)
    aside = bare / "tmp" / "damaged-xyz"
    aside.mkdir()
    (aside / "meta.json").write_text("{}")
    age(bare, 40)
    assert {"unfinished", "damaged"} <= counts(bare).keys()
    done = robench("store", "prune", "--kind", "damaged,unfinished", "--older-than", "4w", "--store", bare)
    assert "damaged: 1 objects, 2 B removed unfinished: 1 objects, 100 B removed" in done.said
    assert not {"unfinished", "damaged"} & counts(bare).keys()


def test_what_was_pruned_is_computed_again(robench, bare, real_run):
    robench("store", "prune", "--kind", "outcomes,card", "--store", bare)
    words = [str(word).replace(str(real_run.store), str(bare)) for word in real_run.words]
    done = robench(*words[: words.index("--out")], "--out", "again")
    assert done.code == 0, done.said
    old = {card.id: card.robust.bits for card in map(read, real_run.cards)}
    new = [read(path) for path in (bare.parent / "again" / "cards").glob("*.json")]
    assert {card.id: card.robust.bits for card in new} == old


def test_check_finds_damage_and_changes_nothing(robench, copied_run):
    done = robench("store", "check", "--store", copied_run.store)
    assert done.code == 0, done.said
    assert "are as they were written." in done.said
    path = next(each.path for each in stored_objects(copied_run.store) if each.kind == "outcomes")
    file = path / "meta.json"
    content = json.loads(file.read_text())
    content["meta"]["draws"] = 7
    file.write_text(json.dumps(content))
    done = robench("store", "check", "--store", copied_run.store)
    assert done.code == 1
    assert f"damaged: {path} (its metadata does not match its checksum)" in done.said
    assert "1 of " in done.said
    assert path.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Say what may go: --older-than 30d, --max-size 20GB, or --kind NAME as robench store info does."),
        (("--older-than", "30"), "--older-than 30 is no age; write hours, days or weeks, such as 12h, 30d or 8w."),
        (("--max-size", "big"), "--max-size big is no size; write such as 500MB, 20GB or 1.5TB."),
        (("--kind", "outcome"), "--kind outcome is nothing that this store holds; did you mean 'outcomes'? Known: "),
        (("--kind", "fit", "--cards", "none"), "--cards none is no folder, so it protects nothing; name a folder"),
    ],
)
def test_what_cannot_be_pruned_is_refused(robench, real_run, words, sentence):
    done = robench("store", "prune", *words, "--store", real_run.store)
    assert done.code == 2
    assert sentence in done.said


def test_there_must_be_a_store(robench, tmp_path):
    done = robench("store", "info")
    assert done.code == 2
    assert f"There is no store at {tmp_path / 'store'}; a run makes it. Name another with --store." in done.said


def test_doctor_tests_the_locks_of_the_stores_own_folder(tmp_path, monkeypatch):
    (tmp_path / "locks").mkdir()
    (found,) = locks(tmp_path)
    assert (found.name, found.status) == ("locks", "ok")
    assert list((tmp_path / "locks").iterdir()) == []


def test_doctor_says_where_locks_do_not_hold(tmp_path, monkeypatch):
    (tmp_path / "locks").mkdir()
    # A file system without locks: each process gets what it asks for.
    monkeypatch.setattr("robench.cli.doctor_store.HOLD", "import sys\nprint('held', flush=True)\nsys.stdin.read()")
    (found,) = locks(tmp_path)
    assert found.status == "warn"
    assert f"two processes do not exclude each other in {tmp_path / 'locks'}" in found.detail
