"""How an attack behaves: steps, iterates, the ball, and eps = 0, on attacks whose fault is known."""

from __future__ import annotations

import torch

from robench import Attack

from ..grey import SURVIVORS, accused, attack, checks, corner, only


def run(grey, made, name, **request):
    (card,) = grey.run(made, attack=name, **{"eps": "8/255", "gate_cost": 1000, **request})
    return card


def test_an_honest_attack_passes_every_check_on_its_behaviour(grey):
    (card,) = grey.run(eps="8/255", gate_cost=1000)
    found = checks(card)

    assert not accused(card)
    assert [found[name].status for name in ("box and ball", "eps = 0", "images moved")] == ["pass"] * 3
    assert (found["box and ball"].n, found["eps = 0"].n, found["images moved"].n) == (44, 4, 40)
    assert (found["step size"].value, found["step size"].n) == (0, 8)
    assert (found["best iterate"].value, found["best iterate"].n) == (0, 8)


def test_nothing_to_move_at_eps_zero(grey):
    (card,) = grey.run(eps=0)

    assert checks(card)["images moved"].status == "skipped"
    assert checks(card)["undefended victim falls"].status == "skipped"
    assert card.gate.verdict == "VALID"


def test_half_of_the_images_left_as_they_are_still_counts_as_moved(grey):
    def half(model, images, labels, task):
        return torch.where((labels == 0).view(-1, 1, 1, 1), corner(model, images, labels, task), images)

    card = run(grey, attack("half", half), "half")
    check = checks(card)["images moved"]

    assert (check.status, check.value, check.n) == ("pass", 0.5, 40)


def test_clean_images_sold_as_corrupted_ones_are_accused(grey):
    role, kind = attack("clear-weather", lambda model, images, labels, task: images.clone())
    kind = type(kind.__name__, (kind,), {"norms": ("corruption",), "__doc__": kind.__doc__, "name": kind.name})
    (card,) = grey.run((role, kind), attack="clear-weather", norm="corruption", eps="3", gate="quick")
    check = checks(card)["images moved"]

    assert (card.gate.verdict, check.status) == ("INVALID", "invalid")
    assert check.meaning == "clear-weather returned every image as it was: nothing was attacked."


class Elsewhere(Attack):
    """Know the answer without asking the model, and claim to have climbed to it in many steps."""

    name = "elsewhere"
    forwards = 0

    @property
    def iterative(self):
        return True

    def craft(self, model, images, labels, task):
        if self.forwards:
            model(images[: self.forwards])
        return corner(model, images, labels, task)


class Asks(Elsewhere):
    """Ask once about every image."""

    name = "asks"
    forwards = 1000


def test_many_steps_that_never_ask_the_model_climbed_something_else(grey):
    card = run(grey, ("attack", Elsewhere), "elsewhere", eps="8/255", gate_cost=1000)
    check = only(card, "model asked")

    assert (card.gate.verdict, check.status, check.value, check.n) == ("INVALID", "invalid", 0, 40)
    assert "elsewhere takes many steps, yet 40 images cost it 0 forwards and 0 backwards" in check.meaning
    assert check.meaning.endswith("Craft on the model that craft() is given.")


def test_one_pass_an_image_is_enough_to_have_asked(grey):
    card = run(grey, ("attack", Asks), "asks", eps="8/255", gate_cost=1000)

    assert not accused(card)
    assert (checks(card)["model asked"].value, checks(card)["model asked"].n) == (1, 40)


def test_one_step_and_no_ball_need_not_ask(grey):
    known = attack("known", corner, iterative_=False)

    assert checks(run(grey, known, "known", eps="8/255"))["model asked"].status == "skipped"
    assert checks(run(grey, ("attack", Elsewhere), "elsewhere", eps="0"))["model asked"].status == "skipped"


def test_a_return_value_of_the_perturbation_instead_of_the_image_is_caught_three_times(grey):
    # The delta / image mix-up: 8/255 around 0 is nowhere near the image.
    mixed = attack("mixed", lambda m, x, y, t: (corner(m, x, y, t) - x).clamp(0, 1))
    card = run(grey, mixed, "mixed")
    found = checks(card)

    assert card.gate.verdict == "INVALID"
    assert (found["box and ball"].value, found["eps = 0"].value) == (40, 4)
    assert "returns something else than the image plus a perturbation" in found["eps = 0"].meaning


