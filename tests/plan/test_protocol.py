"""Protocols fix what makes numbers comparable, lose their name where that is changed, and are compared in a table."""

from __future__ import annotations

import pytest

from robench.contracts.threat_model import ThreatModel
from robench.errors import SpecError
from robench.plan.protocol_facts import differences, facts
from robench.plan.suite import protocols, read_suite, suite_file
from robench.plan.suite_changes import suite_request
from robench_builtins.attacks.pgd import PGD

NAMES = sorted(protocols())


def suite(name):
    return read_suite(suite_file(f"protocol:{name}"))


@pytest.mark.parametrize("name", NAMES)
def test_every_one_cites_where_it_was_read_and_is_complete(name):
    text = protocols()[name].read_text()
    assert text.startswith("# Read in github.com/")
    assert " at " in text.partition("\ntitle")[0]
    for dataset, said in facts(suite(name)).items():
        assert all(said.values()), dataset
        assert said["attack"]


def test_the_issue_s_protocols_are_there():
    assert {"tecoa-16", "ttc", "robustvlm-13", "coop", "cifar10-linf", "imagenet-linf"} <= set(NAMES)
    assert len(facts(suite("tecoa-16"))) == 16
    assert len(facts(suite("robustvlm-13"))) == 13
    assert len(facts(suite("coop"))) == 11


def test_the_difference_of_tecoa_and_ttc_is_what_their_code_says():
    found = {(what, here, there): on for what, on, here, there in differences(suite("tecoa-16"), suite("ttc"))}
    crop = "Resize(256, bilinear), CenterCrop(224)"
    assert found["attack space", "as stored", crop] == "cifar10, cifar100, stl10"
    assert any(what == "prompts" and (here, there) == ("This is a photo of a {}", "This is a photo of a {}.")
               for what, here, there in found)  # fmt: skip
    assert any(what == "class names" and "small letters" in here for what, here, _ in found)
    assert not differences(suite("ttc"), suite("ttc"))


def test_the_sets_of_coop_are_compared_with_those_of_the_same_images():
    found = {(what, here, there): on for what, on, here, there in differences(suite("coop"), suite("tecoa-16"))}
    assert found["images", "the test part, through coop", "all there are"] == "caltech101, sun397, eurosat"
    crops = "Resize(224, bicubic), CenterCrop(224)", "Resize(256, bilinear), CenterCrop(224)"
    assert found["attack space", *crops] == "all they share"
    (run,) = suite_request("protocol:coop", {"dataset": ("dtd",)}, {"coop.path": "/data", "coop.shots": 16}).runs
    assert run.dataset == ("coop[set=dtd,size=224,resize=224]",)
    assert run.suite["protocol"] == "coop"
    assert followed("coop", {}, {"coop.shots": 4}) == "coop, changed: coop.shots"


def followed(name, changes=None, parameters=None):
    runs = suite_request(f"protocol:{name}", changes, parameters).runs
    (protocol,) = {run.suite.get("protocol") for run in runs}
    return protocol


@pytest.mark.parametrize(
    ("changes", "parameters", "says"),
    [
        ({}, {}, "tecoa-16"),
        ({"victim": ("tiny-clip",), "defense": ("tecoa",), "seed": (3,), "train_dataset": "dtd"}, {}, "tecoa-16"),
        ({}, {"stl10.path": "/data", "victim.checkpoint": "x", "tecoa.epochs": 3}, "tecoa-16"),
        ({"dataset": ("dtd", "cifar10")}, {}, "tecoa-16"),
        ({"eps": ("1/255",)}, {}, "tecoa-16, changed: eps"),
        ({"n": 100}, {}, "tecoa-16, changed: n"),
        ({"eps": ("4/255",), "attack": ("fgsm",)}, {}, "tecoa-16, changed: attack, eps"),
        ({"dataset": ("dtd", "digits")}, {}, "tecoa-16, changed: dataset"),
        ({}, {"victim.template": "a {}"}, "tecoa-16, changed: victim.template"),
        ({}, {"dtd.size": 32}, "tecoa-16, changed: dtd.size"),
        ({}, {"attack.steps": 5}, "tecoa-16, changed: attack.steps"),
        ({"surrogate": ("self",)}, {}, "tecoa-16, changed: surrogate"),
    ],
)
def test_what_is_changed_is_said_behind_the_name(changes, parameters, says):
    if changes == {"eps": ("1/255",)}:
        says = "tecoa-16"  # as it was
    assert followed("tecoa-16", changes, parameters) == says


def test_data_sets_are_chosen_with_what_the_protocol_says_of_them():
    runs = suite_request("protocol:tecoa-16", {"dataset": ("stl10", "dtd")}).runs
    assert [run.dataset for run in runs] == [
        ("stl10[spelling=refined]",),
        ("dtd[spelling=refined,size=224,resize=256,resample=bilinear]",),
    ]
    (run,) = suite_request("protocol:robustvlm-13", {"dataset": ("stanford-cars",)}).runs
    assert run.dataset == ("wds[path=clip-benchmark/wds_cars,origin_name=stanford-cars]",)


def test_an_unknown_one_is_told():
    with pytest.raises(SpecError, match="There is no protocol 'tecoa-17'; did you mean 'tecoa-16'"):
        suite_request("protocol:tecoa-17")


def test_a_suite_follows_no_protocol():
    (run,) = suite_request("suite:digits").runs[:1]
    assert "protocol" not in run.suite


def test_a_step_as_large_as_the_ball_is_refused_unless_it_is_repeated_as_published():
    threat = ThreatModel("Linf", 1 / 255)
    with pytest.raises(SpecError, match="to repeat a paper that did so, add as_published=true"):
        PGD(step_size=1 / 255).check(threat)
    published = PGD(step_size=1 / 255, as_published=True)
    published.check(threat)
    assert "a step as large as the ball" in published.weakness(threat)
    assert PGD(step_size=1 / 510, as_published=True).weakness(threat) == ""
    assert PGD().weakness(threat) == ""
    with pytest.raises(SpecError, match="does not move an image"):
        PGD(step_size=0.0, as_published=True).check(threat)
