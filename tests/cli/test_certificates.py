"""``--certificate`` from the command line to verify: what is asked again is what was said, and a forgery is found."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from click.testing import CliRunner

from robench.cli import commands
from robench.evidence import card_file
from robench.evidence.card_identity import CardIds
from robench.evidence.statistics import pack_bits, proportion
from robench.evidence.store import Store


def robench(*words, code=0):
    done = CliRunner().invoke(commands.robench, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def test_a_run_that_asks_for_less_takes_nothing_away_from_the_folder(tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    request = (
        "run",
        "--victim",
        "linear",
        "--attack",
        "pgd",
        "--eps",
        "1/255",
        "--n",
        "40",
        "--store",
        store,
        "-o",
        out,
    )
    robench(*request, "--certificate", "crown")
    (path,) = (out / "cards").glob("*.json")
    first = card_file.read(path)

    said = robench(*request, "--gate", "quick", "--certificate", "interval")
    assert (
        f"kept of earlier runs of the same cells in {out / 'cards'}: gate standard in 1 card; certificate crown" in said
    )
    assert "certified %" in said
    kept = card_file.read(path)
    assert [record.certificate.name for record in kept.certificates] == ["crown", "interval"]
    assert (kept.gate.level, kept.gate.images, kept.cost.gate) == ("standard", first.gate.images, first.cost.gate)
    again = robench(*request)
    assert "certified %" in again
    assert "gate standard" not in again
    assert len(card_file.read(path).certificates) == 2
    # What is put together holds: to itself, to the store, and to the certificates asked again.
    checked = robench("verify", path, "--store", store)
    assert "certificate interval, again: 0 of 40 images are certified otherwise" in checked
    assert "certificate crown, again: 0 of 40 images are certified otherwise" in checked


def test_a_bracket_is_run_shown_verified_and_a_forged_one_is_found(tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    request = ("run", "--victim", "linear", "--attack", "pgd", "--certificate", "crown", "--eps", "1/255", "--n", "40")
    plan = robench(*request, "--store", store, "--dry-run")
    assert "certify 0 forwards + 0 backwards" in plan
    shown = robench(*request, "--store", store, "-o", out)
    assert "certified %" in shown
    (path,) = (out / "cards").glob("*.json")
    assert "certified: " in robench("explain", path)
    checked = robench("verify", path, "--store", store)
    assert "certificate crown, again: 0 of 40 images are certified otherwise" in checked

    # Both the card and the store say of all images right under attack that they are certified, and of a few more.
    raw = json.loads(path.read_text())
    card = card_file.read(path)
    flags = [not flag and right for flag, right in zip(card.certificates[0].mask(), card.robust.mask(), strict=True)]
    low, high = proportion(sum(flags), 40)
    changed = {"certified": sum(flags), "bits": pack_bits(flags), "low": low, "high": high}
    raw["certificates"][0] |= changed
    check = raw["gate"]["checks"][-1]
    check["figures"]["certified"] = check["n"] = sum(flags)
    forged = Path(tmp_path / "forged.json")
    forged.write_text(json.dumps(raw))
    kept = Store(store)
    (key,) = CardIds(card).certificate_chunks(card.certificates[0])
    kept.replace("certificate", key, kept.get("certificate", key).meta, {"stands": torch.tensor(flags)})
    told = robench("verify", forged, "--store", store, code=1)
    assert "ok          certificate crown: " in told
    assert "WRONG       certificate crown, again: " in told
