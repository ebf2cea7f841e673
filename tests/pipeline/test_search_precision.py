"""`--precision`: the search alone is computed with fewer bits; what it believes is judged in float32.

One pixel decides: `logits = (x, 0.5)`, so an image is in class 1 iff its first pixel is below 0.5. In bf16 a pixel from
0.5 - 2^-10 on is 0.5 as well. The attack climbs from 127 / 255 by 0.0015 a step: its first step ends at 0.49954, which
bf16 takes for class 0 and float32 does not.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner
from msgspec.structs import replace
from torch import nn

import robench
from robench import Attack, Classifier, Dataset, Examples, Model, SpecError, input_gradient
from robench.cli.commands import robench as command
from robench.errors import CardError, ContractError
from robench.evidence import card_file
from robench.evidence.provenance import rounded_products
from robench.plan.spec import Spec, plan
from robench.runtime.float32 import compute_in_float32
from robench.testing import pretended_cuda
from robench.verify.claims import false_claims
from robench.verify.recompute import find_cell, request_of
from robench_leaderboard import render_markdown
from robench_leaderboard.ranking.board import boards
from robench_leaderboard.render.to_json import publish
from robench_leaderboard.report.provenance import provenance, repeat_command

from ..grey import grey, offers

__all__ = ["grey"]

STEP = 0.0015
FALSE, TRUE, FAR = 12, 6, 4


@pytest.fixture(autouse=True)
def exact():
    """Leave torch's arithmetic as robench sets it."""
    yield
    compute_in_float32()


class Edges(Dataset):
    """Serve images that bf16 believes lost, images that are lost in one step, and images that are too far."""

    name = "edges"
    victim = "pixel"
    default = True

    def classes(self):
        return ("bright", "dark")

    def load(self, split):
        near = 127 / 255
        there = 0.4988  # a step leads to 0.5003
        values = [near] * FALSE + [there] * TRUE + [0.3] * FAR
        images = torch.full((len(values), 1, 2, 2), 0.25)
        images[:, 0, 0, 0] = torch.tensor(values)
        images[:, 0, 1, 1] = torch.arange(len(values)) / 64  # no two alike; it decides nothing
        if split == "train":
            images[:, 0, 1, 0] = 0.75
        return Examples.from_tensors(images, torch.ones(len(values)))


class PixelNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.weight[0, 0] = 1.0
            self.last.bias.copy_(torch.tensor([0.0, 0.5]))

    def forward(self, images):
        Pixel.kinds += [str(torch.get_autocast_dtype("cpu"))] * len(images) if torch.is_autocast_enabled("cpu") else []
        Pixel.rounded += [{**found}] * len(images) if (found := rounded_products()) else []
        answers = self.last(images.flatten(1))
        Pixel.dtypes.add(answers.dtype)
        return answers


class Pixel(Model):
    """Tell bright from dark by one pixel."""

    name = "pixel"
    kinds: ClassVar[list[str]] = []
    rounded: ClassVar[list[dict]] = []
    dtypes: ClassVar[set] = set()

    def load(self, task):
        return Classifier(PixelNetwork(), classes=2)


class Walk(Attack):
    """Climb by equal steps until the model errs."""

    name = "walk"
    seen: ClassVar[set] = set()

    @property
    def iterative(self):
        return True

    def passes(self):
        return 5, 4

    def craft(self, model, images, labels, task):
        matrix = images.flatten(1)
        self.seen.add((images.dtype, (matrix @ matrix.T).dtype, torch.is_autocast_enabled("cpu")))
        moved = images
        for _ in range(4):
            with torch.no_grad():
                logits = model(moved)
            self.seen.add(logits.dtype)
            left = (logits.argmax(1) == labels) | (not task.stop_early)
            _, gradient = input_gradient(lambda x: model(x)[:, 0] - model(x)[:, 1], moved)
            step = task.threat.project(images, moved + STEP * gradient.sign())
            moved = torch.where(left.view(-1, 1, 1, 1), step, moved)
        return moved


@pytest.fixture
def known(grey):
    for kept in (Pixel.kinds, Pixel.rounded, Pixel.dtypes, Walk.seen):
        kept.clear()
    return offers(("dataset", Edges), ("victim", Pixel), ("attack", Walk), ("defense", grey.Undefended))


@pytest.fixture
def measured(known, tmp_path):
    """Return a function that gives the card of the cell at a precision."""

    def go(precision, **options):
        given = {"store": tmp_path / "store", "device": "cpu", "attack": "walk", "gate": "quick", "known": known}
        (card,) = robench.run(**{**given, **options}, precision=precision)
        return card

    return go


def test_what_only_bf16_believes_lost_counts_as_standing(measured):
    exact, rounded = measured("float32"), measured("bf16")
    n = FALSE + TRUE + FAR
    assert (exact.clean.correct, rounded.clean.correct) == (n, n)
    assert exact.robust.mask() == [False] * (FALSE + TRUE) + [True] * FAR
    assert rounded.robust.mask() == [True] * FALSE + [False] * TRUE + [True] * FAR
    assert rounded.robust.rate > exact.robust.rate
    assert (exact.cell.precision, rounded.cell.precision) == ("float32", "bf16")


