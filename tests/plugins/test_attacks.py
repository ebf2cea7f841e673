"""Attacks that misbehave: each loses its own cell or its verdict, and nothing else."""

from __future__ import annotations

import pytest

ATTACKS = """
class Nan(Attack):
    '''Divide by a zero gradient.'''
    name = "nan"
    def craft(self, model, images, labels, task):
        return images / 0 * 0

class Shape(Attack):
    '''Resize the images.'''
    name = "shape"
    def craft(self, model, images, labels, task):
        return images[..., :-1]

class Dtype(Attack):
    '''Return float64.'''
    name = "dtype"
    def craft(self, model, images, labels, task):
        return images.double()

class Listed(Attack):
    '''Return a list.'''
    name = "listed"
    def craft(self, model, images, labels, task):
        return list(images)

class Far(Attack):
    '''Leave the ball by one grey level.'''
    name = "far"
    def craft(self, model, images, labels, task):
        step = task.threat.eps + (1 / 255 if task.threat.eps else 0)
        return (images + step * ascent(model, images, labels)).clamp(0, 1)

class Unboxed(Attack):
    '''Leave the box and stay in the ball.'''
    name = "unboxed"
    def craft(self, model, images, labels, task):
        return images - task.threat.eps

class Inplace(Attack):
    '''Write into the argument.'''
    name = "inplace"
    def craft(self, model, images, labels, task):
        return images.add_(task.threat.eps * ascent(model, images, labels)).clamp_(0, 1)

class Restless(Attack):
    '''Move images at eps = 0 too.'''
    name = "restless"
    def craft(self, model, images, labels, task):
        return (images + 4 / 255 * ascent(model, images, labels)).clamp(0, 1)

class Late(Attack):
    '''Fail on the second batch.'''
    name = "late"
    def craft(self, model, images, labels, task):
        if min(task.indices) >= 16:
            raise ValueError("the second batch is too much")
        return images.clone()

class Helpless(Attack):
    '''Return the clean images.'''
    name = "helpless"
    def craft(self, model, images, labels, task):
        return images

class Scale(Defense):
    '''Train one number by which logits are multiplied, and leave a mark for each fit.'''
    name = "scale"
    def wrap(self, victim, task):
        victim.gain = nn.Parameter(torch.ones(()))
        victim.register_forward_hook(lambda module, _, logits: logits * victim.gain)
        return victim
    def fit(self, defended, train, task):
        open("fits", "a").write("fit ")
        for batch in train[:64].batches(64):
            nn.functional.cross_entropy(defended(batch.images), batch.labels).backward()
            with torch.no_grad():
                defended.gain -= 0.1 * defended.gain.grad

CLASSES = [Nan, Shape, Dtype, Listed, Far, Unboxed, Inplace, Restless, Late, Helpless]

@hookimpl
def robench_victims(): return [Centroid]

@hookimpl
def robench_attacks(): return CLASSES

@hookimpl
def robench_defenses(): return [Scale]
"""
NAMES = "nan,shape,dtype,listed,late,far,unboxed,inplace,restless,helpless,fgsm,pgd"
WORDS = ("run", "--victim", "centroid", "--attack", NAMES, "--n", "40", "--batch-size", "16", "-p", "pgd.steps=5")

SENTENCES = {
    "nan": "nan returned NaN or infinite pixels in ",
    "shape": "shape must return float32 images of shape (",
    "dtype": "dtype must return float32 images of shape (",
    "listed": "listed must return a tensor, not list.",
    "late": "late failed on images ",
}


@pytest.fixture(scope="module")
def finished(shared_site, centroid):
    shared_site.install("misfits", centroid + ATTACKS)
    return shared_site.robench(*WORDS)


def test_failing_attacks_lose_their_cells_alone(finished):
    assert finished.code == 1
    assert "5 cells failed; the others stand:" in finished.err
    assert {attack for _, _, attack in finished.cards()} == {*NAMES.split(",")} - {*SENTENCES}


@pytest.mark.parametrize("attack", SENTENCES)
def test_failing_attack_says_what_it_did(finished, attack):
    assert f"centroid / none / {attack} at Linf 8/255, seed 0" in finished.said
    assert SENTENCES[attack] in finished.said


def test_an_attack_that_raises_names_the_images_and_the_reason(finished):
    line = next(line for line in finished.err.splitlines() if "late failed on images" in line)
    first, last = (int(word) for word in line.split(" images ")[1].split(":")[0].split(" to "))
    assert 16 <= first <= last < 32
    assert line.endswith("ValueError: the second batch is too much.")


