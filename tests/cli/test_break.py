"""`robench break` lowers a published row with anyone's images, says by how much, and credits who made them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from robench import load_test
from robench.evidence.card_file import read

N = 60


@pytest.fixture
def images(copied_run, tmp_path):
    """Return a function that writes images against the row, and a file with its own PGD images and a stronger set."""
    card = read(copied_run.card("tecoa-fgsm"))
    clean = next(load_test("digits", n=N).batches(N)).images

    def save(moved, name="given.npz", positions=None):
        positions = np.arange(len(moved)) if positions is None else positions
        np.savez(tmp_path / name, positions=positions, images=np.asarray(moved))
        return tmp_path / name

    return save, clean, card


def stored_images(run, name):
    from robench.evidence.adversarial_set import KIND, chunk_key, images_of
    from robench.evidence.store import Store

    card = read(run.card(name))
    return images_of(Store(run.store).get(KIND, chunk_key(card.adversarial.artifact, 0)))


def test_a_row_falls_by_what_stood_and_falls_now(robench, copied_run, images):
    save, _, fgsm = images
    pgd = read(copied_run.card("tecoa-pgd"))
    file = save(stored_images(copied_run, "tecoa-pgd"))
    copied_run.card("tecoa-pgd").unlink()  # the row that is published met fgsm alone
    published = copied_run.card("tecoa-fgsm")
    done = robench(
        "break", published, file, "--by", "A. Person", "--store", copied_run.store, "--out", copied_run.out
    )  # fmt: skip
    assert done.code == 0, done.said
    stood = fgsm.robust.mask()
    fell = sum(before and not after for before, after in zip(stood, pgd.robust.mask(), strict=True))
    assert fell > 0
    assert f"{fell} of the {sum(stood)} images that stood under 1 card of this row fall to these." in done.said
    card = read(copied_run.card("tecoa-images"))
    assert card.robust.mask() == pgd.robust.mask()
    assert card.credit == "A. Person"
    assert card.cell.attack.parameters == {"path": "given.npz"}
    page = robench("leaderboard", copied_run.out / "cards", "-o", copied_run.out)
    assert page.code == 0, page.said
    text = (copied_run.out / "LEADERBOARD.md").read_text()
    assert "made elsewhere by A. Person" in text
    assert "made elsewhere by A. Person" in (copied_run.out / "index.html").read_text()
    (board,) = json.loads((copied_run.out / "leaderboard.json").read_text())["boards"]
    row = next(row for row in board["rows"] if row["defense"]["name"] == "tecoa")
    both = [a and b for a, b in zip(stood, pgd.robust.mask(), strict=True)]
    assert row["robust"]["correct"] == sum(both)
    verified = robench("verify", copied_run.card("tecoa-images"), "--store", copied_run.store)
    assert verified.code == 0, verified.said
    submitted = robench(
        "submit", copied_run.card("tecoa-images"), "--to", copied_run.out / "cards", "--replace",
        "--store", copied_run.store,
    )  # fmt: skip
    assert submitted.code == 0, submitted.said


def test_images_that_lower_nothing_write_nothing(robench, copied_run, images):
    save, clean, _ = images
    file = save((clean + 1 / 255).clamp(0, 1))
    before = len(copied_run.cards)
    done = robench("break", copied_run.card("tecoa-pgd"), file, "--store", copied_run.store, "--out", copied_run.out)
    assert done.code == 1
    assert "0 of the" in done.said
    assert "The row stays as it is, so no card was written." in done.said
    assert len(copied_run.cards) == before


def test_what_does_not_fit_is_refused(robench, copied_run, images):
    save, clean, _ = images
    file = save((clean + torch.where(clean > 0.5, -0.2, 0.2)).clamp(0, 1))
    done = robench("break", copied_run.card("tecoa-pgd"), file, "--store", copied_run.store, "--out", copied_run.out)
    assert done.code == 2
    assert f"leaves the ball in {N} of these images: the one at position" in done.said
    assert "in Linf, and eps is 0.03137; nothing is projected" in done.said


def test_another_model_than_the_cards_is_not_broken(robench, copied_run, images):
    save, *_ = images
    file = save(stored_images(copied_run, "tecoa-pgd"))
    published = copied_run.card("tecoa-pgd")
    content = json.loads(published.read_text())
    content["model"]["defended"] = "0" * 64
    published.write_text(json.dumps(content))
    done = robench("break", published, file, "--store", copied_run.store, "--out", copied_run.out)
    assert done.code == 2
    assert "The model here is not the card's: its weights are" in done.said


def test_a_name_must_be_one_that_a_page_can_show(robench, real_run, tmp_path):
    done = robench("break", real_run.card("tecoa-pgd"), tmp_path / "x.npz", "--by", "a\nb")
    assert done.code == 2
    assert "is no name that a page can show; give one of up to 100 letters." in done.said
