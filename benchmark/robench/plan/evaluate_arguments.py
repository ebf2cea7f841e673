"""What a user hands to ``robench.evaluate``, a bare module and bare tensors: checked, and made components of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from robench.contracts.components import Dataset, Model, Split
from robench.contracts.parameters import Value, parameter
from robench.errors import ContractError, DataError, RobenchError
from robench.plugin.catalog import Catalog, Offer
from robench.plugin.discovery import Plugin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robench.contracts.classifier import Classifier
    from robench.contracts.examples import Examples

WHO = "robench.evaluate"
HERE = Plugin("evaluate", "robench.evaluate", "", None)


def offer(
    known: Catalog, module: nn.Module, name: str, dataset: str | Dataset | tuple[Tensor, Tensor]
) -> tuple[Catalog, str, dict[str, Value]]:
    """Return a catalog that also offers ``module`` and the dataset, the dataset's name, and its parameters."""
    wider = Catalog(list(known.plugins), dict(known.offers))
    module = checked(module, name)
    wider.offers["victim", name] = Offer("victim", name, user_model(module, name), HERE)
    if isinstance(dataset, str):
        return wider, dataset, {}
    served = user_images(module, name, dataset) if not isinstance(dataset, Dataset) else dataset
    wider.offers["dataset", served.name] = Offer("dataset", served.name, type(served), HERE)
    return wider, served.name, {f"dataset.{key}": value for key, value in served.parameters.items()}


def user_model(module: nn.Module, label: str) -> type[Model]:
    """Return a Model component that serves a copy of ``module``."""
    from robench.contracts.classifier import Classifier
    from robench.evidence.tensor_digests import derived, weights_digest

    class UserModel(Model):
        """A module handed to robench.evaluate."""

        name = label
        weights: str = parameter(default=weights_digest(module, derived(module)), help="sha256 of the module's tensors")

        def load(self, task: Any) -> Classifier:
            from robench.contracts.module_copy import copy_module

            copied = copy_module(module, label, whole=True)  # the user may have other views of its memory
            return copied if isinstance(copied, Classifier) else Classifier(copied, classes=len(task.classes))

    return UserModel


def user_images(module: nn.Module, name: str, given: Any) -> Dataset:
    """Return a Dataset component that serves (images, labels) as its test split, with the module's classes."""
    from robench.contracts.array_inputs import as_images, check_range
    from robench.contracts.examples import Examples

    if not isinstance(given, tuple) or len(given) != 2:
        what = f"a tuple of {len(given)}" if isinstance(given, tuple) else f"a {type(given).__name__}"
        raise ContractError(
            f"{WHO} takes as dataset a name, a robench.Dataset, or (images, labels), not {what}; collect its images "
            "and labels into two tensors."
        )
    served = Examples.from_tensors(as_images(given[0], WHO), given[1], who=WHO)
    count = _classes(module, served, name)
    check_range(served.labels, count, WHO)

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


def _classes(module: nn.Module, served: Examples, name: str) -> int:
    """Return the width of the module's logits, which the labels at hand may not exhaust."""
    import torch

    logits = first_answer(module, next(served[:1].batches(1)).images, name)
    if isinstance(logits, torch.Tensor) and logits.dim() == 2:
        return logits.shape[1]
    return int(served.labels.max()) + 1  # what the module returns instead is refused when it is loaded


def checked(module: Any, name: str) -> nn.Module:
    """Return ``module`` if it is one that can be measured; ContractError says what it is instead."""
    from torch import nn
    from torch.nn.parameter import is_lazy

    if isinstance(module, type):
        _refuse(f"robench.evaluate takes a module, not the class {module.__name__}; make one: {module.__name__}().")
    if isinstance(module, str):
        _refuse(f"robench.evaluate takes a torch.nn.Module, not a name; robench.run(victim='{module}') takes names.")
    if not isinstance(module, nn.Module):
        what = f"the function {getattr(module, '__name__', '')}".rstrip() if callable(module) else type(module).__name__
        _refuse(
            f"robench.evaluate takes a torch.nn.Module, not {what}; write a module whose forward calls it, so that its "
            "weights can be copied, moved and frozen."
        )
    tensors = [*module.named_parameters(), *module.named_buffers()]
    lazy = [place for place, tensor in tensors if is_lazy(tensor)]
    if lazy:
        _refuse(
            f"{name} has lazy layers that were never run ({lazy[0]}), so there are no weights to measure; run it once "
            "on a batch, or load its weights."
        )
    empty = [place for place, tensor in tensors if tensor.device.type == "meta"]
    if empty:
        _refuse(f"{name} has weights on the device meta ({empty[0]}), which holds no numbers; load its weights.")
    return module


def first_answer(module: nn.Module, images: Tensor, name: str) -> Any:
    """Return what a copy of the module answers to ``images``; what it raises becomes a sentence."""
    import torch

    from robench.contracts.module_copy import copy_module

    probe = copy_module(module, name, whole=True).cpu().eval()
    mode = torch.is_grad_enabled()
    try:
        with torch.no_grad():
            return probe(images.clone())
    except RobenchError:
        raise
    except Exception as error:  # a module may raise anything
        raise ContractError(_why(module, images, name, error)) from error
    finally:
        torch.set_grad_enabled(mode)


def _why(module: nn.Module, images: Tensor, name: str, error: Exception) -> str:
    """Return the sentence for a module that cannot classify float32 images."""
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in module.parameters() if tensor.is_floating_point()}
    if kinds - {"float32"}:
        return (
            f"{name} has weights in {', '.join(sorted(kinds))}, and attacks run in float32: hand over module.float(), "
            "or a module that casts inside and returns float32 logits."
        )
    shown = " x ".join(map(str, images.shape[1:]))
    reason = " ".join(str(error).split()).rstrip(".")[:300]
    return (
        f"{name} cannot classify the images, {shown}, float32 in [0, 1]: {type(error).__name__}"
        f"{f': {reason}' if reason else ''}."
    )


def _refuse(message: str) -> NoReturn:
    raise ContractError(message)
