"""Certificates in a run: the bracket of a linear map is known by hand, what lies is INVALID, what is stored is kept."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import robench
from robench import CardError, Certificate, ContractError, SpecError
from robench.api import CellsFailed
from robench.api.results import record
from robench.evidence import card_file
from robench.evidence.certified_images import STANDS
from robench.evidence.row_verdict import judge_together
from robench.evidence.statistics import pack_bits, proportion
from robench.evidence.store import Store
from robench.verify.certificates import against_certificates
from robench_builtins.certificates.crown import CROWN
from robench_builtins.certificates.interval import Interval
from robench_leaderboard import publish, render_markdown
from robench_leaderboard.report.provenance import repeat_command

from ..grey import OFFSETS, attack, checks, defense, only, victim

#: In L2 an attacker of radius eps moves the mean of 16 equal pixels by eps / 4.
L2_SURVIVORS = {eps: 2 * sum((0.5 + d) / 255 * 4 > eps for d in OFFSETS) for eps in (0.05, 0.15)}


def line():
    """Return the grey benchmark's classifier as a chain that bounds are known for."""
    layer = nn.Linear(16, 2)
    layer.weight.data = torch.tensor([[10.0], [-10.0]]).expand(2, 16) / 16
    layer.bias.data = torch.tensor([-5.0, 5.0])
    return nn.Sequential(nn.Flatten(), layer)


LINE = victim("line", line)


def made(name_, certify_, randomized_=False, error_=0.0):
    class Made(Certificate):
        """Certify as the test says."""

        name = name_
        randomized = randomized_

        @property
        def error(self):
            return error_

        def certify(self, model, images, labels, task):
            return certify_(model, images, labels, task)

    return "certificate", Made


def everything(model, images, labels, task):
    return torch.ones(len(images), dtype=torch.bool)


BOUNDS = (("certificate", CROWN), ("certificate", Interval), LINE)


@pytest.mark.parametrize(("norm", "eps", "wanted"), [
    ("Linf", 5 / 255, "linf"), ("L2", 0.05, "l2"), ("L2", 0.15, "l2"),
])  # fmt: skip
def test_the_bracket_of_a_linear_map_closes_at_the_number_known_by_hand(grey, norm, eps, wanted):
    known = grey.survivors[5] if wanted == "linf" else L2_SURVIVORS[eps]

    (card,) = grey.run(*BOUNDS, victim="line", certificate=["crown", "interval"], norm=norm, eps=eps)

    crown, interval = card.certificates
    assert (card.robust.correct, crown.certified) == (known, known)
    assert crown.mask() == card.robust.mask()
    assert interval.certified == known  # one affine map has no interval to lose by
    assert card.gate.verdict == "VALID"
    assert checks(card)[STANDS].figures == {"certified": known, "fallen": 0, "error": 0.0, "looks": 0}
    assert crown.cost.images == card.cell.n
    assert crown.cost.forwards == 0 < crown.cost.seconds


def test_what_is_asked_besides_changes_neither_ids_nor_results(grey):
    (alone,) = grey.run(*BOUNDS, victim="line", eps=5 / 255)
    (proved,) = grey.run(*BOUNDS, victim="line", eps=5 / 255, certificate="crown")
    (again,) = grey.run(*BOUNDS, victim="line", eps=5 / 255)

    assert alone.certificates == []
    assert "certify" not in alone.cell.stages
    assert proved.id == alone.id
    assert proved.robust == alone.robust
    assert proved.gate.checks[:-1] == alone.gate.checks
    assert again == alone


def test_a_certificate_that_lies_makes_the_row_invalid_and_says_which_images(grey):
    (card,) = grey.run(LINE, made("liar", everything), victim="line", certificate="liar", eps=18 / 255)

    found = only(card, STANDS)
    assert card.gate.verdict == "INVALID"
    assert found.value == grey.n - grey.survivors[18]
    assert found.meaning.startswith(
        "40 of the 44 images that liar certifies at Linf 18/255 fall to steps (images 0, 1, 2, 3, 4, 5, 6, 7 and 32 "
        "more): the certificate is wrong, or the model that it speaks of is not the one that was attacked."
    )


