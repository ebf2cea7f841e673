"""What attacks made for transfer do to images and gradients: resize and pad, smooth."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def smooth(gradient: Tensor, side: int) -> Tensor:
    """Return the gradient convolved with a Gaussian of ``side`` pixels that reaches three standard deviations.

    Channel by channel, zeros beyond the border: Dong et al. 2019 (arXiv 1904.02884), section 3, with their code's
    kernel, whose standard deviation is (side - 1) / 6 pixels.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812 - torch's own spelling

    if side == 1:
        return gradient
    bell = torch.linspace(-3, 3, side, dtype=gradient.dtype, device=gradient.device).square().div(-2).exp()
    bell, channels = bell / bell.sum(), gradient.shape[1]
    along = F.conv2d(gradient, bell.view(1, 1, side, 1).expand(channels, -1, -1, -1), padding="same", groups=channels)
    return F.conv2d(along, bell.view(1, 1, 1, side).expand(channels, -1, -1, -1), padding="same", groups=channels)


def resized_and_padded(images: Tensor, least: float, draw: Tensor) -> Tensor:
    """Return each image shrunk bilinearly and put somewhere into a black one of its own size (N, C, H, W).

    Args:
        images: (N, C, H, W).
        least: the least side, as a share; the largest is one pixel less than the whole.
        draw: (N, 3) in [0, 1): the size, and the place from the top and from the left, both before the last there is,
            as in the published code.
    """
    import torch

    matrices = []
    for axis, whole in enumerate(images.shape[2:]):
        low = max(int(whole * least), 1)
        size = low + (draw[:, 0] * (whole - low)).long()
        first = (draw[:, 1 + axis] * (whole - size)).long()
        # Row i of an image's matrix holds the weights of the old rows in the new row i: a linear map that is the same
        # on every device, where torch's own bilinear backward adds in no fixed order.
        place = torch.arange(whole, device=images.device)
        inside = place - first[:, None]
        source = ((inside + 0.5) * (whole / size[:, None]) - 0.5).clamp(0, whole - 1)
        weights = (1 - (source[:, :, None] - place).abs()).clamp_min(0)
        kept = (inside >= 0) & (inside < size[:, None])
        matrices.append((weights * kept[:, :, None]).to(images.dtype))
    rows, columns = matrices
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)