def test_steps_as_long_as_the_ball_are_suspect(grey):
    # It ends at the optimum, so nothing but its steps is wrong: there, back and there, each 8/255 long.
    def jumps(model, images, labels, task):
        best = corner(model, images, labels, task)
        for point in (images, best, images, best):
            model(point)
        return best

    check = only(run(grey, attack("jumps", jumps), "jumps"), "step size")

    assert (check.status, check.value, check.n) == ("suspect", 1, 8)
    assert "On 8 of 8 images every step was as long as eps, so the attack only jumps between corners" in check.meaning


def test_half_the_step_is_no_jump(grey):
    def walks(model, images, labels, task):
        best = corner(model, images, labels, task)
        for share in (0.0, 0.5, 1.0, 0.5, 1.0):
            model(images + share * (best - images))
        return best

    assert not accused(run(grey, attack("walks", walks), "walks"))


def test_steps_that_cannot_cross_the_ball_are_suspect(grey):
    # 0.4 of 1.4 levels: d = 0 falls either way (0.5), d = 1 stands either way (1.5), so only the path tells.
    def creeps(model, images, labels, task):
        for share in (0.0, 0.2, 0.4):
            point = corner(model, images, labels, task, share)
            model(point)
        return point

    card = run(grey, attack("creeps", creeps), "creeps", eps="1.4/255")
    check = only(card, "step size", "undefended victim falls")

    assert card.robust.correct == SURVIVORS[1]
    assert (check.status, check.value, check.n) == ("suspect", 1, 8)
    assert "all steps together are shorter than eps" in check.meaning


def test_an_attack_that_finds_no_way_is_not_told_to_take_longer_steps(grey):
    def stays(model, images, labels, task):
        for _ in range(3):
            model(images)
        return images

    assert checks(run(grey, attack("stays", stays), "stays"))["step size"].status == "pass"


def test_an_iterate_that_won_and_was_given_up_is_invalid(grey):
    # It sees both images of d = 0 fall and returns them clean; the other survivors are the two of d = 19.
    def forgets(model, images, labels, task):
        best = corner(model, images, labels, task)
        for point in (images, (images + best) / 2, best):
            model(point)
        nearest = (images[:, 0, 0, 0] * 255 - 127.5).abs() < 1
        return torch.where(nearest.view(-1, 1, 1, 1), images, best)

    card = run(grey, attack("forgets", forgets), "forgets", eps="19/255")
    # 2 of 44 images are few, but any other search finds them too, and half a level of margin is unstable.
    searches = ("one step <= many steps", "noise <= gradients", "queries <= gradients", "measured slopes <= gradients")
    check = only(card, "best iterate", "stable loss", *searches)

    assert card.robust.correct == SURVIVORS[19] + 2
    assert (card.gate.verdict, check.status, check.value, check.n) == ("INVALID", "invalid", 2, 4)
    assert "2 of 4 images were won on the way and lost again at the end (indicator I3)" in check.meaning


def test_an_iterate_outside_the_ball_that_won_is_no_loss(grey):
    # Looking further than one may go is allowed, as long as what is returned stays inside.
    def peeks(model, images, labels, task):
        for reach in (0.0, 0.5, 2.5):
            model(corner(model, images, labels, task, reach))
        return corner(model, images, labels, task)

    assert checks(run(grey, attack("peeks", peeks), "peeks"))["best iterate"].status == "pass"


def test_an_attack_that_leaves_the_model_in_training_mode_does_so_for_itself_only(grey):
    def careless(model, images, labels, task):
        model.train()
        model(images)
        return corner(model, images, labels, task)

    assert not accused(run(grey, attack("careless", careless), "careless"))


def test_paths_are_recorded_of_all_traced_images_together(grey, monkeypatch):
    sizes = []
    craft = grey.Steps.craft

    def counting(self, model, images, labels, task):
        sizes.append(len(images))
        return craft(self, model, images, labels, task)

    monkeypatch.setattr(grey.Steps, "craft", counting)
    (card,) = grey.run(eps="8/255", gate_cost=1000, gate="quick")

    assert checks(card)["step size"].n == 8
    assert 1 not in sizes
    assert 8 in sizes
