"""Put LoRA into an image tower."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from robench import SpecError, ZeroShotClassifier
from robench_builtins.defenses.shared.vision_tower import vision_model


def add_lora(
    victim: ZeroShotClassifier,
    targets: Sequence[str],
    rank: int,
    alpha: int,
    dropout: float,
    seed: int,
    defense: str,
) -> ZeroShotClassifier:
    """Return the victim with LoRA on the ``targets`` of its vision tower; no logit changes yet (B = 0).

    Only vision modules are adapted: text features are cached, so text adapters would never meet a gradient.
    """
    from peft import LoraConfig, inject_adapter_in_model

    tower = vision_model(victim, f"{defense} with LoRA needs")
    linear = {name for name, module in tower.named_modules() if isinstance(module, nn.Linear)}
    kinds = {name.rpartition(".")[2] for name in linear}
    if missing := [name for name in targets if name not in kinds]:
        raise SpecError(
            f"{defense}.targets names '{missing[0]}', which is no linear module of the victim's vision "
            f"tower; it has {', '.join(sorted(kinds)) or 'none'}."
        )
    names = sorted(name for name in linear if name.rpartition(".")[2] in targets)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, bias="none")
    # peft draws A from the global generator, on the CPU. get_peft_model would do the same and, with
    # transformers 5, warn of is_gradient_checkpointing; injecting does not pass there.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, tower)
    # A new module is in training mode: its dropout would act.
    return victim.eval()
