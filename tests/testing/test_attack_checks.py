"""The kit against attacks: right ones pass every check, each wrong one fails its own, in its sentence."""

from __future__ import annotations

import functools
import random
from typing import ClassVar, Literal

import pytest
import torch
from torch.nn.functional import cross_entropy

from robench import Attack, SpecError, input_gradient, parameter
from robench.testing import NotTried, conformance


def direction(model, images, labels):
    return input_gradient(lambda x: cross_entropy(model(x), labels, reduction="none"), images)[1].sign()


class Step(Attack):
    """Take one step along the sign of the gradient."""

    name = "step"

    def craft(self, model, images, labels, task):
        moved = images + task.threat.eps * direction(model, images, labels)
        return task.threat.project(images, moved)


class Noisy(Step):
    """Begin at a draw."""

    name = "noisy"

    def craft(self, model, images, labels, task):
        start = task.threat.from_uniform(images, task.uniform(images, "start"))
        return task.threat.project(images, start + task.threat.eps / 2 * direction(model, start, labels))


class Picky(Step):
    """Work in Linf only, and with an even radius only."""

    name = "picky"
    norms = ("Linf",)
    side: Literal[1, 2] = parameter(default=1, help="which side")
    offset: float | None = parameter(default=None, help="how far, in pixels", minimum=0)


class Caching(Step):
    """Compute a thing once."""

    @functools.cached_property
    def factor(self):
        return 1.0

    def craft(self, model, images, labels, task):
        return super().craft(model, images * self.factor, labels, task)


class Parted(Step):
    """Let the model be asked in parts."""

    asks_in_parts = True

    def craft(self, model, images, labels, task):
        def loss(x, rows):
            return cross_entropy(model(x), rows, reduction="none")

        moved = images + task.threat.eps * input_gradient(loss, images, labels)[1].sign()
        return task.threat.project(images, moved)


@pytest.mark.parametrize("attack", [Step, Noisy, Picky, Caching, Parted])
def test_a_right_attack_passes_all_that_can_be_tried(judged, attack):
    results = judged(attack)
    assert {name: r.sentence for name, r in results.items() if r.status == "failed"} == {}
    tried = {name for name, r in results.items() if r.status == "passed"}
    assert set(results) - tried <= {"on CUDA"}


class Lazy(Step):
    """Hand out float64."""

    def craft(self, model, images, labels, task):
        return super().craft(model, images, labels, task).double()


class Cropped(Step):
    """Lose a row."""

    def craft(self, model, images, labels, task):
        return images[..., 1:, :]


class Listed(Step):
    """Return a list."""

    def craft(self, model, images, labels, task):
        return list(images)


class Nan(Step):
    """Divide by zero."""

    def craft(self, model, images, labels, task):
        return images / 0 * 0


class Far(Step):
    """Go too far."""

    def craft(self, model, images, labels, task):
        return (images + 2 * task.threat.eps * direction(model, images, labels)).clamp(0, 1)


class Unboxed(Step):
    """Leave the box."""

    def craft(self, model, images, labels, task):
        moved = images.clone()
        moved[:, :, 0, 0] = -1e-3
        return moved if task.threat.eps else images


class Global(Step):
    """Draw from torch's global generator."""

    def craft(self, model, images, labels, task):
        return task.threat.from_uniform(images, torch.rand_like(images) * 2 - 1) if task.threat.eps else images


class Pythonic(Step):
    """Draw from Python's global generator."""

    def craft(self, model, images, labels, task):
        return task.threat.project(images, images + random.uniform(-1, 1) * task.threat.eps)


class Batchwise(Step):
    """Draw for the whole batch."""

    def craft(self, model, images, labels, task):
        noise = torch.rand(images.shape, generator=task.generator("start")).to(images.device) * 2 - 1
        return task.threat.from_uniform(images, noise) if task.threat.eps else images


class Averaged(Step):
    """Scale the step by the batch's mean loss."""

    def craft(self, model, images, labels, task):
        images = images.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(cross_entropy(model(images), labels), images)
        return task.threat.project(images, images + gradient).detach()


