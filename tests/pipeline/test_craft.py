"""What the harness does with an attack that does not keep its contract."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robench import Attack, Classifier, Examples, Task, ThreatModel, parameter
from robench.errors import ContractError, DeviceError
from robench.evidence.store import Store
from robench.pipeline.returned_images import inspect
from robench.pipeline.stages import craft as stage
from robench.pipeline.stages.craft import craft


class Shift(Attack):
    """Add a constant."""

    name = "shift"
    by: float = parameter(0.0, "what is added")

    def craft(self, model, images, labels, task):
        return images + self.by


def task_for(eps=8 / 255, norm="Linf", **changes):
    given = {"classes": ("a", "b"), "shape": (1, 2, 2), "threat_model": ThreatModel(norm, eps), "batch_size": 4}
    return Task(**{**given, **changes})


def examples(n=10, level=128):
    return Examples.from_tensors(torch.full((n, 1, 2, 2), level, dtype=torch.uint8), torch.zeros(n, dtype=torch.long))


class Flat(nn.Module):
    def forward(self, images):
        mean = images.flatten(1).mean(1)
        return torch.stack([mean, -mean], 1)


def model():
    return Classifier(Flat(), classes=2).requires_grad_(False)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.mark.parametrize(
    ("by", "outside"), [(0.0, 0), (8 / 255, 0), (8 / 255 + 2e-6, 10), (9 / 255, 10), (-9 / 255, 10)]
)
def test_images_outside_the_ball_are_counted_and_projected(store, by, outside):
    found = craft(Shift(by=by), model(), examples(), None, task_for(), store, "k")

    assert found.total("outside_ball") == outside
    assert found.total("outside_box") == 0
    assert found.largest("largest") <= 8 / 255 + 1e-7
    assert found.largest("excess") == pytest.approx(max(0, abs(by) - 8 / 255), abs=1e-7)


def test_images_outside_the_box_are_counted_and_clamped(store):
    found = craft(Shift(by=4 / 255), model(), examples(level=253), None, task_for(), store, "k")

    assert (found.total("outside_ball"), found.total("outside_box")) == (0, 10)
    assert max(float(batch.images.max()) for batch in found.batches(4, "cpu")) == 1.0


def test_the_l2_ball_is_measured_in_l2(store):
    # 4 pixels moved by 0.1 each lie at distance 0.2.
    inside = craft(Shift(by=0.1), model(), examples(), None, task_for(0.2, "L2"), store, "inside")
    outside = craft(Shift(by=0.1), model(), examples(), None, task_for(0.19, "L2"), store, "outside")

    assert (inside.total("outside_ball"), outside.total("outside_ball")) == (0, 10)
    assert outside.largest("largest") == pytest.approx(0.19, abs=1e-6)


def test_images_inside_are_stored_bit_by_bit(store):
    by = 1 / 3 * 8 / 255
    found = craft(Shift(by=by), model(), examples(), None, task_for(), store, "k")

    expected = next(examples().batches(10)).images + by
    assert torch.equal(torch.cat([batch.images for batch in found.batches(3, "cpu")]), expected)


def returning(result):
    class Given(Attack):
        """Return what it was told to."""

        name = "given"

        def craft(self, model, images, labels, task):
            return result(images)

    return Given()


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (lambda x: x.numpy(), "given must return a tensor, not ndarray"),
        (
            lambda x: x[:1],
            r"given must return float32 images of shape \(4, 1, 2, 2\), not torch.float32 \(1, 1, 2, 2\)",
        ),
        (lambda x: x.double(), "given must return float32 images .* not torch.float64"),
        (lambda x: x * float("nan"), "given returned NaN or infinite pixels in 4 of 4 images"),
        (lambda x: x / 0, "given returned NaN or infinite pixels in 4 of 4 images"),
        (lambda x: None, "given must return a tensor, not NoneType"),
        (lambda x: 1 // 0, "given failed on images 0 to 3: ZeroDivisionError"),
    ],
)
def test_a_wrong_result_is_a_sentence(store, result, sentence):
    with pytest.raises(ContractError, match=sentence):
        craft(returning(result), model(), examples(), None, task_for(), store, "k")


def test_one_nan_pixel_does_not_slip_through():
    images = torch.full((3, 1, 2, 2), 0.5)
    moved = images.clone()
    moved[1, 0, 0, 0] = float("nan")

    with pytest.raises(ContractError, match="in 1 of 3 images"):
        inspect(
            Shift(), images, moved, task_for(), {"outside_ball": 0, "outside_box": 0, "excess": 0.0, "largest": 0.0}
        )


def test_an_attack_that_raises_later_names_the_images_and_keeps_the_chunks_before(store, monkeypatch):
    monkeypatch.setattr(stage, "CHUNK", 4)
    calls = []

    def explode(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise RuntimeError("no")
        return images

    with pytest.raises(ContractError, match=r"given failed on images 8 to 9: RuntimeError: no\."):
        craft(returning(explode), model(), examples(), None, task_for(), store, "k")
    found = craft(returning(lambda images: images), model(), examples(), None, task_for(), store, "k")

    assert calls == [4, 4, 2]
    assert found.total("attacked") == 10


def test_chunks_in_the_store_are_not_crafted_again(store):
    craft(Shift(by=0.01), model(), examples(), None, task_for(), store, "k")

    again = craft(returning(lambda images: 1 / 0), model(), examples(), None, task_for(), store, "k")
    assert again.total("attacked") == 10


def test_a_damaged_chunk_is_reported_and_crafted_again(tmp_path):
    notes = []
    store = Store(tmp_path, warn=notes.append)
    first = craft(Shift(by=0.01), model(), examples(), None, task_for(), store, "k")
    data = first.chunks[0].path / "data.safetensors"
    data.write_bytes(data.read_bytes()[:-1] + b"\x00")

    again = craft(Shift(by=0.01), model(), examples(), None, task_for(), Store(tmp_path, warn=notes.append), "k")

    assert again.fingerprint == first.fingerprint
    assert "is damaged (its tensors do not match their checksum)" in notes[0]


def test_images_not_worth_attacking_stay_clean_and_are_not_handed_over(store):
    seen = []

    def remember(images):
        seen.append(len(images))
        return images + 0.01

    worth = torch.tensor([True, False] * 5)
    found = craft(returning(remember), model(), examples(), worth, task_for(), store, "k")
    images = torch.cat([batch.images for batch in found.batches(10, "cpu")])

    assert sum(seen) == found.total("attacked") == found.meter.images == 5
    assert torch.equal(images[~worth], next(examples().batches(10)).images[~worth])
    assert bool((images[worth] > 0.505).all())


def test_a_batch_in_which_no_image_is_worth_attacking_is_not_handed_over(store):
    found = craft(
        returning(lambda images: 1 / 0), model(), examples(), torch.zeros(10, dtype=torch.bool), task_for(), store, "k"
    )

    assert found.total("attacked") == 0


def test_an_attack_that_writes_into_its_argument_does_not_move_the_clean_images(store):
    def in_place(images):
        images += 0.5
        return images

    found = craft(returning(in_place), model(), examples(), None, task_for(), store, "k")

    assert found.total("outside_ball") == 10


def test_gradients_left_on_parameters_are_a_sentence(store):
    class Greedy(Attack):
        """Call backward."""

        name = "greedy"

        def craft(self, model, images, labels, task):
            model.network.weight.requires_grad_(True)
            model(images).sum().backward()
            return images

    class Weighted(Flat):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, images):
            return super().forward(images) * self.weight

    network = Classifier(Weighted(), classes=2).requires_grad_(False)
    with pytest.raises(
        ContractError, match=r"greedy left gradients on the model's parameters; use robench\.input_gradient"
    ):
        craft(Greedy(), network, examples(), None, task_for(), store, "k")


class Notes:
    def __init__(self):
        self.texts = []

    def track(self, items, total, text):
        return items

    def note(self, text):
        self.texts.append(text)


def test_out_of_memory_halves_the_batch_says_so_and_changes_nothing(store):
    def hungry(images):
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images + 0.01

    notes = Notes()
    found = craft(returning(hungry), model(), examples(), None, task_for(progress=notes), store, "hungry")
    fed = craft(Shift(by=0.01), model(), examples(), None, task_for(), store, "fed")

    assert found.fingerprint == fed.fingerprint
    assert notes.texts[0] == "Out of memory with 4 images at once; going on with 2 (see --batch-size)."


def test_one_image_that_does_not_fit_is_a_sentence(store):
    def hungry(images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceError, match="One image alone does not fit into the memory of cpu"):
        craft(returning(hungry), model(), examples(), None, task_for(), store, "k")


def test_warm_up_is_outside_the_counts(store):
    found = craft(Shift(), model(), examples(), None, task_for(), store, "k")

    assert (found.meter.forwards, found.meter.backwards) == (0, 0)


def test_warm_up_takes_no_more_images_than_a_batch(store):
    asked, attacked = [], model()
    attacked.register_forward_pre_hook(lambda _module, given: asked.append(len(given[0])))
    craft(Shift(), attacked, examples(), None, task_for(batch_size=3), store, "k")

    assert asked == [3]
