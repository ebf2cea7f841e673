"""The kit against defenses: right ones pass, each wrong one gets its sentence; slopes against known derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Classifier, Defense, SpecError, parameter
from robench.testing import fixtures
from robench.testing.gradient_checks import measure


class Layer(nn.Module):
    """Apply a function to the images before the victim sees them."""

    def __init__(self, function, inner):
        super().__init__()
        self.function, self.inner = function, inner

    def forward(self, images):
        return self.inner(self.function(images))


class Right(Defense):
    """Average neighbouring pixels."""

    name = "right"

    def before(self, images):
        return nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)

    def wrap(self, victim, task):
        victim.preprocess = Layer(self.before, victim.preprocess)
        return victim


class Gain(Defense):
    """Train one number by which the logits are multiplied."""

    name = "gain"
    epochs: int = parameter(default=1, help="passes over the images", minimum=1)

    def wrap(self, victim, task):
        victim.gain = nn.Parameter(torch.ones(()))
        victim.register_forward_hook(lambda module, _, logits: logits * module.gain)
        return victim

    def fit(self, defended, train, task):
        for epoch in range(self.epochs):
            for batch in train.batches(8, task.device, shuffle=task.generator("order", epoch)):
                self.update(defended, batch)

    def update(self, defended, batch):
        nn.functional.cross_entropy(defended(batch.images), batch.labels).backward()
        with torch.no_grad():
            for value in defended.parameters():
                if value.grad is not None:
                    value -= 0.1 * value.grad
                    value.grad = None

    def passes(self, images):
        return self.epochs * images, self.epochs * images


class Rounded(Right):
    """Keep 16 grey levels, and pass the gradient straight through."""

    gradient = "straight-through"

    def before(self, images):
        return images + ((images * 15).round() / 15 - images).detach()


class Blind(Right):
    """Keep 16 grey levels."""

    gradient = "none"

    def before(self, images):
        return (images * 15).round() / 15


class Noisy(Right):
    """Add noise at every forward."""

    randomized = True

    def before(self, images):
        return images + 0.1 * torch.randn_like(images)


class Median(Right):
    """Take the median of neighbours, which has a kink wherever two of them are equal."""

    def before(self, images):
        windows = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect").unfold(2, 3, 1).unfold(3, 3, 1)
        return windows.flatten(-2).median(-1).values


class Halved(Right):
    """Insist on float32."""

    def before(self, images):
        return super().before(images).float()


@pytest.mark.parametrize(
    "defense", [Right, Gain, Rounded, Blind, Noisy, Median, Halved], ids=lambda kind: kind.__name__
)
def test_a_right_defense_passes(judged, defense):
    results = judged(defense)
    assert {name: r.sentence for name, r in results.items() if r.status == "failed"} == {}
    skipped = {name for name, r in results.items() if r.status == "not applicable"}
    untrained = {"same seed", "trainable parameters", "trains on CUDA"} if defense is not Gain else set()
    assert skipped == untrained | ({"any batch"} if defense is Noisy else set())


class Raising(Right):
    """Need a CLIP, and trip."""

    def wrap(self, victim, task):
        victim.image_tower  # noqa: B018
        return super().wrap(victim, task)


class Bare(Right):
    """Return a module."""

    def wrap(self, victim, task):
        return nn.Sequential(victim)


class Drawn(Gain):
    """Draw the gain from the global generator."""

    def wrap(self, victim, task):
        victim = super().wrap(victim, task)
        victim.gain.data = torch.rand(())
        return victim


class Shuffled(Gain):
    """Shuffle with the global generator."""

    def fit(self, defended, train, task):
        for batch in train.batches(8, task.device, shuffle=torch.default_generator):
            self.update(defended, batch)


class Idle(Gain):
    """Declare more than is trained."""

    def wrap(self, victim, task):
        victim = super().wrap(victim, task)
        victim.idle = nn.Parameter(torch.ones(3))
        return victim


class Secret(Gain):
    """Change what was not declared."""

    def fit(self, defended, train, task):
        super().fit(defended, train, task)
        with torch.no_grad():
            next(defended.network.parameters()).add_(0.1)


class Buffered(Gain):
    """Count in a buffer."""

    def wrap(self, victim, task):
        victim = super().wrap(victim, task)
        victim.register_buffer("seen", torch.zeros(()))
        return victim

    def update(self, defended, batch):
        defended.seen += 1
        super().update(defended, batch)


class Trainable(Right):
    """Leave gradients on and train nothing."""

    def wrap(self, victim, task):
        victim.gain = nn.Parameter(torch.ones(()))
        return super().wrap(victim, task)


class Forgetful(Gain):
    """Learn into an attribute."""

    def wrap(self, victim, task):
        victim.bias = 0.0
        victim.register_forward_hook(lambda module, _, logits: logits + module.bias)
        return super().wrap(victim, task)

    def fit(self, defended, train, task):
        super().fit(defended, train, task)
        defended.bias = torch.arange(10.0).tolist()[3]
        defended.gain.data += defended.bias
        defended.network[-1].register_forward_hook(lambda _m, _i, logits: logits + torch.arange(10.0))


class Batched(Right):
    """Subtract the batch's mean."""

    def before(self, images):
        return images - images.mean(0, keepdim=True)