class Writing(Step):
    """Write into the argument."""

    def craft(self, model, images, labels, task):
        return task.threat.project(images.clone(), images.add_(task.threat.eps))


class Greedy(Step):
    """Leave gradients behind."""

    def craft(self, model, images, labels, task):
        model.requires_grad_(True)
        images = images.clone().requires_grad_(True)
        cross_entropy(model(images), labels).backward()
        return task.threat.project(images, images + task.threat.eps * images.grad.sign()).detach()


class Training(Step):
    """Switch to train mode."""

    def craft(self, model, images, labels, task):
        model.train()
        return super().craft(model, images, labels, task)


class Hooked(Step):
    """Leave a hook."""

    def craft(self, model, images, labels, task):
        model.register_forward_hook(lambda *_: None)
        return super().craft(model, images, labels, task)


class Tuned(Step):
    """Change the weights."""

    def craft(self, model, images, labels, task):
        with torch.no_grad():
            next(model.parameters()).add_(1e-3)
        return super().craft(model, images, labels, task)


class Learning(Step):
    """Remember."""

    def craft(self, model, images, labels, task):
        object.__setattr__(self, "seen", len(images))
        return super().craft(model, images, labels, task)


class Restless(Step):
    """Move with eps = 0 too."""

    def craft(self, model, images, labels, task):
        return (images + 1e-7 * direction(model, images, labels)).clamp(0, 1) if not task.threat.eps else images


