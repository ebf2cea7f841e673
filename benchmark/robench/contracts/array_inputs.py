"""Images and labels as users hand them over: tensors, arrays and lists, made what is meant or refused by name."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from robench.errors import ContractError, require

#: Channels that images have; another axis of such a length is not rows or columns.
CHANNELS = (1, 3, 4)


def as_tensor(given: Any, what: str, who: str) -> Tensor:
    """Return a plain tensor on the CPU of a tensor, an array, a table's column or a list of any of these."""
    if isinstance(given, Tensor):
        _check_kind(given, what, who)
        return given.detach().cpu()
    if isinstance(given, list | tuple) and given and all(isinstance(entry, Tensor) for entry in given):
        shapes = {tuple(entry.shape) for entry in given}
        require(len(shapes) == 1, f"{who} was given a list of {what} of other shapes ({_few(shapes)}); resize them.")
        return torch.stack([as_tensor(entry, what, who) for entry in given])
    return _of_array(given, what, who)


def as_images(given: Any, who: str) -> Tensor:
    """Return images (N, C, H, W), uint8 or float32 in [0, 1]; floats of other widths become float32."""
    images = as_tensor(given, "images", who)
    require(len(images) > 0 if images.dim() else False, f"{who} was given no images; give one at least.")
    if images.dim() == 3:
        refuse(f"{who} takes images (N, C, H, W), not {_shape(images)}; add the axis of channels: images.unsqueeze(1).")
    if images.is_floating_point() and images.dtype != torch.float32:
        images = images.float()
    return images


def check_images(images: Tensor, who: str) -> None:
    """Refuse images that are laid out, typed or scaled otherwise than N, C, H, W in uint8 or float32 in [0, 1]."""
    _, channels, _, width = images.shape
    if width in CHANNELS and channels not in CHANNELS:
        refuse(
            f"{who} takes images (N, C, H, W), and these have the shape {_shape(images)}, channels last; move them: "
            "images.permute(0, 3, 1, 2)."
        )
    if images.dtype != torch.float32 or not images.numel():
        return
    low, high = float(images.min()), float(images.max())
    if low != low or high != high:
        refuse(f"{who} takes float32 images in [0, 1], and these hold NaN.")
    if low >= 0 and 1 < high <= 255:
        refuse(f"{who} takes float32 images in [0, 1], and these run to {high:g}; divide them by 255.")
    if low < 0 or high > 1:
        refuse(
            f"{who} takes float32 images in [0, 1]; normalise inside the model (these run from {low:.3g} to "
            f"{high:.3g})."
        )


def as_labels(given: Any, who: str) -> Tensor:
    """Return int64 labels (N,) of numbers, a column of them, or one-hot rows."""
    labels = as_tensor(given, "labels", who)
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() == 2:
        hot = (labels == 1).sum(1) == 1
        if not bool((hot & ((labels == 0).sum(1) == labels.shape[1] - 1)).all()):
            refuse(
                f"{who} takes one class an image, and these labels of shape {_shape(labels)} are no one-hot rows; "
                "mixtures of classes cannot be scored, so give labels.argmax(1) if the largest is meant."
            )
        return labels.int().argmax(1)
    if labels.dim() != 1:
        refuse(f"{who} takes labels (N,), not {_shape(labels)}.")
    if labels.is_complex():
        refuse(f"{who} takes whole numbers as labels, not {labels.dtype}.")
    whole = labels.long()
    if labels.is_floating_point() and not torch.equal(whole.to(labels.dtype), labels):
        odd = float(labels[whole.to(labels.dtype) != labels][0])
        refuse(f"{who} takes whole numbers as labels, and these hold {odd:g}.")
    return whole


def check_range(labels: Tensor, classes: int, who: str) -> None:
    """Refuse labels that are none of the classes 0 to ``classes`` - 1."""
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < classes:
        return
    if low >= 1 and high == classes:
        way = "subtract 1 from them"
    elif low < 0:
        way = "leave out images without a class"
    else:
        way = "give the module that was trained on these classes"
    refuse(
        f"{who} was given labels from {low} to {high}, and the module tells {classes} classes apart, 0 to "
        f"{classes - 1}; {way}."
    )


def refuse(message: str) -> NoReturn:
    """Raise ContractError."""
    raise ContractError(message)


def _of_array(given: Any, what: str, who: str) -> Tensor:
    import numpy as np

    try:
        array = np.asarray(given.to_numpy() if hasattr(given, "to_numpy") else given)
    except ValueError:
        refuse(f"{who} was given {what} of other shapes in one list; resize them.")
    if array.dtype.kind in "US":
        first = str(array.flat[0]) if array.size else ""
        refuse(f"{who} takes numbers as {what}, not words such as '{first}'; number the classes from 0.")
    if array.dtype.kind not in "buif":
        refuse(f"{who} takes {what} as a tensor, an array or a list of numbers, not {type(given).__name__}.")
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _check_kind(given: Tensor, what: str, who: str) -> None:
    if given.is_quantized or given.layout != torch.strided:
        kind = "quantized" if given.is_quantized else str(given.layout).removeprefix("torch.").replace("_", " ")
        refuse(f"{who} takes dense tensors as {what}, not {kind} ones; use .dequantize() or .to_dense().")
    if given.device.type == "meta":
        refuse(f"{who} was given {what} on the device meta, which holds no numbers.")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _few(shapes: set[tuple[int, ...]]) -> str:
    return ", ".join(map(str, sorted(shapes)[:3]))
