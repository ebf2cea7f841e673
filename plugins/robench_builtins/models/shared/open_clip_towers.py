"""Checkpoints of CLIPs that hold an image tower alone, as those of TeCoA, TTC and FARE; imported with open_clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robench import SpecError, Task, WeightsError
from robench_builtins.models.shared.checkpoint_layouts import State, fitted
from robench_builtins.models.shared.library_model import reason

#: Robust CLIPs on the hub -> architecture and tag that they were fine-tuned from, for a local copy of their weights.
FINE_TUNED = {f"hf-hub:chs20/{name}-clip": ("ViT-L-14", "openai") for name in ("fare2", "fare4", "tecoa2", "tecoa4")}


def fine_tuned_from(model: str, weights: str) -> tuple[str, str]:
    """Return the architecture and the tag to build for a hub model whose weights lie in a local file."""
    if weights or model not in FINE_TUNED:
        raise SpecError(
            f"open_clip:{model} with a local file does not say which architecture the file is of; give a folder that "
            "also holds open_clip_config.json, or name architecture and tag, such as open_clip:ViT-L-14/openai."
        )
    return FINE_TUNED[model]


def image_tower(state: State, visual: Any) -> State | None:
    """Return the state under the tower's own names, if it holds an image tower and nothing else."""
    wanted = set(visual.state_dict())
    found = fitted(state, wanted)
    if set(found) == wanted:
        return found
    inside = State({name.removeprefix("visual."): value for name, value in found.items()})
    if set(inside) == wanted:
        inside.unwrapped = (*found.unwrapped, "without prefix 'visual.'")
        return inside
    return None


def with_tower(tower: State, asked: Any, create: Callable[[], Any], task: Task) -> Any:
    """Return the tag's model with another image tower: the text tower is the tag's, which no fine-tuning touched."""
    if not asked.weights:
        raise SpecError(
            f"{asked.checkpoint} holds an image tower alone; name the weights whose text tower belongs to it, such as "
            f"open_clip:{asked.model}/openai."
        )
    try:
        model = create()
    except WeightsError as error:
        raise WeightsError(
            f"{asked.checkpoint} holds an image tower alone, and the text tower of {asked} cannot be loaded "
            f"({reason(error)})"
        ) from error
    try:
        model.visual.load_state_dict(tower)
    except RuntimeError as error:
        raise WeightsError(
            f"{asked.checkpoint} does not make the image tower of open_clip's {asked.model} ({reason(error)}); give "
            "that of this very architecture."
        ) from error
    task.note(
        f"{tower.noted(str(asked.checkpoint)) or asked.checkpoint}: the image tower alone, the text tower of {asked}"
    )
    return model