def test_the_model_alone_and_the_search_alone_are_in_bf16(measured):
    card = measured("bf16", gate="standard", gate_cost=50)
    n = card.cell.n
    assert set(Pixel.kinds) == {"torch.bfloat16"}
    # What crafting counts, and the warm-up; scoring and the gate, which ask more, are not among them.
    assert len(Pixel.kinds) == card.cost.craft.forwards + min(n, 16)
    assert card.cost.gate.forwards + card.cost.gate.backwards > card.cost.craft.forwards
    assert Pixel.dtypes == {torch.bfloat16, torch.float32, torch.float64}  # the last: finite differences
    assert Walk.seen == {(torch.float32, torch.float32, False), torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_float32_has_the_id_that_it_always_had(known):
    asked = {"dataset": "edges", "victim": ("pixel",), "attack": ("walk",)}
    (plain,), (same,), (other,) = (
        plan(Spec(**asked, **given), "cpu", known) for given in ({}, {"precision": "float32"}, {"precision": "bf16"})
    )
    assert plain.score_id == same.score_id != other.score_id
    assert (plain.fit_id, plain.clean_id) == (other.fit_id, other.clean_id)
    assert "precision" not in Spec(**asked, precision="float32").request()
    assert plain.title == "pixel / none / walk at Linf 8/255, seed 0"
    assert other.title == "pixel / none / walk in bf16 at Linf 8/255, seed 0"


def test_tf32_is_set_for_the_search_and_no_longer(measured):
    with pretended_cuda():
        card = measured("tf32", device="cuda")
        assert rounded_products() == {}
        assert all(one == dict.fromkeys(("cuda.matmul", "cuda.conv", "cuda.rnn"), "tf32") for one in Pixel.rounded)
        assert len(Pixel.rounded) == card.cost.craft.forwards + card.cell.n  # and the warm-up
        Pixel.rounded.clear()
        measured("float32", device="cuda")
        assert Pixel.rounded == []
    assert card.cell.precision == "tf32"
    assert card.environment.tf32 is False


def test_bf16_on_a_gpu_is_the_gpus_autocast(measured):
    class Asked(PixelNetwork):
        def forward(self, images):
            kinds.append(torch.is_autocast_enabled("cuda"))
            return super().forward(images)

    kinds: list[bool] = []
    Pixel.load = lambda self, task: Classifier(Asked(), classes=2)
    try:
        with pretended_cuda():
            measured("bf16", device="cuda")
    finally:
        Pixel.load = lambda self, task: Classifier(PixelNetwork(), classes=2)
    assert {*kinds} == {True, False}


def test_tf32_on_a_cpu_is_float32_and_said(measured, tmp_path):
    class Notes(robench.contracts.task.Silent):
        said: ClassVar[list[str]] = []

        def note(self, text):
            self.said.append(text)

    exact, there = measured("float32"), measured("tf32", progress=Notes())
    assert there.id == exact.id
    assert there.cell.precision == "float32"
    assert Notes.said == [
        "TF32 is a number format of NVIDIA's GPUs: on cpu --precision tf32 searches in float32, as the cards say."
    ]


def test_an_older_gpu_has_no_tf32_and_that_is_said(measured, monkeypatch):
    class Notes(robench.contracts.task.Silent):
        said: ClassVar[list[str]] = []

        def note(self, text):
            self.said.append(text)

    with pretended_cuda():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device=None: (7, 5))
        measured("tf32", device="cuda", progress=Notes())
        monkeypatch.undo()
    assert Notes.said == [
        "pretended GPU 0 (compute capability 7.5) has no TF32, which takes 8.0: what --precision tf32 searches here is "
        "searched in float32."
    ]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_an_attack_may_still_not_round_by_itself(measured, known, precision):
    class Rounding(Walk):
        """Round."""

        name = "rounding"

        def craft(self, model, images, labels, task):
            torch.backends.cudnn.conv.fp32_precision = "tf32"
            return super().craft(model, images, labels, task)

    both = offers(*((role, offer.component) for (role, _), offer in known.offers.items()), ("attack", Rounding))
    with pytest.raises(ContractError, match=r"^rounding lets torch round products .* \(cuda.conv to tf32\)"):
        measured(precision, attack="rounding", known=both)
    assert rounded_products() == {}


def test_under_tf32_nothing_else_may_be_rounded_either(measured, known):
    class Wider(Walk):
        """Round on the CPU too."""

        name = "wider"

        def craft(self, model, images, labels, task):
            torch.backends.mkldnn.matmul.fp32_precision = "bf16"
            return super().craft(model, images, labels, task)

    both = offers(*((role, offer.component) for (role, _), offer in known.offers.items()), ("attack", Wider))
    with pretended_cuda(), pytest.raises(ContractError, match=r"\(mkldnn.matmul to bf16\)"):
        measured("tf32", attack="wider", device="cuda", known=both)
    assert rounded_products() == {}


