"""What a request stands for: cells, parameter routing, fingerprints; nothing is loaded here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from robench.contracts.components import Attack, Dataset, Defense, Model
from robench.contracts.parameters import parameter
from robench.errors import SpecError
from robench.evidence import fingerprint as fingerprints
from robench.plan.references import split_reference
from robench.plan.spec import SelectedComponent, Spec, plan, type_of
from robench.plugin.catalog import Catalog, Offer
from robench.plugin.discovery import Plugin


class Shapes(Dataset):
    """Be the default data set."""

    name = "shapes"
    victim = "net"
    default = True
    size: int = parameter(8, "side in pixels")


class Loose(Dataset):
    """Have no usual victim."""

    name = "loose"


class Net(Model):
    """Come with tuned parameters for a defense."""

    name = "net"
    tuning = {"hard": {"epochs": 7, "rate": 0.7}}
    depth: int = parameter(2, "how deep")


class Other(Model):
    """Come without tuning."""

    name = "other"
    depth: int = parameter(2, "how deep")


class Climb(Attack):
    """Take steps, in Linf alone."""

    name = "climb"
    norms = ("Linf",)
    steps: int = parameter(10, "how many steps", minimum=1)


class Jump(Attack):
    """Take one step in any norm."""

    name = "jump"
    scale: float = parameter(1.0, "how far")


class Plain(Defense):
    """Leave the victim alone."""

    name = "plain"
    undefended = True


class Hard(Defense):
    """Train."""

    name = "hard"
    epochs: int = parameter(1, "passes over the data")
    rate: float = parameter(0.1, "step size")
    eps: float = parameter(4 / 255, "radius")


class Soft(Defense):
    """Train otherwise."""

    name = "soft"
    epochs: int = parameter(1, "passes over the data")


COMPONENTS = {
    "dataset": (Shapes, Loose),
    "victim": (Net, Other),
    "surrogate": (Net, Other),
    "attack": (Climb, Jump),
    "defense": (Plain, Hard, Soft),
}
PLUGIN = Plugin("toy", "toy-dist", "1.0", ModuleType("toy"), "")


@pytest.fixture
def known():
    offers = {(role, c.name): Offer(role, c.name, c, PLUGIN) for role, classes in COMPONENTS.items() for c in classes}
    return Catalog([PLUGIN], offers)


@pytest.fixture
def one(known):
    """Return a function that plans a request of one cell."""

    def only(device="cpu", **request):
        (cell,) = plan(
            Spec(**{"attack": ("climb",), "defense": ("hard",), "baseline": False, **request}), device, known
        )
        return cell

    return only


def names(cells):
    return [(c.victim.component.name, c.defense.component.name, c.attack.component.name) for c in cells]


def refusal(known, **request):
    with pytest.raises(SpecError) as raised:
        plan(Spec(**{"attack": ("climb",), "defense": ("plain",), **request}), known=known)
    return str(raised.value)


# The grid


def test_the_defaults_are_the_default_dataset_and_its_usual_victim(known):
    (cell,) = plan(Spec(attack=("climb",), defense=("plain",)), known=known)
    assert (cell.dataset.component, cell.victim.component) == (Shapes(), Net())
    assert (cell.threat.norm, cell.threat.eps, cell.threat.access) == ("Linf", 8 / 255, "white-box")
    assert (cell.seed, cell.n, cell.device, cell.surrogate) == (0, None, "cpu", None)
    assert cell.undefended


def test_the_undefended_row_is_added_first(known):
    cells = plan(Spec(attack=("climb",), defense=("hard", "soft")), known=known)
    assert names(cells) == [("net", "plain", "climb"), ("net", "hard", "climb"), ("net", "soft", "climb")]
    assert [cell.undefended for cell in cells] == [True, False, False]


class Asking(Attack):
    """Ask for answers alone."""

    name = "asking"
    queries_only = True
    norms = ("Linf",)

    def passes(self):
        return 100, 0


class Counting(Asking):
    """Ask more often, in another norm."""

    name = "counting"
    norms = ("L0",)

    def passes(self):
        return 1000, 0


class Without(Plain):
    """Claim that there are no gradients."""

    name = "without"
    gradient = "none"
    undefended = False


@pytest.mark.parametrize(("norm", "eps", "expected"), [("Linf", "8/255", "asking"), ("L0", "4", "counting")])
def test_queries_beside_a_defense_without_gradients_are_those_of_the_runs_norm(known, norm, eps, expected):
    class Step(Jump):
        name = "step"
        norms = ("Linf", "L0")

    for role, component in (("attack", Asking), ("attack", Counting), ("attack", Step), ("defense", Without)):
        known.offers[role, component.name] = Offer(role, component.name, component, PLUGIN)
    cells = plan(Spec(attack=("step",), defense=("without",), norm=norm, eps=(eps,)), known=known)
    found = {(cell.defense.component.name, cell.attack.component.name, cell.threat.access) for cell in cells}
    assert found == {
        ("plain", "step", "white-box"),
        ("plain", expected, "black-box"),
        ("without", expected, "black-box"),
        ("without", "step", "transfer"),
    }


def test_a_named_undefended_row_comes_first_and_only_once(known):
    cells = plan(Spec(attack=("climb",), defense=("hard", "plain")), known=known)
    assert names(cells) == [("net", "plain", "climb"), ("net", "hard", "climb")]


def test_the_undefended_row_can_be_left_out(known):
    assert names(plan(Spec(attack=("climb",), defense=("hard",), baseline=False), known=known)) == [
        ("net", "hard", "climb")
    ]


def test_the_grid_is_the_product_of_all_lists(known):
    request = Spec(
        victim=("net", "other"),
        defense=("plain", "hard"),
        attack=("climb", "jump"),
        eps=("4/255", 0.03),
        seed=(0, 1, 2),
        surrogate=("self", "other"),
    )
    cells = plan(request, known=known)
    # The victim 'other' and the surrogate 'other' are one model, so its cells via self and via other are the same.
    assert len(cells) == 2 * 2 * 2 * 3 * (2 * 3 + 2 * 2) / 2
    assert len({cell.score_id for cell in cells}) == len(cells)
    assert {cell.threat.eps for cell in cells} == {4 / 255, 0.03}
    assert sum(cell.threat.access == "transfer" for cell in cells) == 2 * 2 * 2 * 3 * (2 + 1)


def test_each_cell_is_planned_once(known):
    cells = plan(Spec(attack=("climb", "climb[steps=10]"), defense=("plain",), seed=(0, 0)), known=known)
    assert len(cells) == 1


def test_self_is_the_undefended_victim(one, known):
    cells = plan(Spec(attack=("climb",), defense=("hard",), surrogate=("self", "other")), known=known)
    by = {(c.defense.component.name, c.by_self, c.threat.access) for c in cells}
    assert by == {(name, *rest) for name in ("plain", "hard") for rest in _ACCESS}
    assert not one().by_self


_ACCESS = ((False, "white-box"), (True, "transfer"), (False, "transfer"))


def test_titles_name_what_is_special(known):
    request = Spec(attack=("climb[steps=3]",), defense=("hard",), surrogate=("self", "other"), seed=(4,))
    titles = [cell.title for cell in plan(request, known=known) if not cell.undefended]
    row = "net / hard / climb[steps=3]"
    assert titles == [
        f"{row} at Linf 8/255, seed 4",
        f"{row} via self at Linf 8/255, seed 4",
        f"{row} via other at Linf 8/255, seed 4",
    ]


def test_the_request_is_kept_as_json(known):
    request = Spec(attack=("climb",), parameters={"attack.steps": "3"}, n=5)
    assert request.request() == {
        "dataset": "",
        "victim": [],
        "defense": ["none"],
        "attack": ["climb"],
        "surrogate": [],
        "eps": ["8/255"],
        "norm": "Linf",
        "seed": [0],
        "n": 5,
        "parameters": {"attack.steps": "3"},
        "baseline": True,
    }


def test_a_chosen_component_is_recorded_with_what_was_changed(one):
    record = one(attack=("climb[steps=3]",)).attack.record()
    assert (record.name, record.version, record.plugin) == ("climb", 1, "toy-dist 1.0")
    assert (record.parameters, record.changed, record.files) == ({"steps": 3}, {"steps": 3}, "")
    assert record.label == "climb[steps=3]"
    assert len(record.code) == 64


def test_tuning_is_a_default_and_no_change(one):
    assert one().defense.record().changed == {}
    assert one().defense.record().parameters == {"epochs": 7, "rate": 0.7, "eps": 4 / 255}
    assert one(defense=("hard[epochs=1]",)).defense.record().changed == {"epochs": 1}


# Parameter routing


@pytest.mark.parametrize("key", ["attack.steps", "climb.steps"])
def test_parameters_go_by_role_or_by_name(one, key):
    assert one(parameters={key: "33"}).attack.component == Climb(steps=33)


def test_a_role_parameter_goes_to_whom_it_concerns(known):
    request = Spec(attack=("climb", "jump"), defense=("plain",), parameters={"attack.steps": "3"})
    assert {c.attack.component for c in plan(request, known=known)} == {Climb(steps=3), Jump()}


def test_every_role_takes_parameters(known):
    given = {"dataset.size": 4, "victim.depth": 3, "surrogate.depth": 5, "defense.epochs": 6, "attack.steps": 7}
    request = Spec(attack=("climb",), defense=("hard",), surrogate=("other",), parameters=given, baseline=False)
    cell = plan(request, known=known)[1]
    assert cell.dataset.component == Shapes(size=4)
    assert cell.victim.component == Net(depth=3)
    assert cell.surrogate.component == Other(depth=5)
    assert cell.defense.component == Hard(epochs=6, rate=0.7)
    assert cell.attack.component == Climb(steps=7)


def test_defaults_are_below_tuning_below_parameters_below_brackets(one):
    assert one(victim=("other",)).defense.component == Hard()
    assert one().defense.component == Hard(epochs=7, rate=0.7)
    given = {"defense.epochs": "8"}
    assert one(parameters=given).defense.component == Hard(epochs=8, rate=0.7)
    assert one(parameters=given, defense=("hard[epochs=9]",)).defense.component == Hard(epochs=9, rate=0.7)


def test_the_added_baseline_takes_no_parameters(known):
    request = Spec(attack=("climb",), defense=("hard",), parameters={"defense.epochs": 2})
    assert [cell.defense.component for cell in plan(request, known=known)] == [Plain(), Hard(epochs=2, rate=0.7)]


def test_radii_in_brackets_are_read_as_fractions(one):
    assert one(defense=("hard[eps=2/255]",)).defense.component == Hard(epochs=7, rate=0.7, eps=2 / 255)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pgd", ("pgd", {})),
        (" pgd ", ("pgd", {})),
        ('pgd[path=""]', ("pgd", {"path": ""})),
        ("pgd[steps=5, eps = 8/255]", ("pgd", {"steps": "5", "eps": "8/255"})),
        ("pgd[path=a=b]", ("pgd", {"path": "a=b"})),
    ],
)
def test_references_are_split(text, parts):
    assert split_reference(text) == parts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is no component; write its name, or name[parameter=value,...]."),
        ("[steps=5]", "'[steps=5]' is no component; write its name, or name[parameter=value,...]."),
        ("pgd[steps=5", "'pgd[steps=5' is no component; write its name, or name[parameter=value,...]."),
        ("pgd[steps]", "'steps' in 'pgd[steps]' is no parameter; write parameter=value."),
        (
            "pgd[]",
            "'pgd[]' has an empty place in its brackets (an unset shell variable?); write name[parameter=value,...].",
        ),
        (
            "pgd[steps=5,]",
            "'pgd[steps=5,]' has an empty place in its brackets (an unset shell variable?); write "
            "name[parameter=value,...].",
        ),
        (
            "pgd[label=]",
            "'label=' in 'pgd[label=]' has no value (an unset shell variable?); give one, or leave the parameter out.",
        ),
        ("pgd[steps=5,steps=6]", "'pgd[steps=5,steps=6]' gives 'steps' twice, 5 and 6; give it once."),
    ],
)
def test_broken_references_are_refused(text, sentence):
    with pytest.raises(SpecError) as raised:
        split_reference(text)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"attack": ()}, "No attack is named; give at least one with --attack."),
        ({"defense": ()}, "No defense is named; give at least one with --defense."),
        ({"eps": ()}, "No eps is named; give at least one with --eps."),
        ({"seed": ()}, "No seed is named; give at least one with --seed."),
        ({"norm": "L3"}, "norm 'L3' is unknown; choose Linf, L2, L1, L0, patch or corruption."),
        (
            {"n": 0},
            "--n 0 leaves no image to test on; give at least 1, or leave --n out for the whole split.",
        ),
        ({"dataset": "loose"}, "The dataset 'loose' has no usual victim; name one with --victim."),
        ({"dataset": "shape"}, "There is no dataset 'shape'; did you mean 'shapes'? Known: loose, shapes."),
        ({"attack": ("clim",)}, "There is no attack 'clim'; did you mean 'climb'? Known: climb, jump."),
        ({"victim": ("x",)}, "There is no victim 'x'; Known: net, other."),
        ({"defense": ("x",)}, "There is no defense 'x'; Known: hard, plain, soft."),
        ({"surrogate": ("x",)}, "There is no surrogate 'x'; Known: net, other."),
        ({"norm": "L2"}, "climb works in Linf, not in L2; choose another --norm or attack. In L2: jump."),
        (
            {"eps": ("8",)},
            "eps 8 is larger than the whole pixel range: images are in [0, 1], so eps is too. "
            "For 8 grey levels of 255 write --eps 8/255.",
        ),
        ({"attack": ("climb[step=3]",)}, "climb has no parameter 'step'; did you mean 'steps'? Known: steps."),
        ({"attack": ("climb[steps=x]",)}, "climb.steps takes int, not 'x' (how many steps)."),
        ({"attack": ("climb[steps=0]",)}, "climb.steps must be at least 1, not 0 (how many steps)."),
        ({"parameters": {"attack.steps": "x"}}, "climb.steps takes int, not 'x' (how many steps)."),
        (
            {"parameters": {"steps": "3"}},
            "-p steps names no component; write role.parameter=value, such as -p attack.steps=20.",
        ),
        ({"parameters": {"attack.step": 3}}, "climb has no parameter 'step'; did you mean 'steps'? Known: steps."),
        (
            {"parameters": {"attack.x": 3}, "attack": ("climb", "jump")},
            "climb or jump has no parameter 'x'; Known: scale, steps.",
        ),
        (
            {"parameters": {"jump.scale": 3}},
            "-p jump.scale: this run has no jump; Known: attack, certificate, dataset, defense, surrogate, "
            "train-dataset, victim.",
        ),
        (
            {"parameters": {"atack.steps": 3}},
            "-p atack.steps: this run has no atack; did you mean 'attack'? "
            "Known: attack, certificate, dataset, defense, surrogate, train-dataset, victim.",
        ),
    ],
)
def test_what_cannot_be_run_as_written_is_refused(known, request_, sentence):
    assert refusal(known, **request_) == sentence


def test_a_broken_plugin_is_blamed_for_a_missing_name(known):
    known.plugins.append(Plugin("lost", "lost-dist", "0.1", None, "ImportError: no"))
    assert refusal(known, attack=("magic",)) == (
        "There is no attack 'magic'; Known: climb, jump. The plugin lost-dist 0.1 is broken (ImportError: no)."
    )


def test_two_default_datasets_are_refused(known):
    class Rival(Shapes):
        """Claim to be the default too."""

        name = "rival"

    known.offers["dataset", "rival"] = Offer("dataset", "rival", Rival, PLUGIN)
    assert refusal(known) == (
        "No single default dataset is installed (marked default: rival (toy-dist 1.0), shapes (toy-dist 1.0)); "
        "name one with --dataset."
    )


def test_a_component_of_the_wrong_kind_is_a_programming_error(one):
    with pytest.raises(TypeError, match=r"Climb\(steps=10\) is no Defense"):
        type_of(one().attack, Defense)


# Fingerprints


def ids(cell):
    return {name: getattr(cell, f"{name}_id") for name in ("data", "fit", "craft", "clean", "score")}


def changed(first, second):
    first, second = ids(first), ids(second)
    return {name for name, value in first.items() if value != second[name]}


def test_equal_requests_have_equal_fingerprints(one):
    assert ids(one()) == ids(one())
    assert all(len(value) == 64 for value in ids(one()).values())


@pytest.mark.parametrize(
    ("request_", "names_"),
    [
        ({"parameters": {"dataset.size": 9}}, {"data", "fit", "craft", "clean", "score"}),
        ({"parameters": {"victim.depth": 9}}, {"fit", "craft", "clean", "score"}),
        ({"parameters": {"defense.epochs": 9}}, {"fit", "craft", "clean", "score"}),
        ({"parameters": {"attack.steps": 9}}, {"craft", "score"}),
        ({"attack": ("jump",)}, {"craft", "score"}),
        ({"eps": ("4/255",)}, {"craft", "score"}),
        ({"seed": (1,)}, {"fit", "craft", "clean", "score"}),
        ({"n": 5}, {"data", "craft", "clean", "score"}),
        ({"device": "cuda"}, {"fit", "craft", "clean", "score"}),
        ({"surrogate": ()}, set()),
        ({"defense": ("hard[epochs=7]",)}, set()),
        ({"parameters": {"attack.steps": 10}}, set()),
    ],
)
def test_a_fingerprint_changes_with_what_its_stage_depends_on(one, request_, names_):
    assert changed(one(), one(**request_)) == names_


def test_the_norm_is_part_of_the_adversarial_set(one):
    assert changed(one(attack=("jump",)), one(attack=("jump",), norm="L2")) == {"craft", "score"}


def test_two_gpus_of_one_machine_share_artifacts(one):
    assert changed(one(device="cuda:0"), one(device="cuda:1")) == set()


def test_a_component_version_changes_its_stages(one, monkeypatch):
    before = one()
    ids(before)
    monkeypatch.setattr(Hard, "version", 2)
    assert changed(before, one()) == {"fit", "craft", "clean", "score"}


def test_edited_code_changes_every_stage(one, monkeypatch):
    before = one()
    ids(before)
    monkeypatch.setattr(fingerprints, "of_class", lambda kind: "edited")
    assert changed(before, one()) == {"data", "fit", "craft", "clean", "score"}


@pytest.mark.parametrize(
    ("stage", "names_"),
    [
        ("load", {"data", "fit", "craft", "clean", "score"}),
        ("fit", {"fit", "craft", "clean", "score"}),
        ("craft", {"craft"}),
    ],
)
def test_a_stage_version_changes_the_stages_after_it(one, monkeypatch, stage, names_):
    before = one()
    ids(before)
    monkeypatch.setitem(fingerprints.STAGES, stage, 99)
    assert changed(before, one()) == names_ | {"score"}


def test_nothing_in_a_cell_depends_on_the_batch_size(one):
    assert not any("batch" in name for name in vars(one()))


def test_an_undefended_fit_does_not_depend_on_the_seed(one):
    first, second = one(defense=("plain",)), one(defense=("plain",), seed=(1,))
    assert changed(first, second) == {"craft", "score"}


def test_one_transfer_set_serves_all_defenses(known):
    request = Spec(attack=("climb",), defense=("hard", "soft"), surrogate=("other",))
    cells = plan(request, known=known)
    transfer = [cell for cell in cells if cell.surrogate is not None]
    direct = [cell for cell in cells if cell.surrogate is None]
    assert (len(transfer), len({cell.craft_id for cell in transfer})) == (3, 1)
    assert (len(direct), len({cell.craft_id for cell in direct})) == (3, 3)
    assert len({cell.score_id for cell in cells}) == 6


def test_a_transfer_set_differs_from_the_white_box_one_of_the_same_model(known):
    direct, transfer = plan(Spec(attack=("climb",), defense=("plain",), surrogate=("self",)), known=known)
    assert direct.craft_id != transfer.craft_id
    assert direct.clean_id == transfer.clean_id


def test_a_comparison_group_holds_the_cells_that_are_judged_against_each_other(known, one):
    request = Spec(attack=("climb", "jump"), defense=("hard",), surrogate=("other",))
    assert len({cell.comparison_group for cell in plan(request, known=known)}) == 1
    apart = [{}, {"seed": (1,)}, {"n": 3}, {"eps": ("1/255",)}, {"victim": ("other",)}, {"dataset": "loose", **_NET}]
    assert len({one(**request).comparison_group for request in apart}) == len(apart)


_NET = {"victim": ("net",)}


def test_local_files_change_the_fingerprint(one, tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    monkeypatch.setattr(Net, "files", lambda self: (weights,))
    seen = set()
    for content in (None, b"one", b"two"):
        if content is not None:
            weights.write_bytes(content)
        seen.add(one().fit_id)
    assert len(seen) == 3


def test_a_copy_of_a_chosen_component_has_the_same_key(one):
    attack = one().attack
    assert replace(attack).key == SelectedComponent(attack.offer, Climb()).key


def test_planning_imports_no_torch():
    code = (
        "import sys; from robench.plan.spec import Spec, plan;"
        "cells = plan(Spec(attack=('pgd',)), 'cpu'); [cell.score_id for cell in cells];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
