"""The small vision transformer of the plant-disease reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robench import SpecError, Task, parameter
from robench_builtins.models.shared.from_scratch import UntilPlateau, widths

if TYPE_CHECKING:
    from torch import nn


class PlantViT(UntilPlateau):
    """Classify by a small vision transformer whose patches overlap, with a large perceptron over all its tokens.

    Ten classes at 64 x 64 with patches of 8 x 8: 100 patches and 15,319,754 parameters; at 256 x 256 with patches of
    32 x 32 as many patches and 15,504,074 parameters. Each head is as wide as a token, as in Keras.
    """

    name = "plant-vit"
    source = (
        "Dosovitskiy et al., An Image is Worth 16x16 Words (ICLR 2021), in the form of Keras' example for small data "
        "(Salama, 2021): width 64, 4 heads, head 2048-1024; with overlapping patches."
    )

    size: int = parameter(default=64, help="side in pixels to which images are resized", minimum=4)
    patch: int = parameter(default=8, help="side of a patch in pixels", minimum=1)
    stride: int = parameter(
        default=0, help="pixels from one patch to the next; 0: three quarters of a patch, which overlap", minimum=0
    )
    width: int = parameter(default=64, help="width of a token, and of each head", minimum=1)
    heads: int = parameter(default=4, help="attention heads", minimum=1)
    blocks: int = parameter(default=1, help="encoder blocks", minimum=1)
    hidden: str = parameter(default="2048,1024", help="widths of the perceptron over all tokens")
    dropout: float = parameter(default=0.1, help="dropout in the encoder, in training", minimum=0, maximum=0.9)
    head_dropout: float = parameter(default=0.5, help="dropout before and in the head", minimum=0, maximum=0.9)

    def network(self, task: Task) -> nn.Module:
        """Return the transformer."""
        from robench_builtins.models.shared.small_vision_transformer import SmallViT

        if self.patch > self.size:
            raise SpecError(
                f"plant-vit.patch is {self.patch} pixels and the images are {self.size}; choose a smaller patch, or a "
                "larger -p victim.size."
            )
        stride = self.stride or max(1, 3 * self.patch // 4)
        side = (self.size - self.patch) // stride + 1
        return SmallViT(
            len(task.classes),
            patch=self.patch,
            stride=stride,
            patches=side * side,
            width=self.width,
            heads=self.heads,
            blocks=self.blocks,
            dropout=self.dropout,
            hidden=widths("plant-vit.hidden", self.hidden),
            head_dropout=self.head_dropout,
        )
