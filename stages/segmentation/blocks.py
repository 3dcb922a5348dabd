"""Convolution blocks of the segmentation network."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor, nn

from stages.settings import Blocks

__all__ = ["ResidualBlock", "block", "convolution"]


def block(kind: Blocks, inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """Return two 3×3 convolutions, with a shortcut around them if residual.

    The module maps (batch, inputs, row, column) to (batch, outputs, row / stride, column / stride), rounded up.
    """
    if kind == "residual":
        return ResidualBlock(inputs, outputs, stride)
    return nn.Sequential(convolution(inputs, outputs, stride=stride), convolution(outputs, outputs))


def convolution(inputs: int, outputs: int, *, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch normalisation and ReLU; at stride 1 the size is kept."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size, stride=stride, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Add the input to the output of two convolutions (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        # Pooled, then 1×1 (ResNet-D, He et al. 2019): a strided 1×1 convolution drops three of four pixels, and
        # its backward pass, channels last, corrupts memory on CPUs in torch 2.15.
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, kernel_size=1, bias=False))

    def forward(self, entering: Tensor) -> Tensor:
        """Map (batch, inputs, row, column) to (batch, outputs, row / stride, column / stride), rounded up."""
        return F.relu(self.second(self.first(entering)) + self.shortcut(entering), inplace=True)