def test_an_image_that_is_wrong_as_it_is_may_not_be_certified(grey):
    def wrong(model, images, labels, task):
        return model(images).argmax(1) != labels

    (card,) = grey.run(LINE, made("contrary", wrong), victim="line", certificate="contrary", eps=1 / 255)

    assert "4 of the 4 images that contrary certifies" in only(card, STANDS).meaning


def test_each_certificate_goes_to_the_defenses_that_it_speaks_of(grey):
    noisy = defense("noisy", Noise, randomized_=True)
    drawn = made("drawn", lambda model, images, labels, task: torch.zeros(len(images), dtype=torch.bool), True, 0.001)
    cards = grey.run(
        *BOUNDS, noisy, drawn, victim="line", defense=["none", "noisy"], certificate=["crown", "drawn"], eps=5 / 255
    )

    by_defense = {card.cell.defense.name: [one.certificate.name for one in card.certificates] for card in cards}
    assert by_defense == {"none": ["crown"], "noisy": ["drawn"]}
    with pytest.raises(SpecError, match=r"drawn certifies what answers by chance, and none of the defenses of this run "
                                        r"does \(none\); name one that does with defense"):  # fmt: skip
        grey.run(*BOUNDS, drawn, victim="line", certificate="drawn")


@pytest.mark.parametrize(("certify", "sentence"), [
    (lambda *_: torch.ones(3), r"bad.certify must return a truth value for each image, a bool tensor of shape \(44,\)"),
    (lambda *_: None, "not a NoneType"),
    (lambda *_: 1 / 0, "bad failed on images 0 to 43: ZeroDivisionError: division by zero"),
])  # fmt: skip
def test_a_certificate_that_breaks_its_contract_is_said_before_anything_is_attacked(grey, certify, sentence):
    with pytest.raises(ContractError, match=sentence):
        grey.run(LINE, made("bad", certify), victim="line", certificate="bad")
    assert not list(grey.store.glob("adversarial/*/*"))


def test_what_no_bound_is_known_for_fails_and_the_other_victims_stand(grey):
    with pytest.raises(CellsFailed) as raised:
        grey.run(*BOUNDS, victim=["mean", "line"], certificate="crown", eps=1 / 255)

    assert "MeanNetwork has no bound here: certificates take chains of Linear, Conv2d, ReLU" in str(raised.value)
    assert [card.cell.victim.name for card in raised.value.cards] == ["line"]
    with pytest.raises(SpecError, match="crown certifies in Linf and L2, not in L1"):
        grey.run(*BOUNDS, victim="line", certificate="crown", norm="L1", eps=1.0)


def test_a_run_that_was_killed_asks_only_for_the_parts_that_are_missing(grey, monkeypatch):
    from robench.evidence import stage_ids
    from robench.pipeline.stages import certify

    for module in (stage_ids, certify):
        monkeypatch.setattr(module, "CERTIFIED_CHUNK", 16)
    asked = []

    def counting(model, images, labels, task):
        asked.extend(task.indices)
        if len(asked) == 32 and stop:
            raise KeyboardInterrupt
        return torch.zeros(len(images), dtype=torch.bool)

    stop = True
    with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever a kill becomes
        grey.run(LINE, made("slow", counting), victim="line", certificate="slow", eps=1 / 255)
    stop = False
    (card,) = grey.run(LINE, made("slow", counting), victim="line", certificate="slow", eps=1 / 255)

    assert sorted(asked) == sorted([*range(16), *range(16, 32), *range(16, 44)])
    assert card.certificates[0].cost.images == 44


def test_a_certificate_harms_no_model(grey):
    def vandal(model, images, labels, task):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return torch.zeros(len(images), dtype=torch.bool)

    (card,) = grey.run(LINE, made("vandal", vandal), victim="line", certificate="vandal", eps=5 / 255)

    assert card.robust.correct == grey.survivors[5]
    assert card.gate.verdict == "VALID"


def stored(card, store):
    """Return what the store says of the card's certificate."""
    (found,) = against_certificates(card, Store(store))
    return found


