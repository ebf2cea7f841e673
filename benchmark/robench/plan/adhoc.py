"""User-supplied code without a plugin: a bare module and bare tensors as components, for ``robench.evaluate``."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from robench.contracts.components import Dataset, Model, Split
from robench.contracts.parameters import Value, parameter
from robench.errors import DataError
from robench.plugin.catalog import Catalog, Offer
from robench.plugin.discovery import Plugin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robench.contracts.classifier import Classifier
    from robench.contracts.examples import Examples

HERE = Plugin("evaluate", "robench.evaluate", "", None)


def offer(
    known: Catalog, module: nn.Module, name: str, dataset: str | Dataset | tuple[Tensor, Tensor]
) -> tuple[Catalog, str, dict[str, Value]]:
    """Return a catalog that also offers ``module`` and the dataset, the dataset's name, and its parameters."""
    wider = Catalog(list(known.plugins), dict(known.offers))
    wider.offers["victim", name] = Offer("victim", name, user_model(module, name), HERE)
    if isinstance(dataset, str):
        return wider, dataset, {}
    served = user_images(module, *dataset) if isinstance(dataset, tuple) else dataset
    wider.offers["dataset", served.name] = Offer("dataset", served.name, type(served), HERE)
    return wider, served.name, {f"dataset.{key}": value for key, value in served.parameters.items()}


def user_model(module: nn.Module, label: str) -> type[Model]:
    """Return a Model component that serves a copy of ``module``."""
    from robench.contracts.classifier import Classifier
    from robench.evidence.tensor_digests import weights_digest

    class UserModel(Model):
        """A module handed to robench.evaluate."""

        name = label
        weights: str = parameter(default=weights_digest(module), help="sha256 of the module's tensors")

        def load(self, task: Any) -> Classifier:
            import torch

            with torch.no_grad():  # recorded, the copy of a TorchScript module would have no leaves
                copied = copy.deepcopy(module)
            return copied if isinstance(copied, Classifier) else Classifier(copied, classes=len(task.classes))

    return UserModel


def user_images(module: nn.Module, images: Tensor, labels: Tensor) -> Dataset:
    """Return a Dataset component that serves these images as its test split, with as many classes as ``module`` has."""
    from robench.contracts.examples import Examples

    served = Examples.from_tensors(images.cpu(), labels.cpu())
    count = _classes(module, served)

    class UserImages(Dataset):
        """Images handed to robench.evaluate."""

        name = "images"
        content: str = parameter(default=served.fingerprint, help="sha256 of images and labels")

        def classes(self) -> tuple[str, ...]:
            return tuple(map(str, range(count)))

        def load(self, split: Split) -> Examples:
            if split != "test":
                raise DataError("robench.evaluate was given test images only; use a Dataset for a defense that trains.")
            return served

    return UserImages()


def _classes(module: nn.Module, served: Examples) -> int:
    """Return the width of the module's logits, which the labels at hand may not exhaust."""
    import torch

    probe = copy.deepcopy(module).cpu().eval()
    with torch.no_grad():
        logits = probe(next(served[:1].batches(1)).images)
    if isinstance(logits, torch.Tensor) and logits.dim() == 2:
        return logits.shape[1]
    return int(served.labels.max()) + 1  # what the module returns instead is refused when it is loaded