def test_the_wrong_dtype_is_named(finished):
    assert "not torch.float64 (" in finished.said


@pytest.mark.parametrize(
    ("attack", "check"),
    [("far", "box and ball"), ("unboxed", "box and ball"), ("restless", "eps = 0")],
)
def test_cheating_attack_is_recorded_as_invalid(finished, checks, attack, check):
    card = finished.cards()["centroid", "none", attack]
    assert card["gate"]["verdict"] == "INVALID"
    assert checks(card)[check] == "invalid"


def test_leaving_the_ball_is_measured_and_projected(finished):
    found = finished.cards()["centroid", "none", "far"]["adversarial"]
    assert found["outside_ball"] > 0
    assert found["excess"] == pytest.approx(1 / 255, abs=1e-6)
    assert found["largest"] <= 8 / 255 + 1e-6


def test_leaving_the_box_alone_is_counted_apart(finished):
    found = finished.cards()["centroid", "none", "unboxed"]["adversarial"]
    assert found["outside_box"] > 0
    assert found["outside_ball"] == 0


def test_writing_into_the_argument_moves_no_clean_image(finished):
    # It is FGSM, written in place: same images, so same outcomes, and the largest move is eps and not 0.
    inplace, fgsm = (finished.cards()["centroid", "none", attack] for attack in ("inplace", "fgsm"))
    assert inplace["adversarial"]["largest"] == pytest.approx(8 / 255, abs=1e-6)
    assert inplace["robust"]["bits"] == fgsm["robust"]["bits"]
    assert inplace["clean"]["bits"] == fgsm["clean"]["bits"]


def test_an_attack_that_does_nothing_is_invalid(finished, checks):
    card = finished.cards()["centroid", "none", "helpless"]
    assert card["gate"]["verdict"] == "INVALID"
    assert checks(card)["images moved"] == "invalid"
    assert checks(card)["undefended victim falls"] == "suspect"


def test_work_before_a_failure_is_kept(shared_site, finished):
    words = (*WORDS[:4], "late,pgd", *WORDS[5:], "--defense", "scale")
    first, again = shared_site.robench(*words), shared_site.robench(*words)
    assert first.code == again.code == 1
    assert (shared_site.root / "fits").read_text() == "fit "
    assert again.said.count("late failed on images") == 2
    assert first.out == again.out


GREEDY = """
class Greedy(Attack):
    '''Leave gradients on the model.'''
    name = "greedy"
    def craft(self, model, images, labels, task):
        model.requires_grad_(True)
        images = images.clone().requires_grad_(True)
        nn.functional.cross_entropy(model(images), labels).backward()
        return (images + task.threat.eps * images.grad.sign()).clamp(0, 1).detach()

class Zero(Attack):
    '''Fail where there is nothing to do.'''
    name = "zero"
    def craft(self, model, images, labels, task):
        return images + task.threat.eps * ascent(model, images, labels) * (1 // int(task.threat.eps > 0))

@hookimpl
def robench_victims(): return [Centroid]

@hookimpl
def robench_attacks(): return [Greedy, Zero]
"""
SHORT = ("run", "--victim", "centroid", "--n", "20", "--attack")


def test_gradients_left_on_the_model(site, centroid):
    site.install("greedy", centroid + GREEDY)
    done = site.robench(*SHORT, "greedy")
    assert done.code == 2
    assert "greedy left gradients on the model's parameters; use robench.input_gradient." in done.said


def test_gradients_left_on_the_model_do_not_touch_the_next_attack(site, centroid):
    site.install("greedy", centroid + GREEDY)
    done = site.robench(*SHORT, "greedy,pgd[steps=2]")
    assert "1 cells failed" in done.err
    assert list(done.cards()) == [("centroid", "none", "pgd")]


def test_gradients_left_on_the_model_are_not_forgiven_the_second_time(site, centroid):
    site.install("greedy", centroid + GREEDY)
    site.robench(*SHORT, "greedy")
    again = site.robench(*SHORT, "greedy")
    assert (again.code, "left gradients on the model's parameters" in again.err) == (2, True)


def test_an_attack_that_raises_at_eps_zero_loses_its_cell(site, centroid):
    site.install("greedy", centroid + GREEDY)
    done = site.robench(*SHORT, "zero,pgd[steps=2]")
    assert done.code == 1
    assert "zero fails with eps = 0 (ZeroDivisionError: " in done.said
    assert "it must return the images unchanged there." in done.said
    assert list(done.cards()) == [("centroid", "none", "pgd")]
