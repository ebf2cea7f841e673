"""What a model answers to single photos, before and after an attack on its first answer."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from robench.api import choose_device
from robench.cli.values import read_parameters
from robench.contracts.classifier import Classifier, ZeroShotClassifier, input_gradient
from robench.contracts.components import Attack, Dataset, Model
from robench.contracts.examples import Examples
from robench.contracts.task import Silent, Task
from robench.contracts.threat_model import format_eps
from robench.errors import SpecError, attributed_to
from robench.pipeline.returned_images import inspect
from robench.pipeline.stages.load import Data, load_model
from robench.plan.cell import Cell, type_of
from robench.plan.spec import Spec, plan


class Captioned(Dataset):
    """Stand for photos whose classes are whole captions."""

    name = "captions"
    templates = ("{}",)


@dataclass(frozen=True)
class Prediction:
    """Hold the answers to one photo.

    Attributes:
        image: the file.
        classes: class names or captions.
        clean: (K,) probabilities.
        attacked: likewise under the attack; None without one.
        attack: the attack's label.
        eps: its radius.
        pictures: (1 or 2, C, H, W), clean and attacked.
        saliency: (1 or 2, H, W) of each, |d loss / d x| for the likeliest answer; None where it was not asked for.
    """

    image: Path
    classes: tuple[str, ...]
    clean: Tensor
    attacked: Tensor | None
    attack: str
    eps: float
    pictures: Tensor
    saliency: Tensor | None = None

    def record(self, top: int) -> dict[str, Any]:
        """Return it as JSON values, with the ``top`` likeliest answers."""
        found: dict[str, Any] = {"image": str(self.image), "clean": self._likeliest(self.clean, top)}
        if self.attacked is not None:
            found |= {"attack": self.attack, "eps": format_eps(self.eps)}
            found |= {"attacked": self._likeliest(self.attacked, top)}
        return found

    def _likeliest(self, probabilities: Tensor, top: int) -> list[dict[str, Any]]:
        values, places = probabilities.topk(min(top, len(probabilities)))
        pairs = zip(places.tolist(), values.tolist(), strict=True)
        return [{"class": self.classes[place], "probability": round(value, 6)} for place, value in pairs]


def predict(
    images: Sequence[Path],
    *,
    victim: str,
    captions: tuple[str, ...],
    dataset: str,
    attack: str,
    eps: str,
    parameters: tuple[str, ...],
    size: int,
    device: str,
    saliency: bool = False,
) -> list[Prediction]:
    """Return the answers to each photo."""
    if len(captions) == 1:
        raise SpecError(f'One caption leaves nothing to choose from; give several: --captions "{captions[0]}" "a cat".')
    spec = Spec(
        dataset=dataset, victim=(victim,) if victim else (), eps=(eps,), parameters=read_parameters(parameters),
        attack=(attack or "fgsm",),
    )  # fmt: skip
    cell = plan(spec, choose_device(device))[0]
    chosen: Dataset = Captioned() if captions else type_of(cell.dataset, Dataset)
    classes = captions or chosen.classes()
    data = Data(chosen, Examples.from_files(images, [0] * len(images), size), classes)
    task = data.task(0, cell.device, 16, Silent(), "predict")
    classifier = _loaded(cell, data, task, captions)
    pictures = next(data.test.batches(len(images), cell.device)).images
    clean = _probabilities(classifier, pictures)
    moved = _attacked(cell, classifier, pictures, clean.argmax(1), task) if attack else None
    after = _probabilities(classifier, moved) if moved is not None else None
    forms = [kind for kind in (pictures, moved) if kind is not None]
    maps = [salience(classifier, kind) for kind in forms] if saliency else []
    return [
        Prediction(
            image, classes, clean[place], None if after is None else after[place], cell.attack.record().label,
            cell.threat.eps, torch.stack([kind[place] for kind in forms]).cpu(),
            torch.stack([found[place] for found in maps]).cpu() if maps else None,
        )
        for place, image in enumerate(images)
    ]  # fmt: skip


def _loaded(cell: Cell, data: Data, task: Task, captions: Sequence[str]) -> Classifier:
    model: Model = type_of(cell.victim, Model)
    label = cell.victim.record().label
    unread = f"{label} reads no text; leave --captions out, or name a CLIP such as --victim clip-vit-b32."
    if model.untrained():
        raise SpecError(f"{label} comes without weights, so it has no answers; name a victim that is trained.")
    if captions and "template" not in model.parameters:
        raise SpecError(unread)
    classifier = load_model(model, data, task)
    if captions and not isinstance(classifier, ZeroShotClassifier):
        raise SpecError(unread)
    return classifier


@torch.no_grad()
def _probabilities(classifier: Classifier, pictures: Tensor) -> Tensor:
    return torch.cat([classifier(part).softmax(1).cpu() for part in pictures.split(16)])


def salience(classifier: Classifier, pictures: Tensor) -> Tensor:
    """Return (N, H, W): |d loss / d x| summed over channels, the loss being the likeliest answer's cross-entropy.

    Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks (2014), https://arxiv.org/abs/1312.6034, with
    the loss in place of the score, as the course reports take it.
    """
    with torch.no_grad():
        answers = classifier(pictures).argmax(1)

    def loss(batch: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(classifier(batch), answers, reduction="none")

    return input_gradient(loss, pictures)[1].abs().sum(1)


def overlay(picture: Tensor, values: Tensor) -> Tensor:
    """Return (C, H, W) with ``values`` (H, W) of at least 0 laid over it in red, the largest covering its pixel."""
    red = torch.zeros_like(picture)
    red[0] = 1
    cover = values / values.max().clamp_min(1e-12)
    return picture * (1 - cover) + red * cover


def _attacked(cell: Cell, classifier: Classifier, pictures: Tensor, answers: Tensor, task: Task) -> Tensor:
    """Return the photos moved away from the first answers, inside the ball."""
    attack: Attack = type_of(cell.attack, Attack)
    task = task.replace(threat_model=cell.threat, stop_early=True, indices=range(len(pictures)))
    with attributed_to(attack.name):
        moved = attack.craft(classifier, pictures, answers.to(pictures.device), task)
    return inspect(attack, pictures, moved, task, defaultdict(int))


def picture(found: Sequence[Prediction]) -> bytes:
    """Return a PNG with a row a photo: clean, attacked, and the difference from black (-eps) to white (+eps).

    Beside clean and attacked stands each with its saliency laid over it, where that was asked for.
    """
    rows = []
    for one in found:
        maps = [] if one.saliency is None else list(one.saliency)
        parts = []
        for place, shown in enumerate(one.pictures):
            parts += [shown, *(overlay(shown, values) for values in maps[place : place + 1])]
        if len(one.pictures) == 2:
            moved = one.pictures[1] - one.pictures[0]
            parts.append((0.5 + moved / (2 * max(one.eps, 1e-12))).clamp(0, 1))
        rows.append(torch.cat(parts, dim=2))
    pixels = torch.cat(rows, dim=1).mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
