"""Visual prompt tuning: the model stays as it is, prompts beside the image are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from robench import parameter
from robench_builtins.defenses.shared.clip_fine_tuning import ClipFineTuning, zero_shot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from robench import Classifier, Task, Value


class VPT(ClipFineTuning):
    """Train prompts with the TeCoA loss, on adversarial images of the prompted model.

    shallow: h_0 = [CLS, P, patches], P (tokens, d), before the first layer norm and without positions;
    deep:    layer i = 1..L-1 also gets its own P_i (tokens, d) in place of layer i-1's prompt outputs;
    padding: x + frame, a frame of width prompt_size added to the normalised image at the model's resolution,
             2 C prompt_size (H + W - 2 prompt_size) parameters;
    bias:    x + B, B (C, H, W) over the whole normalised image at the model's resolution.

    On ViT-B/32: 10 tokens are 7,680 parameters, deep 92,160; a frame of 30 pixels is 69,840,
    a bias 150,528 (3 x 224 x 224).
    init=vpt draws U(-v, v), v = sqrt(6 / (3 patch^2 + d)); init=tecoa draws N(0, 1). The layer norm that
    follows token prompts leaves only their direction, hence TeCoA's large rate: init=tecoa, optimizer=sgd,
    learning_rate=40, weight_decay=0, schedule=cosine, warmup=0.02, epochs=10, batch_size=256, eps=1/255,
    attack_steps=2, step_size=1/255, with 5 tokens for small sets and 200 for ImageNet.
    """

    name = "vpt"
    source = (
        "Jia et al. 2022, Visual Prompt Tuning (ECCV), https://arxiv.org/abs/2203.12119; trained as in "
        "Mao et al. 2023 (ICLR), https://arxiv.org/abs/2212.07016; padding: Bahng et al. 2022, "
        "https://arxiv.org/abs/2203.17274"
    )

    mode: Literal["shallow", "deep", "padding", "bias"] = parameter(
        default="shallow",
        help="tokens before the first layer, tokens in every layer, a frame of pixels, or a bias on every pixel",
    )
    tokens: int = parameter(default=10, help="prompt tokens of the shallow and deep modes", minimum=1)
    prompt_size: int = parameter(
        default=30, help="width of the padding frame in pixels of the model's resolution", minimum=1
    )
    init: Literal["vpt", "tecoa", "zero"] = parameter(
        default="vpt", help="initial prompts: Xavier-uniform as VPT, N(0, 1) as TeCoA, or 0"
    )
    learning_rate: float = parameter(default=1e-2, help="peak learning rate", minimum=0)
    weight_decay: float = parameter(default=0.0, help="weight decay", minimum=0)

    def wrap(self, victim: Classifier, task: Task) -> Classifier:
        """Return the victim with prompts in place; they alone have gradients."""
        from robench_builtins.defenses.shared import visual_prompts as prompts

        clip = zero_shot(victim, self.name)
        draw = prompts.initializer(clip, self.init, task.generator("prompts"))
        if self.mode == "padding":
            prompts.add_padding(clip, self.prompt_size, task.shape, draw)
        elif self.mode == "bias":
            prompts.add_bias(clip, task.shape, draw)
        else:
            prompts.add_tokens(clip, self.tokens, draw, deep=self.mode == "deep")
        return clip

    def recipe(self) -> Mapping[str, Value]:
        """Return the recipe; of the sizes only the one in use counts."""
        sizes = {"padding": self.prompt_size, "bias": None}
        size = sizes.get(self.mode, self.tokens)
        return self.contrastive_recipe(trainable=f"{self.mode} prompts", size=size)