@pytest.fixture
def proved(grey):
    (card,) = grey.run(*BOUNDS, victim="line", certificate="crown", eps=5 / 255)
    return card


def test_a_certificate_is_held_to_the_store(proved, grey):
    found = stored(proved, grey.store)
    assert (found.what, found.good) == ("certificate crown", True)
    assert found.detail == "30 of 44 certified in the store, 30 in the card"

    raw = json.loads(card_file.encode(proved))
    # One more, that the attack turned.
    flags = [flag or place == 4 for place, flag in enumerate(proved.certificates[0].mask())]
    low, high = proportion(sum(flags), 44)
    raw["certificates"][0] |= {"certified": sum(flags), "bits": pack_bits(flags), "low": low, "high": high}
    raw["gate"]["checks"][-1]["figures"]["certified"] = sum(flags)
    raw["gate"]["checks"][-1]["n"] = sum(flags)
    with pytest.raises(CardError, match="'certified images stand' is pass, but 1 of the 31 images that crown"):
        card_file.decode(json.dumps(raw).encode(), "forged.json")

    flags = [flag and place != 8 for place, flag in enumerate(proved.certificates[0].mask())]
    low, high = proportion(sum(flags), 44)
    raw["certificates"][0] |= {"certified": sum(flags), "bits": pack_bits(flags), "low": low, "high": high}
    raw["gate"]["checks"][-1]["figures"]["certified"] = sum(flags)
    raw["gate"]["checks"][-1]["n"] = sum(flags)
    forged = card_file.decode(json.dumps(raw).encode(), "forged.json")
    assert stored(forged, grey.store).good is False


EDITS = [
    (lambda raw: raw["certificates"][0].update(certified=44), "the certificate crown counts 44 of 44, its bits do not"),
    (lambda raw: raw["certificates"][0].update(high=1.0), "the interval of the certificate crown does not follow"),
    (lambda raw: raw["certificates"][0].update(error=0.5), "the certificate crown is a proof, and states an error"),
    (lambda raw: raw["certificates"][0].update(randomized=True), "speaks of another kind of defense than the card's"),
    (lambda raw: raw["certificates"][0]["certificate"]["parameters"].update(intermediate="interval"),
     "the certificate crown has not the id that follows from what the card states of it"),
    (lambda raw: raw["certificates"][0]["cost"].update(images=3), "was asked about 3 images, not 44"),
    (lambda raw: raw["gate"]["checks"].pop(), "it states certificates, but its gate lacks the check 'certified images"),
    (lambda raw: raw["gate"]["checks"][-1]["figures"].update(fallen=3), "its figures come to invalid"),
]  # fmt: skip


def test_a_card_that_contradicts_itself_is_no_card(proved):
    for edit, sentence in EDITS:
        raw = json.loads(card_file.encode(proved))
        edit(raw)
        with pytest.raises(CardError, match=sentence):
            card_file.decode(json.dumps(raw).encode(), "forged.json")


def test_readers_judge_all_cards_of_the_weights_and_attacks_in_smaller_balls_count(grey):
    """Of a card at 5/255 that certifies all, one at 4/255 without certificates is evidence; and an L2 ball within."""

    def claims(model, images, labels, task):  # what truly stands at 5/255, and the image of d = 4 that falls at 4.5
        lead = (images.flatten(1).mean(1) - 0.5) * (1 - 2 * labels)
        return lead * 255 > 4.2

    request = {"victim": "line", "attack": "steps"}
    (lying,) = grey.run(LINE, made("bold", claims), **request, certificate="bold", eps=5 / 255)
    assert lying.gate.verdict == "INVALID"  # its own attack turns them already
    raw = json.loads(card_file.encode(lying))
    assert raw["gate"]["checks"][-1]["figures"]["fallen"] == 2

    # Beside certificates that its own weak attack does not contradict.
    weak = attack("weak", lambda model, images, labels, task: images.clone())
    (alone,) = grey.run(LINE, made("bold", claims), weak, victim="line", attack="weak", certificate="bold", eps=5 / 255)
    assert checks(alone)[STANDS].status == "pass"
    (smaller,) = grey.run(LINE, **request, eps=4.8 / 255)
    (larger,) = grey.run(LINE, **request, eps=6 / 255)
    (euclid,) = grey.run(LINE, **request, eps=4.8 / 255 * 4, norm="L2")

    def judged(*others):
        return judge_together([alone, *others])

    assert checks(judged()[0])[STANDS].status == "pass"
    assert checks(judged(larger)[0])[STANDS].status == "pass"  # a larger ball says nothing
    assert checks(judged(euclid)[0])[STANDS].status == "pass"  # nor does one that reaches out of it
    both = judged(smaller)
    assert checks(both[0])[STANDS].status == "invalid"
    assert both[0].gate.verdict == "INVALID"
    assert "fall to steps" in checks(both[0])[STANDS].meaning
    assert both[1].gate.verdict == smaller.gate.verdict  # the row that certifies nothing is not the one that erred