class Dividing(Step):
    """Divide by eps."""

    def craft(self, model, images, labels, task):
        return images + 0 * (1 // (task.threat.eps or 0))


class Dear(Step):
    """Take more than it says."""

    def craft(self, model, images, labels, task):
        model(images)
        return super().craft(model, images, labels, task)


class Double(Step):
    """Take two steps and not say so."""

    def passes(self):
        return 2, 2

    def craft(self, model, images, labels, task):
        return super().craft(
            model, super().craft(model, images, labels, task), labels, task.replace(threat_model=task.threat)
        )


class Query(Step):
    """Claim to need queries only."""

    queries_only: ClassVar[bool] = True


class Narrow(Step):
    """Know three channels only."""

    def craft(self, model, images, labels, task):
        return images * images.new_ones(3, 1, 1)


class Wholesale(Step):
    """Say that the model is asked in parts, and ask for all at once."""

    asks_in_parts = True


class Misplaced(Parted):
    """Climb, in every part, the loss of the first images' labels."""

    def craft(self, model, images, labels, task):
        def loss(x, rows):
            return cross_entropy(model(x), labels[: len(rows)], reduction="none")

        moved = images + task.threat.eps * input_gradient(loss, images, labels)[1].sign()
        return task.threat.project(images, moved)


class Exploding(Step):
    """Raise."""

    def craft(self, model, images, labels, task):
        raise KeyError("steps")


WRONG = {
    Lazy: ("box, ball, float32", "step returns torch.float64 (6, 3, 32, 32) for torch.float32 (6, 3, 32, 32) with 10"),
    Cropped: ("box, ball, float32", "return images of the same type and shape."),
    Listed: ("box, ball, float32", "step.craft must return a tensor of images, not list."),
    Nan: ("box, ball, float32", "guard its divisions, for example against an all-zero gradient."),
    Far: (
        "box, ball, float32",
        "step moves an image by 0.062745 where eps is 0.031373 with 10 classes, 3 x 32 x 32 in Linf;",
    ),
    Unboxed: (
        "box, ball, float32",
        "step leaves the box [0, 1] with 10 classes, 3 x 32 x 32 in Linf; end with task.threat",
    ),
    Global: ("same seed", "step gives other images for the same seed; draw from task.uniform or task.generator, never"),
    Pythonic: ("same seed", "step gives other images for the same seed;"),
    Batchwise: ("any batch", "other pixels for the same images in other batches; sum the loss over the batch"),
    Averaged: ("any batch", "instead of averaging it, and draw noise with task.uniform, which is per image."),
    Writing: ("leaves all alone", "step.craft writes into the images or labels it is given; work on a clone."),
    Greedy: (
        "leaves all alone",
        "changes which parameters take gradients and gradients on its parameters of the model",
    ),
    Training: ("leaves all alone", "step.craft changes train or eval mode of the model it is given; use robench.input"),
    Hooked: ("leaves all alone", "step.craft changes hooks of the model it is given;"),
    Tuned: ("leaves all alone", "step.craft changes a tensor of the model it is given;"),
    Learning: (
        "leaves all alone",
        "step writes into itself while it works; a component is frozen, so keep results in local",
    ),
    Restless: ("eps = 0", "step moves images although eps is 0 in Linf; begin with 'if task.threat.eps == 0: return"),
    Dividing: ("eps = 0", "step fails with eps = 0 (ZeroDivisionError: "),
    Dear: ("passes", "step takes 2 forwards and 1 backwards an image where passes() says at most 1 and 1;"),
    Double: ("passes", "step takes gradients at 2 points and is not iterative; let its property 'iterative' return"),
    Query: ("passes", "step declares queries_only and takes gradients; leave one of the two out."),
    Wholesale: (
        "asked in parts",
        "and asks the model for 6 images where it takes 4 at once: ask through robench.logits_of",
    ),
    Misplaced: (
        "asked in parts",
        "other pixels where the model is asked so; let its loss use only the rows that",
    ),
    Narrow: ("2 classes, 1 x 28 x 28", "step returns torch.float32 (6, 3, 28, 28) for torch.float32 (6, 1, 28, 28)"),
    Exploding: ("box, ball, float32", "step raised KeyError: 'steps' ("),
}


@pytest.mark.parametrize("attack", WRONG, ids=lambda attack: attack.__name__)
def test_a_wrong_attack_fails_its_check(sentence, attack):
    check, words = WRONG[attack]
    assert words in sentence(attack, check)


@pytest.mark.parametrize("attack", [Writing, Greedy, Learning, Restless, Dear, Narrow, Batchwise, Wholesale])
def test_and_no_other_check(caught, attack):
    assert list(caught(attack)) == [WRONG[attack][0]]


class Never(Step):
    """Refuse every radius."""

    def check(self, threat):
        raise SpecError("never works with any eps; give another attack.")


def test_a_refusal_is_no_failure_and_gives_its_reason(judged):
    results = judged(Never)
    assert results["same seed"].status == "not tried"
    assert "never works with any eps; give another attack." in results["same seed"].sentence
    assert results["name and help"].status == "passed"


def test_a_check_is_a_call_that_raises_or_skips():
    checks = {str(check): check for check in conformance(Restless)}
    assert checks["box, ball, float32"]() is None
    with pytest.raises(Exception, match="moves images although eps is 0"):
        checks["eps = 0"]()
    with pytest.raises(NotTried, match="never works"):
        {str(check): check for check in conformance(Never)}["passes"]()


def test_pytest_runs_skips_and_fails_them(pytester_run):
    done = pytester_run(
        """
        import pytest
        from robench import Attack
        from robench.testing import Check, conformance

        class Still(Attack):
            "Return the images, and more than asked."
            name = "still"
            def craft(self, model, images, labels, task):
                model(images), model(images)
                return images

        @pytest.mark.parametrize("check", conformance(Still), ids=str)
        def test_conformance(check: Check) -> None:
            check()
        """
    )
    assert done.returncode == 1
    assert "still takes 2 forwards and 0 backwards an image where passes() says at most 1 and 1" in done.stdout
    assert "1 failed, 12 passed" in done.stdout
    assert "test_conformance[eps = 0]" in done.stdout


@pytest.fixture
def pytester_run(tmp_path):
    """Return a function that runs a test file in a pytest of its own."""
    import subprocess
    import sys
    import textwrap

    def run(source):
        (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
        words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "test_it.py"]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)

    return run