def test_a_model_that_cannot_be_computed_so_is_told_apart(measured, monkeypatch):
    class Picky(PixelNetwork):
        def forward(self, images):
            answers = super().forward(images)
            if answers.dtype != torch.float32:
                raise TypeError("float32 alone is known here")
            return answers

    monkeypatch.setattr(Pixel, "load", lambda self, task: Classifier(Picky(), classes=2))
    with pytest.raises(ContractError) as caught:
        measured("bf16")
    assert str(caught.value) == (
        "The model under attack cannot be computed in bf16: TypeError: float32 alone is known here. Leave "
        'precision="bf16" out.'
    )
    assert not torch.is_autocast_enabled("cpu")


def test_the_card_cannot_be_rid_of_it(measured, tmp_path):
    card = measured("bf16")
    forged = replace(card, cell=replace(card.cell, precision="float32"))
    with pytest.raises(CardError, match="its id is"):
        card_file.decode(card_file.encode(forged).decode(), "forged.json")
    assert card_file.decode(card_file.encode(card).decode(), "card.json") == card


def test_it_is_said_wherever_the_attack_is_named(measured):
    exact, card = measured("float32"), measured("bf16")
    assert "--precision bf16" in repeat_command(card)
    assert "--precision" not in repeat_command(exact)
    assert ("searched in", "bf16") in dict(provenance(card))["Components"]
    assert card.cell.attack_label == "walk in bf16"
    (row,) = boards([exact, card])[0].rows
    assert [attack.description for attack in row.attacks] == ["walk", "walk in bf16"]
    assert row.headline.correct == exact.robust.correct
    assert boards([exact, card])[0].weak == []
    assert boards([card])[0].weak == [
        "none: every white-box attack ran in bf16, which can only weaken it; in float32 fewer images may stand."
    ]
    pages = render_markdown([card]), render_markdown([exact])
    assert ["| walk in bf16: no parameters |" in page for page in pages] == [True, False]
    assert ["| walk: no parameters |" in page for page in pages] == [False, True]
    attacks = robench.leaderboard([exact, card]).boards[0].rows[0].attacks
    assert [attack.label for attack in attacks] == ["walk", "walk in bf16"]
    assert publish([exact]).boards[0].rows[0].attacks[0].precision == "float32"
    assert request_of(card).precision == "bf16"


def test_a_stored_card_is_that_of_its_precision(measured, known, monkeypatch):
    monkeypatch.setattr("robench.verify.recompute.catalog", lambda: known)
    card = measured("bf16")
    cell = find_cell(card, "cpu")
    assert list(false_claims(card, cell)) == []
    stated = replace(card, cell=replace(card.cell, precision="tf32"))
    assert list(false_claims(stated, cell)) == ["precision is tf32, not bf16"]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("fp32", "did you mean 'float32'? "),
        ("bfloat16", "did you mean 'bf16'? "),
        (torch.bfloat16, "did you mean 'bf16'? "),
        ("half", ""),
        (16, ""),
        (None, ""),
    ],
)
def test_another_word_is_refused(value, hint):
    with pytest.raises(SpecError) as caught:
        robench.run(precision=value)
    shown = repr(value)
    assert str(caught.value).startswith("precision")
    assert shown.strip("'") in str(caught.value)
    assert str(caught.value).endswith(f" is unknown; {hint}choose float32, tf32 or bf16.")


def test_what_searches_nothing_is_refused(measured, known):
    class Given(Walk):
        """Come from a file."""

        name = "given"
        made_elsewhere = True

    both = offers(*((role, offer.component) for (role, _), offer in known.offers.items()), ("attack", Given))
    with pytest.raises(SpecError) as caught:
        measured("bf16", attack="given", known=both)
    assert str(caught.value) == (
        'precision="bf16" is for the search for adversarial images, and nothing of this run searches; name an attack '
        "that does, such as attack pgd, or leave it out."
    )


def test_a_suite_and_the_command_line_ask_for_it(tmp_path):
    (tmp_path / "one.toml").write_text('precision = "bf16"\n', encoding="utf-8")
    there = CliRunner().invoke(command, ["run", str(tmp_path / "one.toml"), "--dry-run", "--n", "5"])
    assert "tiny-clip / none / pgd in bf16 at Linf 8/255, seed 0: to do:" in there.output
    changed = CliRunner().invoke(
        command, ["run", str(tmp_path / "one.toml"), "--dry-run", "--n", "5", "--precision", "float32"]
    )
    assert "tiny-clip / none / pgd at Linf 8/255, seed 0: to do:" in changed.output
    said = CliRunner().invoke(command, ["run", "--precision", "tf32", "--dry-run", "--n", "5", "--device", "cpu"])
    assert "on cpu --precision tf32 searches in float32, as the cards say." in said.output


def test_evaluate_takes_it(tmp_path):
    images, labels = torch.rand(6, 1, 2, 2), torch.tensor([0, 1] * 3)
    card = robench.evaluate(
        PixelNetwork(),
        dataset=(images, labels),
        precision="bf16",
        gate="quick",
        device="cpu",
        parameters={"attack.steps": 2},
    )
    assert card.cell.precision == "bf16"
