"""A store and its cards mean the same on another processor: torch's kernels for other CPUs, threads and batches."""

from __future__ import annotations

import json

#: The kernels of this machine's own CPU made the shared run; these are those of any.
ELSEWHERE = {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2"}
QUICK = ("--defense", "tecoa", "--n", "60", "-p", "defense.epochs=1", "-p", "pgd.steps=5")


def fits(store):
    return {path.parent.name: path.stat().st_mtime_ns for path in store.glob("fit/*/*/meta.json")}


def test_a_store_is_shared_between_processors_and_a_card_made_elsewhere_verifies_here(robench, copied_run):
    before = fits(copied_run.store)
    words = ("run", *QUICK, "--attack", "fgsm,pgd,apgd", "-p", "apgd.steps=20", "--batch-size", "17")
    done = robench(*words, "--store", copied_run.store, "--out", copied_run.out, **ELSEWHERE)
    assert done.code == 0, done.said
    assert fits(copied_run.store) == before
    assert len(before) == 2  # the undefended victim's, and the defense's

    cards = [json.loads(path.read_text()) for path in copied_run.cards]
    assert len(cards) == 6
    assert {each["gate"]["verdict"] for each in cards} == {"VALID"}
    assert len({each["model"]["victim"] for each in cards}) == 1
    assert len({each["model"]["defended"] for each in cards}) == 2
    assert len({each["data"]["test"] for each in cards}) == 1

    done = robench("verify", copied_run.card("tecoa-apgd"), "--store", copied_run.store)
    assert done.code == 0, done.said
    assert any(line.endswith((" is identical.", " repeats within rounding.")) for line in done.out.splitlines())
    assert "ok          weights: digest of the defended victim" in done.out


def test_a_card_repeats_elsewhere_whatever_threads_and_batches(robench, real_run):
    done = robench("verify", real_run.card("tecoa-pgd"), real_run.card("none-pgd"), "--rerun", **ELSEWHERE)
    assert done.code == 0, done.said
    told = [line for line in done.out.splitlines() if line.endswith((" is identical.", " repeats within rounding."))]
    assert len(told) == 2
    for part in ("cell", "data"):
        assert done.out.count(f"ok          rerun, {part}: the same") == 2
