"""Common corruptions: what is drawn, how the words and severities are read, and cards that accuse nobody."""

from __future__ import annotations

import sys

import pytest
import torch

from robench import SpecError, Task, ThreatModel
from robench.plan.spec import Spec, plan
from robench.testing import fixtures
from robench.testing.fixtures import USUAL
from robench_builtins.attacks import corruption
from robench_builtins.attacks.corruption import WORDS, Corruption
from robench_leaderboard.ranking.board import boards

from ..grey import catalog_of, checks, grey

__all__ = ["catalog_of", "grey"]

needs_library = pytest.mark.skipif(
    bool(Corruption().missing()), reason="corrupt-tta is not installed (pip install 'robench[corruptions]')"
)


def corrupted(kind, severity=3, rows=(0, 1, 2), seed=0, images=None):
    images = fixtures.pictures(USUAL, 3) if images is None else images
    task = Task(
        classes=("no", "yes"), shape=tuple(images.shape[1:]), seed=seed, indices=rows,
        threat_model=ThreatModel("corruption", float(severity)),
    )  # fmt: skip
    return images, Corruption(kind=kind).craft(None, images, torch.zeros(len(images)), task)


@needs_library
@pytest.mark.parametrize("kind", WORDS["all"])
def test_each_is_on_the_byte_grid_and_depends_on_seed_and_image_alone(kind):
    images, found = corrupted(kind)
    _, again = corrupted(kind)
    _, alone = corrupted(kind, rows=(2,), images=images[2:])

    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert torch.equal((found * 255).round() / 255, found)
    assert torch.equal(found, again)
    assert torch.equal(found[2:], alone)
    assert not torch.equal(found, images)


@needs_library
def test_noise_has_the_published_strength_and_grows_with_severity():
    grey_images = torch.full((3, 3, 64, 64), 128 / 255)
    for severity, deviation in enumerate((0.08, 0.12, 0.18, 0.26, 0.38), 1):
        images, found = corrupted("gaussian_noise", severity, images=grey_images)
        noise = found - images
        # Of what the box does not cut off, half lies within 0.6745 standard deviations.
        assert float(noise.abs().median()) == pytest.approx(0.6745 * deviation, rel=0.03)
    _, other = corrupted("gaussian_noise", 5, images=grey_images, seed=1)
    assert not torch.equal(found, other)


@needs_library
def test_grey_images_of_one_channel_stay_grey():
    images = fixtures.pictures(fixtures.SMALL, 3)
    _, found = corrupted("contrast", images=images)

    assert found.shape == images.shape
    assert float(found.std()) < float(images.std())


@needs_library
def test_a_word_stands_for_nineteen_and_severities_are_threat_models_of_their_own():
    cells = plan(Spec(attack=("corruption:all[severity=2]", "pgd"), eps=("4/255", "8/255")))
    drawn = [cell for cell in cells if cell.attack.component.name == "corruption"]

    assert [cell.attack.component.kind for cell in drawn] == list(WORDS["all"])
    assert len(WORDS["all"]) == 19
    assert {str(cell.threat) for cell in drawn} == {"corruption severity 2 black-box"}
    assert {str(cell.threat) for cell in cells if cell not in drawn} == {
        "Linf 4/255 white-box",
        "Linf 8/255 white-box",
    }
    swept = plan(Spec(attack=("corruption:fog",), norm="corruption", eps=("1", "5")))
    assert [cell.threat.eps for cell in swept] == [1.0, 5.0]


@needs_library
@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (
            {"attack": ("corruption:rain",)},
            "corruption 'rain' is none of the nineteen; write all, common, extra, or ga",
        ),
        ({"attack": ("corruption:fog[severity=6]",)}, "6"),
        ({"attack": ("corruption:fog",), "norm": "corruption", "eps": ("2.5",)}, "eps 2.5 is no severity of a corrup"),
        (
            {"attack": ("pgd",), "norm": "corruption", "eps": ("2",)},
            "pgd works in Linf, L2 and L1, not in corruption",
        ),
        (
            {"attack": ("corruption:fog[severity=1]",), "norm": "corruption", "eps": ("2",)},
            "corruption.severity is 1, and --eps of --norm corruption is 2; leave one out.",
        ),
    ],
)
def test_what_is_no_corruption_is_refused(request_, said):
    with pytest.raises(SpecError, match=said):
        plan(Spec(**request_))


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(corruption, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"not installed; run: pip install 'robench\[corruptions\]'"):
        plan(Spec(attack=("corruption:fog",)))


def test_a_library_that_cannot_be_imported_is_said_with_the_way_out(monkeypatch, tmp_path):
    (tmp_path / "corrupt_tta.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "corrupt_tta", raising=False)
    with pytest.raises(SpecError, match=r"imported \(libGL.so.1: .*\); .* pip install opencv-python-headless$"):
        corrupted("fog")


class Lighter(Corruption):
    """Add a tenth of the severity to every image: known by hand."""

    name = "lighter"

    def check(self, threat):
        """Need no library."""

    def craft(self, model, images, labels, task):
        return (images + task.threat.eps / 255 * (1 if self.kind == "fog" else -1)).clamp(0, 1)


def test_cards_and_boards_of_corruptions_are_counted_by_hand_and_accuse_nobody(grey):
    cards = grey.run(
        ("attack", Lighter), attack=["lighter[kind=fog,severity=4]", "lighter[kind=snow,severity=4]"], gate="standard"
    )

    for card in cards:
        # Up or down by four levels: four of one side cross the middle, and all wrong labels stay wrong.
        assert card.robust.correct == 36
        assert card.adversarial.attacked == card.cell.n == grey.n
        assert card.gate.verdict == "VALID", [one for one in card.gate.checks if one.status in ("suspect", "invalid")]
        for name in ("stronger attack", "gradients useful", "noise <= gradients"):
            assert checks(card)[name].meaning.startswith("Not applicable: common corruptions are drawn")
    (board,) = boards(cards)
    (row,) = board.rows
    assert row.headline.rate == pytest.approx(36 / 44)
    assert row.rank == 1
    # No image crosses both ways, so each is right under at least one of two: under more than half only if under both.
    assert sum(row.mask) == 32
    assert "corruption severity 4" in board.setting.contest
    assert "mean accuracy over a row's common corruptions of severity 4, of which there are (none: 2)" in board.weak[0]


def test_exports_say_that_it_is_a_mean(grey, tmp_path):
    from robench_exports.hf_model_index import HFModelIndex
    from robench_exports.latex import LaTeX

    cards = grey.run(("attack", Lighter), attack="lighter[severity=4]", gate="quick")
    LaTeX().write(cards, tmp_path / "table.tex")
    HFModelIndex().write(cards, tmp_path / "card.md")

    assert "Robust accuracy is the mean over the common corruptions" in (tmp_path / "table.tex").read_text()
    assert "corruption, severity 4, " in (tmp_path / "table.tex").read_text()
    assert "corruption, severity 4, mean over 1 corruptions" in " ".join((tmp_path / "card.md").read_text().split())
