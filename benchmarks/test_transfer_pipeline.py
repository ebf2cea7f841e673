"""A transfer attack on several defenses of one CLIP: the designed pipeline, a naive one, and the image tower alone.

    python -m pytest benchmarks/test_transfer_pipeline.py -s --benchmark-disable-gc

CLIP ViT-B/32's architecture with random weights and a ResNet-20-shaped surrogate.
Designed: crafted once at 32x32 on the prepared surrogate, text features once, adapters merged. Naive: crafted anew
for each defense, text features for every batch, adapters unmerged. The naive side already crafts at 32x32; at
224x224 crafting alone would take minutes. Merging costs the same for 32 images as for 10,000, so it is shown
apart too; the probe that prepare compares logits on is one image here. No time is asserted.
"""

from __future__ import annotations

import copy
import time

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from robench import Classifier, Preprocess, Task, ThreatModel, ZeroShotClassifier
from robench.runtime.inference import freeze, prepare
from robench_builtins.attacks.pgd import PGD
from robench_builtins.defenses.shared.lora_adapters import add_lora
from robench_builtins.models.shared.transformers_clip import CLIP_MEAN, CLIP_STD, ClipImageTower

from .interleave import interleave, ratios, report, timed_rows
from .resnet20 import SHAPE, resnet20

ROUNDS = 3  # a round takes 20 seconds and more
IMAGES, BATCH = 96, 32
DEFENSES = 3
TASK = Task(classes=tuple("abcdefghij"), shape=SHAPE, threat_model=ThreatModel("Linf", 8 / 255), batch_size=BATCH)


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig())  # the defaults are ViT-B/32, both towers
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def encode(clip):
    """Return a function that gives the text features of ten prompts."""
    tokens = torch.randint(2, 60, (10, 12), generator=torch.Generator().manual_seed(2))
    tokens[:, -1] = clip.config.text_config.eos_token_id

    def features():
        with torch.no_grad():
            return clip.get_text_features(tokens).pooler_output

    return features


@pytest.fixture(scope="module")
def defended(clip, encode):
    """Return the defended victims, adapters unmerged."""
    preprocess = Preprocess(CLIP_MEAN, CLIP_STD, clip.config.vision_config.image_size)
    victims = []
    for seed in range(DEFENSES):
        tower = copy.deepcopy(ClipImageTower(clip.vision_model, clip.visual_projection))
        victim = ZeroShotClassifier(tower, encode(), 100.0, preprocess)
        victim = add_lora(victim, ("q_proj", "v_proj"), 8, 16, 0.0, seed, "benchmark")
        for name, weights in victim.named_parameters():
            if "lora_B" in name:
                weights.data.normal_(0, 0.02, generator=torch.Generator().manual_seed(seed))
        victims.append(freeze(victim, "cpu"))
    return victims


def batched(values, size):
    return [values[start : start + size] for start in range(0, len(values), size)]


@torch.no_grad()
def answers(model, images):
    return torch.cat([model(batch).argmax(1) for batch in images.split(BATCH)])


def test_transfer_to_several_defenses(benchmark, defended, encode):
    images = torch.rand(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1))
    plain = freeze(Classifier(resnet20(), 10), "cpu")
    labels = answers(plain, images)
    surrogate = prepare(plain, images[:8]).model
    attack = PGD(steps=7)
    found, merging = {}, []

    def designed():
        adversarial = attack.craft(surrogate, images, labels, TASK)
        features = torch.nn.functional.normalize(encode(), dim=1)
        found["designed"] = []
        for victim in defended:
            started = time.perf_counter()
            ready = prepare(victim, images[:1])
            merging.append(time.perf_counter() - started)
            assert ready.steps == ("adapters merged",)
            ready.model.text_features = features
            found["designed"].append(answers(ready.model, adversarial))

    def naive():
        found["naive"] = []
        for victim in defended:
            adversarial = attack.craft(plain, images, labels, TASK)
            predicted = []
            for batch in adversarial.split(BATCH):
                victim.text_features = torch.nn.functional.normalize(encode(), dim=1)
                predicted.append(answers(victim, batch))
            found["naive"].append(torch.cat(predicted))

    merged = [prepare(victim, images[:1]).model for victim in defended]
    large = merged[0].preprocess(images)

    def tower():
        with torch.no_grad():
            for model in merged:
                for batch in large.split(BATCH):
                    model.network(batch)

    contestants = {"image tower": tower, "designed": designed, "naive": naive}
    tower()  # the one warm-up
    seconds = benchmark.pedantic(interleave, (contestants, ROUNDS, False), rounds=1, iterations=1)
    rounds = zip(seconds["designed"], batched(merging, DEFENSES), strict=True)
    seconds["without merging"] = [total - sum(once) for total, once in rounds]
    to_tower = ratios(seconds, "image tower")
    naive_to = {name: ratios(seconds, name)["naive"] for name in ("designed", "without merging")}
    alike = float((torch.cat(found["designed"]) == torch.cat(found["naive"])).float().mean())
    benchmark.extra_info.update(ratio_to_tower=to_tower, naive_to=naive_to, answers_alike=alike, seconds=seconds)

    report(
        f"{DEFENSES} LoRA defenses of a ViT-B/32, {IMAGES} images, median of {ROUNDS} rounds; "
        f"answers alike: {alike:.3f}; "
        f"naive / designed {naive_to['designed']:.2f}, {naive_to['without merging']:.2f} without merging",
        [("", "ratio to tower", "seconds"), *timed_rows(seconds, to_tower)],
    )