class Soft(Right):
    """Return probabilities."""

    def wrap(self, victim, task):
        return Classifier(nn.Sequential(victim, nn.Softmax(1)), victim.classes)


class Sneaky(Noisy):
    """Be random and not say so."""

    randomized = False


class Modest(Right):
    """Say that it is random."""

    randomized = True


class Shattered(Rounded):
    """Claim an exact gradient of a rounding."""

    gradient = "exact"


class Masked(Blind):
    """Claim an exact gradient that is 0."""

    gradient = "exact"


class Humble(Right):
    """Claim to have no gradient."""

    gradient = "none"


class Cut(Right):
    """Claim a gradient and detach."""

    def before(self, images):
        return images.detach()


class Odd(Right):
    """Declare another word."""

    gradient = "approximate"


class Stray(Right):
    """Keep a tensor in a list."""

    def wrap(self, victim, task):
        victim.kept = [torch.zeros(2)]
        return super().wrap(victim, task)


class Free(Gain):
    """Promise a fit for nothing."""

    def passes(self, images):
        return 0, 0


class Tensors(Right):
    """Put a tensor into the recipe."""

    def recipe(self):
        return {"loss": torch.zeros(1)}


class Loading(Right):
    """Name a surrogate as text."""

    def surrogates(self):
        return "resnet20"


class Wide(Right):
    """Know three channels only."""

    def before(self, images):
        return nn.functional.conv2d(images, torch.eye(3, device=images.device).view(3, 3, 1, 1))


class Patching(Right):
    """Change the class of the victim."""

    def wrap(self, victim, task):
        original = nn.GELU.forward
        nn.GELU.forward = lambda module, value: original(module, value) + 1e-3
        return super().wrap(victim, task)


WRONG = {
    Raising: ("victims", "right.wrap failed: AttributeError: 'Classifier' object has no attribute 'image_tower'."),
    Bare: ("victims", "right.wrap must return a robench.Classifier, not Sequential; change the victim you are given"),
    Drawn: ("same structure", "gain.wrap gives other values the second time (gain); draw initial values from task."),
    Shuffled: ("same seed", "gain.fit trains other weights with the same seed; shuffle and draw with task.generator("),
    Idle: ("trainable parameters", "gain declares 1 trainable parameters that never had a gradient (idle); leave"),
    Secret: (
        "trainable parameters",
        "gain.fit changes what wrap did not declare (network.0.weight); leave gradients on for it",
    ),
    Buffered: (
        "trainable parameters",
        "gain.fit changes what wrap did not declare (seen); leave gradients on for it in wrap, name",
    ),
    Trainable: ("trainable parameters", "right leaves gradients on for gain and has no fit; leave them off."),
    Forgetful: ("stored and loaded", "gain gives other logits when its stored tensors are loaded (by up to "),
    Batched: ("any batch", "right gives an image other logits alone than in a batch (by up to "),
    Soft: ("logits", "right returns probabilities, not logits: each row is in [0, 1] and sums to 1."),
    Sneaky: ("randomness", "right answers one image in two ways and does not say so; set randomized = True, so that"),
    Modest: ("randomness", "right says that it is randomized, and four forwards of the same images agree bit by bit;"),
    Shattered: (
        "gradient",
        "right declares gradient = 'exact', and autograd agrees with finite differences in only ",
    ),
    Masked: ("gradient", "right declares gradient = 'exact', and the gradient is exactly 0 although the logits change"),
    Humble: ("gradient", "right declares gradient = 'none', and autograd agrees with finite differences; declare"),
    Cut: ("gradient", "right declares gradient = 'exact', and no gradient reaches the pixels (The model's logits"),
    Odd: ("gradient", "right.gradient is 'approximate'; choose 'exact', 'straight-through' or 'none'."),
    Stray: ("copies and devices", "right keeps the tensor 'kept[0]' as a plain attribute, which stays behind"),
    Free: ("statements", "gain trains, and passes() says that a fit costs nothing; --dry-run would promise too little"),
    Tensors: (
        "statements",
        "right.recipe must return text, numbers, truth values or None by name; it goes into the card.",
    ),
    Loading: ("statements", "right.surrogates must return a tuple of names, not 'resnet20'."),
    Wide: ("2 classes, 1 x 28 x 28", "refuse in wrap what it cannot defend, with robench.SpecError"),
}


