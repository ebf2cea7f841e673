"""AutoAttack: which attacks it runs on how many classes, what it costs, and that it goes on where it was."""

from __future__ import annotations

import pytest
import torch

from robench import apgd, autoattack
from robench.attacks.autoattack import plan
from robench.contracts.task import Checkpoint

QUICK = {"steps": 4, "queries": 12}


def names(classes, variant="standard"):
    return [stage.name for stage in plan(classes, variant, 100, 5000, 20)]


def test_the_official_attacks_with_the_official_constants():
    stages = {stage.name: stage.attack for stage in plan(10, "standard", 100, 5000, 20)}
    assert list(stages) == [
        "apgd-ce", *[f"apgd-t {rank}" for rank in range(1, 10)], *[f"fab-t {rank}" for rank in range(1, 10)], "square"
    ]  # fmt: skip
    assert stages["apgd-ce"].keywords == {"loss": "ce", "steps": 100, "restarts": 1}
    assert stages["apgd-t 4"].keywords == {"loss": "dlr-targeted", "steps": 100, "targets": (4,)}
    assert stages["fab-t 4"].keywords == {"steps": 100, "targets": (4,)}
    assert stages["square"].keywords == {"queries": 5000}
    for name, expected in (("apgd-ce", {"restarts": 1, "rho": 0.75, "draws": 1}),
                           ("fab-t 1", {"restarts": 1, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}),
                           ("square", {"restarts": 1, "share": 0.8, "rescale": False})):  # fmt: skip
        defaults = stages[name].func.__kwdefaults__
        assert {key: defaults[key] for key in expected} == expected


def test_in_l1_the_official_attacks_with_the_official_constants_of_l1():
    stages = {stage.name: stage.attack for stage in plan(10, "standard", 100, 5000, 20, "L1")}
    assert list(stages) == [
        "apgd-ce", *[f"apgd-t {rank}" for rank in range(1, 6)], *[f"fab-t {rank}" for rank in range(1, 10)], "square"
    ]  # fmt: skip
    assert stages["apgd-ce"].keywords == {"loss": "ce", "steps": 100, "restarts": 5}
    assert apgd.__kwdefaults__["larger_radii"] is True
    assert not any(stage.attack.keywords["larger_radii"] for stage in plan(10, "rand", 100, 5000, 20, "L1"))


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (2, ["apgd-ce", "apgd-margin", "fab-t 1", "square"]),
        (3, ["apgd-ce", "apgd-dlr", "fab-t 1", "fab-t 2", "square"]),
        (4, ["apgd-ce", "apgd-t 1", "apgd-t 2", "apgd-t 3", "fab-t 1", "fab-t 2", "fab-t 3", "square"]),
    ],
)
def test_few_classes(classes, expected):
    assert names(classes) == expected


def test_many_classes_have_nine_targets():
    assert names(1000) == names(10)


@pytest.mark.parametrize(("classes", "second"), [(2, "apgd-margin"), (3, "apgd-dlr"), (10, "apgd-dlr")])
def test_the_variant_for_random_models(classes, second):
    assert names(classes, "rand") == ["apgd-ce", second]


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.015), ("L2", 0.12)])
@pytest.mark.parametrize("variant", ["standard", "rand"])
def test_it_is_at_least_as_strong_as_its_first_attack(lab, classes, norm, eps, variant):
    model, images, labels = lab.small_net(classes=classes)
    task = lab.task(norm, eps, classes, stop_early=True)
    adversarial = autoattack(model, images, labels, task, variant=variant, draws=2, **QUICK)
    left = lab.right(model, adversarial, labels)
    first = plan(classes, variant, 4, 12, 2)[0]
    alone = first.attack(model, images, labels, task.fork("autoattack", first.name))
    assert (left <= lab.right(model, alone, labels)).all()
    assert 0 < left.sum() < len(images)


@pytest.mark.parametrize("stop_early", [True, False])
@pytest.mark.parametrize(
    ("classes", "variant", "forwards", "backwards"),
    [
        # (s + 1) + T (s + 2) + T (2 s + 1) + q + (2 + 2 T) with s = 4, q = 12, T = 9
        (10, "standard", 5 + 54 + 81 + 12 + 20, 19 * 4),
        # APGD-CE, APGD-DLR, two FABs, Square, five verdicts
        (3, "standard", 5 + 5 + 18 + 12 + 5, 4 * 4),
        (2, "standard", 5 + 5 + 9 + 12 + 4, 3 * 4),
        # two APGDs of 3 draws, two verdicts of 3 draws
        (10, "rand", 2 * 3 * 5 + 2 * 3, 2 * 3 * 4),
    ],
)
def test_an_image_that_is_never_lost_costs_exactly_this(lab, classes, variant, forwards, backwards, stop_early):
    model, images, labels = lab.small_net(classes=classes)
    task = lab.task("Linf", 1e-7, classes, stop_early=stop_early)
    _, counts = lab.counted(
        model, lambda: autoattack(model, images[:5], labels[:5], task, variant=variant, draws=3, **QUICK)
    )
    assert counts == (5 * forwards, 5 * backwards)


def test_later_attacks_see_only_the_survivors(lab):
    model, images, labels = lab.small_net()
    task = lab.task("Linf", 0.5)
    _, counts = lab.counted(model, lambda: autoattack(model, images, labels, task, **QUICK))
    assert counts == (48 * (5 + 1), 48 * 4)  # all fall to APGD-CE, whose steps are all taken, and one verdict


class Killed(Exception):
    pass


@pytest.mark.parametrize("stages", [1, 5, 12, 19])
@pytest.mark.parametrize("stop_early", [True, False])
def test_it_goes_on_after_the_last_attack_that_was_finished(lab, tmp_path, stages, stop_early):
    model, images, labels = lab.small_net()
    task = lab.task("Linf", 0.008, stop_early=stop_early, seed=3)
    straight, whole = lab.counted(model, lambda: autoattack(model, images, labels, task, **QUICK))

    class Deadly(Checkpoint):
        saved = 0

        def save(self, state):
            super().save(state)
            self.saved += 1
            if self.saved == stages:
                raise Killed

    def killed():
        with pytest.raises(Killed):
            autoattack(model, images, labels, task.replace(checkpoint=Deadly(tmp_path / "state")), **QUICK)

    _, before = lab.counted(model, killed)
    resumed = task.replace(checkpoint=Checkpoint(tmp_path / "state"))
    adversarial, after = lab.counted(model, lambda: autoattack(model, images, labels, resumed, **QUICK))

    assert torch.equal(adversarial, straight)
    assert (before[0] + after[0], before[1] + after[1]) == whole
    assert after[0] > 0


def test_the_state_is_given_up_with_the_work(lab, tmp_path):
    model, images, labels = lab.small_net()
    path = tmp_path / "state"
    path.write_bytes(b"cut off")
    task = lab.task("Linf", 0.01, seed=3)
    found = autoattack(model, images, labels, task.replace(checkpoint=Checkpoint(path)), **QUICK)
    assert torch.equal(found, autoattack(model, images, labels, task, **QUICK))
