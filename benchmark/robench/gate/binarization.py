"""Can the judged attack find adversarial examples where they are known to exist? (Zimmermann et al. 2022)

Around each image a binary readout is fitted on the model's own features: points inside the ball against one point on
its edge. An adversarial example for that readout exists by construction, so an attack that does not find it fails on
this model's features, whatever its robust accuracy says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robench.contracts.classifier import Classifier, ZeroShotClassifier
from robench.contracts.task import Task
from robench.errors import RobenchError
from robench.evidence.card import Check
from robench.evidence.check_rules import SHARES
from robench.evidence.check_verdict import share, skip
from robench.gate.measurement import Measurement
from robench.gate.probe_context import AttackContext
from robench.runtime.out_of_memory import is_out_of_memory

#: Points inside the ball, and how far inside they end, relative to eps (the paper's recipe).
INNER, GAP = 999, 0.05
#: Share of the planted adversarial examples that a working attack may miss (the paper's threshold).
NOT_FOUND = SHARES["binarization"].limits[0]


def probe(probed: AttackContext) -> dict[str, Any]:
    """Return on how many readouts the attack succeeds, and how many a random search of the same size solves."""
    found = {"n": 0, "won": 0, "random": 0, "unfit": 0}
    context, task = probed.context, probed.context.task
    # Each readout is fitted on points in the ball, and met by the attack and by a random search of the same size.
    cost = INNER + 2 + 2 * probed.cost
    wanted = context.level.binarization and probed.budget.images("binarization", cost, context.level.binarization)
    if not wanted or not probed.white_box or probed.attack.queries_only or probed.attack.shared or task.threat.eps == 0:
        return found
    if task.threat.norm == "patch":  # what is planted in one square is no edge of what lies in others
        return found
    features = features_of(probed.target, next(probed.context.test[:1].batches(1, task.device)).images)
    if features is None:
        return found
    for row in probed.context.some(probed.context.clean, wanted, "binarization"):
        batch = next(probed.context.batches([row]))
        here = task.replace(indices=batch.indices, classes=("inside", "edge"))
        readout = _readout(features, batch.images, here)
        if readout is None:
            found["unfit"] += 1
            continue
        zero = torch.zeros_like(batch.labels)
        try:
            moved = probed.attack.craft(readout, batch.images.clone(), zero, here)
        except (RobenchError, RuntimeError, IndexError, ValueError) as error:  # a loss that needs more than two classes
            if is_out_of_memory(error):
                raise
            found["unfit"] += 1
            continue
        moved = here.threat.project(batch.images, moved.detach())
        found["n"] += 1
        with torch.no_grad():
            found["won"] += int((readout(moved).argmax(1) == 1).sum())
            draws = _inside(batch.images, here, 1.0, max(1, probed.cost // 2), "random")
            found["random"] += int(any((readout(part).argmax(1) == 1).any() for part in draws.split(task.batch_size)))
    return found


def features_of(model: Classifier, probe: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return a function from images to penultimate features (N, D): the input of the last linear layer to run."""
    if isinstance(model, ZeroShotClassifier) and type(model).forward is ZeroShotClassifier.forward:
        return model.features
    seen: list[nn.Linear] = []
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [layer.register_forward_hook(lambda module, *_: seen.append(module)) for layer in layers]
    with torch.no_grad():
        model(probe)
    for handle in handles:
        handle.remove()
    if not seen or seen[-1].out_features != model.classes:
        return None
    last = seen[-1]

    def features(images: Tensor) -> Tensor:
        caught: list[Tensor] = []
        handle = last.register_forward_pre_hook(lambda _module, inputs: caught.append(inputs[0]))
        try:
            model(images)
        finally:
            handle.remove()
        return caught[-1].flatten(1)

    return features


def _inside(image: Tensor, task: Task, reach: float, count: int, word: str) -> Tensor:
    unit = torch.cat([task.uniform(image, word, draw) for draw in range(count)])
    centre = image.expand(count, -1, -1, -1)
    return task.threat.project(centre, centre + reach * (task.threat.from_uniform(centre, unit) - centre))


def _readout(features: Callable[[Tensor], Tensor], image: Tensor, task: Task) -> Classifier | None:
    """Return a two-class classifier that tells the edge point (1) from the points inside (0); None if none fits."""
    from sklearn.linear_model import LogisticRegression

    with torch.no_grad():
        width = features(image).shape[1]
        # Beyond as many points as features no readout need separate them.
        inner = _inside(image, task, 1 - GAP, min(INNER, width - 2), "inner") if width > 3 else image
        corner = task.uniform(image, "edge").sign()
        edge = task.threat.project(image, task.threat.from_uniform(image, corner))
        points = torch.cat([image, inner, edge])
        known = torch.cat([features(part) for part in points.split(task.batch_size)])
    target = torch.zeros(len(points), dtype=torch.long)
    target[-1] = 1
    mean, spread = known.mean(0), known.std(0).clamp_min(1e-8)
    scaled = ((known - mean) / spread).cpu().double().numpy()
    fitted = LogisticRegression(C=1e8, max_iter=5000, class_weight="balanced").fit(scaled, target.numpy())
    if fitted.score(scaled, target.numpy()) < 1.0:
        return None
    weight = torch.tensor(fitted.coef_[0], dtype=torch.float32, device=image.device) / spread
    bias = torch.tensor(float(fitted.intercept_[0]), device=image.device) - (weight * mean).sum()
    with torch.no_grad():
        size = (known @ weight + bias).abs().amax().clamp_min(1e-8)
    return Classifier(_Readout(features, weight / size, bias / size), classes=2)


class _Readout(nn.Module):
    def __init__(self, features: Callable[[Tensor], Tensor], weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.features = features
        self.weight = weight
        self.bias = bias

    def forward(self, images: Tensor) -> Tensor:
        edge = self.features(images) @ self.weight + self.bias
        return torch.stack([-edge, edge], 1)


def binarization(measured: Measurement, _group: Sequence[Measurement]) -> Check:
    """See that the attack finds the adversarial examples that were planted in the model's features."""
    name, threshold, found = "binarization", f"<= {NOT_FOUND:.0%} not found", measured.probes["binarization"]
    if not found["n"]:
        reason = (
            "Part of --gate thorough; needs a white-box gradient attack, a linear last layer, and features in which a "
            "readout can be fitted."
        )
        return skip(name, threshold, reason)
    easy = found["random"] / found["n"] > 0.5
    return share(
        name, found["n"] - found["won"], found["n"], (NOT_FOUND, 1.0),
        f"It finds the planted adversarial examples; random search finds {found['random']} of {found['n']}"
        + (", so the test was easy." if easy else "."),
        f"{measured.attack_name} finds {found['won']} of {found['n']} adversarial examples that were planted in the "
        "ball (binarization test): it is too weak for this model, so what it leaves standing says little.",
        threshold=threshold,
        worst="suspect",
    )  # fmt: skip