@pytest.mark.parametrize("defense", WRONG, ids=lambda defense: defense.__name__)
def test_a_wrong_defense_fails_its_check(sentence, defense):
    check, words = WRONG[defense]
    assert words in sentence(defense, check)


@pytest.mark.parametrize(
    "defense",
    [Shuffled, Idle, Secret, Modest, Shattered, Masked, Humble, Stray, Free, Loading, Wide],
    ids=lambda defense: defense.__name__,
)
def test_and_no_other_check(caught, defense):
    assert list(caught(defense)) == [WRONG[defense][0]]


def test_a_class_that_others_share_may_not_be_patched(sentence, monkeypatch):
    monkeypatch.setattr(nn.GELU, "forward", nn.GELU.forward)
    assert "right changes the answers of the undefended victim; change the copy" in sentence(
        Patching, "leaves all alone"
    )


class Clip(Gain):
    """Take a CLIP only, and say so."""

    def wrap(self, victim, task):
        if not hasattr(victim, "image_tower"):
            raise SpecError("gain needs a zero-shot victim; choose tiny-clip.")
        return super().wrap(victim, task)


class Never(Right):
    """Take nothing."""

    def wrap(self, victim, task):
        raise SpecError("right takes no victim; give up.")


def test_a_defense_that_refuses_the_network_in_a_sentence_is_tried_on_a_clip(judged):
    assert {name: r.sentence for name, r in judged(Clip).items() if r.status != "passed"} == {}


def test_a_defense_that_refuses_every_victim_is_not_tried(judged):
    results = judged(Never)
    assert results["logits"].status == "not tried"
    assert results["logits"].sentence == "right takes no victim; give up."
    assert "failed" not in {r.status for r in results.values()}


def test_slopes_of_a_linear_model_are_its_weights():
    model = fixtures.network(fixtures.USUAL)
    linear = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), 10)
    with torch.no_grad():
        linear.network[1].weight.copy_(torch.arange(30720.0).view(10, 3072).sin())
    for found in (measure(model), measure(linear)):
        assert found.agree == 1.0
        assert found.changed
        assert not found.vanish
        assert torch.allclose(found.autograd, found.differences, rtol=1e-2)


def test_slopes_of_a_step_function_are_zero_though_it_changes():
    model = fixtures.network(fixtures.USUAL)
    model.preprocess = Layer(lambda images: (images > 0.5).to(images.dtype), model.preprocess)
    found = measure(model)
    assert found.vanish
    assert found.changed
    assert not found.differences.any()


def test_slopes_of_half_a_gradient_disagree():
    model = fixtures.network(fixtures.USUAL)
    model.preprocess = Layer(lambda images: images / 2 + images.detach() / 2, model.preprocess)
    assert measure(model).agree < 0.1


def test_the_kits_material_is_the_same_each_time_and_leaves_the_generators_alone():
    state = torch.get_rng_state()
    first, second = (fixtures.network(fixtures.SMALL) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    images = fixtures.pictures(fixtures.LARGE, 2)
    assert torch.equal(images, fixtures.pictures(fixtures.LARGE, 2))
    assert images.shape == (2, 3, 224, 224)
    assert 0.2 - 1e-3 <= float(images.min()) <= float(images.max()) <= 0.8 + 1e-3


@pytest.mark.parametrize("setting", [fixtures.USUAL, fixtures.SMALL, fixtures.LARGE], ids=str)
@pytest.mark.parametrize("make", [fixtures.network, fixtures.zero_shot])
def test_the_kits_victims_have_something_to_lose(make, setting):
    model, images = make(setting), fixtures.pictures(setting, 8)
    with torch.no_grad():
        logits = model(images)
    assert logits.shape == (8, setting.classes)
    assert float(logits.std()) > 0.5
    assert float((logits - logits.mean(0)).abs().mean()) > 0.05  # images are told apart
