"""Fusions: the levels at which the two branches meet, and the module that joins them there.

To add one, add an entry to `FUSIONS`; the setting `fusion` of `pipeline train` then has its name as a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stages.segmentation.blocks import convolution

__all__ = ["FUSIONS", "ConvolutionFusion", "Fusion"]


@dataclass(frozen=True)
class Fusion:
    """One way to join the features of image and attention."""

    levels: Callable[[range], range]
    """Chooses, from the levels that both branches have (from shallow to deep), those at which they meet."""
    module: Callable[[int], nn.Module]
    """Makes the module of one level from its number of channels.

    The module takes the image's and the attention's features, both (batch, channel, row, column), and returns one
    tensor of the same shape.
    """


class ConvolutionFusion(nn.Module):
    """Join two branches by a 1×1 convolution over the channels of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = convolution(2 * channels, channels, kernel_size=1)

    def forward(self, image: Tensor, attention: Tensor) -> Tensor:
        """Join two tensors (batch, channel, row, column) to one of the same shape."""
        mixed: Tensor = self.mix(torch.cat([image, attention], dim=1))
        return mixed


FUSIONS: dict[str, Fusion] = {
    "levels": Fusion(lambda shared: shared, ConvolutionFusion),
    "bottleneck": Fusion(lambda shared: shared[-1:], ConvolutionFusion),  # as in Y-Net
}
"""Fusions by the name that a user gives."""
