"""What a typed reference means, and which cells would run code."""

from __future__ import annotations

import pytest

from robench import Dataset, Defense, Model, SpecError, parameter
from robench.plan.references import foreign_code, resolve_reference
from robench.plan.spec import Spec, plan
from robench.plugin.catalog import Catalog, Offer
from robench.plugin.discovery import Plugin

HERE = Plugin("tests", "tests", "0", None)


class Shelf(Dataset):
    """Serve what lies on a shelf."""

    name = "shelf"
    victim = "plain"
    default = True
    path: str = parameter(default="", help="the shelf")
    size: int = parameter(default=8, help="side in pixels")

    @classmethod
    def shorthand(cls, text):
        return {"path": text.removeprefix("shelf:")} if text.startswith("shelf:") else None


class Plain(Model):
    """Run nothing of anybody's."""

    name = "plain"


class Code(Model):
    """Run what a parameter names."""

    name = "code"
    runs_code = True
    path: str = parameter(default="", help="the code")

    @classmethod
    def shorthand(cls, text):
        return {"path": text} if text.endswith(".code") else None


class Undefended(Defense):
    """Leave the victim as it is."""

    name = "none"
    undefended = True


class Borrows(Defense):
    """Load another model while fitting."""

    name = "borrows"
    lender: str = parameter(default="plain", help="the other model")

    def surrogates(self):
        return (self.lender,)


@pytest.fixture
def known():
    from robench_builtins.attacks.fgsm import FGSM

    roles = {"dataset": [Shelf], "victim": [Plain, Code], "surrogate": [Plain, Code], "attack": [FGSM]}
    offers = [(role, kind) for role, kinds in {**roles, "defense": [Undefended, Borrows]}.items() for kind in kinds]
    return Catalog([HERE], {(role, kind.name): Offer(role, kind.name, kind, HERE) for role, kind in offers})


@pytest.mark.parametrize(
    ("role", "reference", "name", "given"),
    [
        ("dataset", "shelf", "shelf", {}),
        ("dataset", "shelf:top", "shelf", {"path": "top"}),
        ("dataset", "shelf:C:\\top", "shelf", {"path": "C:\\top"}),
        ("dataset", "shelf:", "shelf", {"path": ""}),
        ("victim", "shelf:top", "shelf:top", {}),
        ("victim", "a.code", "code", {"path": "a.code"}),
        ("surrogate", "a.code", "code", {"path": "a.code"}),
        ("victim", "plain", "plain", {}),
        ("victim", "nobody's", "nobody's", {}),
    ],
)
def test_a_reference_means_one_component_of_its_role(known, role, reference, name, given):
    assert resolve_reference(known, role, reference) == (name, given)


def test_a_component_of_exactly_that_name_comes_first(known):
    class Odd(Model):
        """Be named like a reference."""

        name = "a:b"

    class Greedy(Model):
        """Claim everything."""

        name = "greedy"

        @classmethod
        def shorthand(cls, text):
            return {}

    for kind in (Odd, Greedy):
        known.offers["victim", kind.name] = Offer("victim", kind.name, kind, HERE)
    assert resolve_reference(known, "victim", "a:b") == ("a:b", {})
    assert resolve_reference(known, "victim", "b:a") == ("greedy", {})


def chosen(known, **request):
    (cell,) = plan(Spec(attack=("fgsm",), **request), known=known)
    return cell


def test_brackets_beat_the_reference_which_beats_the_option(known):
    def path(dataset):
        cell = chosen(known, dataset=dataset, parameters={"dataset.path": "option", "dataset.size": 9})
        return cell.dataset.component.path, cell.dataset.component.size

    assert path("shelf") == ("option", 9)
    assert path("shelf:typed") == ("typed", 9)
    assert path("shelf:typed[path=inside,size=10]") == ("inside", 10)


def test_a_reference_and_its_long_form_are_one_cell(known):
    short = chosen(known, dataset="shelf:top", victim=("a.code",))
    long = chosen(known, dataset="shelf[path=top]", victim=("code[path=a.code]",))
    assert short.score_id == long.score_id


def test_an_unknown_reference_is_an_unknown_name(known):
    with pytest.raises(SpecError, match="There is no victim 'b:c'; Known: code, plain"):
        chosen(known, victim=("b:c",))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, ""),
        ({"victim": ("plain",)}, ""),
        ({"victim": ("a.code",)}, "code[path=a.code]"),
        ({"defense": ("borrows",), "baseline": False}, ""),
        ({"defense": ("borrows[lender=b.code]",), "baseline": False}, "code[path=b.code]"),
    ],
)
def test_code_is_found_wherever_a_cell_names_it(known, request_, code):
    assert foreign_code([chosen(known, **request_)]) == code


def test_a_surrogate_is_found_in_any_of_the_cells(known):
    cells = plan(Spec(attack=("fgsm",), victim=("plain",), surrogate=("self", "a.code")), known=known)
    assert [foreign_code([cell]) for cell in cells] == ["", "", "code[path=a.code]"]
    assert foreign_code(cells) == "code[path=a.code]"