def test_a_card_beside_certificates_falls_with_them(grey):
    (lying,) = grey.run(LINE, made("liar", everything), victim="line", attack="steps", certificate="liar", eps=5 / 255)
    (plain,) = grey.run(LINE, victim="line", attack="step", eps=5 / 255)

    judged = judge_together([lying, plain])

    assert [card.gate.verdict for card in judged] == ["INVALID", "INVALID"]
    assert checks(judged[1])[STANDS].status == "invalid"


def test_pages_show_both_ends_and_rank_by_the_upper_one(grey):
    cards = grey.run(*BOUNDS, victim="line", certificate=["interval", "crown"], norm="L2", eps=0.05)
    (row,) = publish(cards).boards[0].rows

    assert row.robust.correct == row.certified.correct == L2_SURVIVORS[0.05]
    assert [one.certificate.name for one in row.certificates] == ["crown", "interval"]
    page = render_markdown(cards)
    assert "certified % [95 % CI]" in page
    assert "- Certified: crown, " in page
    assert "ertified" not in render_markdown(grey.run(*BOUNDS, victim="line", eps=5 / 255))


def test_the_store_keeps_what_cards_refer_to(proved, grey):
    from robench.evidence.stored_objects import References, stored_objects

    objects = stored_objects(grey.store)
    kept = References([proved]).among(objects)
    assert {one.path for one in objects if one.kind == "certificate"} <= kept
    assert Store(grey.store).get("certificate", next(one.key for one in objects if one.kind == "certificate"))


class Noise(nn.Module):
    """Answer under noise that changes no answer but those nearest to the middle."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images + 1e-3 * torch.randn_like(images))


def test_where_answers_are_drawn_only_more_falls_than_chance_explains_accuse(grey):
    noisy = defense("noisy", Noise, randomized_=True)
    bold = made("bold", everything, True, 0.001)
    request = {"victim": "line", "defense": "noisy", "certificate": "bold"}

    cards = grey.run(LINE, noisy, bold, **request, eps=5 / 255, attack="steps")
    defended = [card for card in cards if card.cell.defense.name == "noisy"]

    assert {card.gate.verdict for card in defended} == {"INVALID"}
    found = checks(defended[0])[STANDS]
    assert found.figures["error"] == 0.001
    assert found.figures["looks"] >= 2
    # Of those that fall at 5/255 and are wrong as they are, none is answered by its label in any of ten draws.
    assert found.value >= grey.n - grey.survivors[5] - 2
    assert "images that bold certifies at Linf 5/255 fall to steps" in found.meaning
    assert [card.certificates for card in cards if card.cell.undefended] == [[]]


def test_a_bare_module_is_certified_and_the_report_says_how_to_repeat_it(tmp_path):
    images = torch.cat([torch.full((1, 1, 4, 4), 0.5 + distance) for distance in (0.2, 0.001, -0.2)])
    card = robench.evaluate(
        line(), dataset=(images, torch.tensor([0, 0, 1])), certificate="crown[intermediate=interval]", eps=0.01,
        device="cpu", store=tmp_path,
    )  # fmt: skip

    assert card.certificates[0].mask() == [True, False, True]
    assert record(card)["certified"] == pytest.approx(2 / 3)
    assert "--certificate 'crown[intermediate=interval]'" in repeat_command(card)
